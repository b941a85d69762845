"""
When the NAT is surveyed: some time after the registration, and again when we are
in another network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.nat.behavior import Filtering, Mapping
from punchd.nat.model import PortModel
from punchd.net.punching import PunchingSocket

from .status import NatStatus
from .survey import Knowledge, Survey

#: Seconds from the registration: dials that wait for it come first.
PAUSE: Final = 3.0

#: What a model has to have to be used for an attempt: else a fresh one is made.
CONFIDENT: Final = 0.9

#: Seconds for which a survey of one network is good.
VALID: Final = 3600.0


class Surveyor:
    """
    I keep what is known of the NAT up to date.

    @ivar knowledge: the last survey that the rendezvous answered, or L{None}.
    @ivar onSurveyed: called with each, and with the server that was asked.
    """

    log = Logger()

    def __init__(self, socket: PunchingSocket, wanted: Callable[[], bool]) -> None:
        """
        @param socket: whose NAT it is.
        @param wanted: asked before each survey whether anybody wants it.
        """
        self.knowledge: Knowledge | None = None
        self.onSurveyed: Callable[[Knowledge, Address], object] = lambda *_: None
        self._network = socket.network
        self._wanted = wanted
        self.survey = Survey(socket.network, socket)
        self._waiting: IDelayedCall | None = None
        self._hosts: list[tuple[str, str]] = []

    def soon(
        self, server: Address, alternate: Address | None, *, again: bool = False
    ) -> None:
        """
        Survey in a while, if nothing is known of this network.

        @param again: what is known has been proven wrong.
        """
        self.stop()
        clock = self._network.reactor
        if self.knowledge is not None and not again:
            age = clock.seconds() - self.knowledge.measuredAt
            if age < VALID and self._hosts == self._network.localHosts():
                return
        self._waiting = clock.callLater(PAUSE, self._begin, server, alternate)

    def _begin(self, server: Address, alternate: Address | None) -> None:
        self._waiting = None
        if not self._wanted():
            return
        hosts = self._network.localHosts()

        def ended(knowledge: Knowledge) -> None:
            if not knowledge.reachable:
                return
            self.knowledge = knowledge
            self._hosts = hosts
            behavior = knowledge.behavior
            self.log.info(
                "Our NAT: mapping {mapping}, filtering {filtering}, ports {ports}",
                mapping=behavior.mapping.value,
                filtering=behavior.filtering.value,
                ports=knowledge.allocation,
                event="surveyed",
            )
            self.onSurveyed(knowledge, server)

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                self.log.failure("The survey of the NAT failed", failure)

        self.survey.behavior(server, alternate).addCallbacks(ended, failed).addErrback(
            failed
        )

    def model(self, mapped: Address | None) -> tuple[PortModel, float] | None:
        """
        @param mapped: where the punching socket is seen now.

        @return: how our NAT chooses ports and when that was measured, if it is
            sure and still the same NAT.
        """
        known = self.knowledge
        if known is None or mapped is None:
            return None
        model = known.model
        same = mapped[0] in [host for host, _ in model.hosts]
        here = self._hosts == self._network.localHosts()
        if not (same and here) or model.confidence < CONFIDENT:
            return None
        return model, known.measuredAt

    def complete(self, nat: NatStatus) -> NatStatus:
        """
        @param nat: what is known from elsewhere.

        @return: the same, with what the survey found.
        """
        if self.knowledge is None:
            return nat
        behavior = self.knowledge.behavior
        nat["mapping"] = self.mapping(nat["mapping"]) or nat["mapping"]
        if behavior.filtering is not Filtering.UNKNOWN:
            nat["filtering"] = behavior.filtering.value
        nat["allocation"] = self.knowledge.allocation
        nat["hairpin"] = behavior.hairpin
        return nat

    def mapping(self, other: str | None) -> str | None:
        """
        @param other: what is known of the mapping otherwise.

        @return: the mapping behaviour in RFC 4787's words.
        """
        if self.knowledge is None:
            return other
        found = self.knowledge.behavior
        if found.mapping is Mapping.UNKNOWN:
            return other
        if "mapping" in found.assumed and other != Mapping.ENDPOINT_INDEPENDENT:
            return Mapping.ADDRESS_DEPENDENT.value
        return found.mapping.value

    def stop(self) -> None:
        """
        Stop surveying; what is known is kept.
        """
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self.survey.stop()
