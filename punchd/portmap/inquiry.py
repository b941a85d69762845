"""
One gateway is asked by all protocols at once, and opens a port by the best of
those that it speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import (
    ICandidateSearch,
    ICandidateSeeker,
    ICandidateSource,
    INetwork,
)
from punchd.stun.address import isPublic

from .gateway import Gateway

#: Seconds that the first protocol to answer waits for better ones.
HEAD_START: Final = 0.25
#: Seconds that giving back may take.
PATIENCE: Final = 1.0

Changed = Callable[[Address | None, Address | None], None]


class State(Enum):
    """
    How far a source has come.
    """

    ASKING = "asking"
    AVAILABLE = "available"
    MAPPING = "mapping"
    MAPPED = "mapped"
    FAILED = "failed"


@implementer(ICandidateSeeker)
class Asked:
    """
    I hear what one source has found.

    @ivar reason: why there is nothing.
    @ivar doubleNat: whether there is one more NAT behind the router.
    """

    def __init__(self, inquiry: Inquiry, source: ICandidateSource) -> None:
        self._inquiry = inquiry
        self.source = source
        self.search: ICandidateSearch | None = None
        self.state = State.ASKING
        self.address: Address | None = None
        self.reason = ""
        self.doubleNat = False

    def available(self, host: str | None) -> None:
        """
        It could be asked for a port.
        """
        if self.state is State.ASKING:
            self.state = State.AVAILABLE
            if host is not None and not isPublic(host):
                self._behindAnother(host)
            self._inquiry.consider()

    def mapped(self, address: Address) -> None:
        """
        It has opened a port.
        """
        if self.state not in (State.MAPPING, State.MAPPED):
            return
        if not isPublic(address[0]):
            self._become(None)
            self._behindAnother(address[0])
            self.giveBack()
            self._inquiry.consider()
            return
        self.state = State.MAPPED
        self._become(address)

    def failed(self, reason: str) -> None:
        """
        There is nothing, or nothing any more.
        """
        if self.state is State.FAILED:
            return
        had = self.state is State.MAPPED
        self.state, self.reason = State.FAILED, reason
        self._become(None)
        self.giveBack()
        self._inquiry.consider()
        if had:
            self._inquiry.lost(self.source.name, reason)

    def giveBack(self) -> Deferred[None]:
        """
        Stop the search, for a second at the most.
        """
        search, self.search = self.search, None
        if search is None:
            return succeed(None)
        stopped: Deferred[None] = search.stop()
        stopped.addTimeout(PATIENCE, self._inquiry.network.reactor)
        return stopped.addErrback(lambda _: None)

    def _behindAnother(self, host: str) -> None:
        self.state, self.doubleNat = State.FAILED, True
        self.reason = f"the router itself is behind a NAT: its address is {host}"

    def _become(self, address: Address | None) -> None:
        before, self.address = self.address, address
        if before != address:
            self._inquiry.changed(before, address)


class Inquiry:
    """
    I am one gateway that is asked for a port to one of our addresses.

    @ivar asked: the sources, the best first.
    """

    log = Logger()

    def __init__(
        self,
        network: INetwork,
        base: Address,
        gateway: Gateway,
        sources: Sequence[ICandidateSource],
        changed: Changed,
        lost: Callable[[], None],
    ) -> None:
        """
        @param changed: called with an address that is ours no more, and one that
            is; either may be L{None}.
        @param lost: called when a port was closed against our will.
        """
        self.network = network
        self.base = base
        self.gateway = gateway
        self._changed = changed
        self._lost = lost
        self._patient: IDelayedCall | None = None
        self._waited = False
        self._stopped = False
        family = 6 if ":" in base[0] else 4
        ranked = sorted(sources, key=lambda each: -int(each.preference))
        self.asked = [Asked(self, each) for each in ranked if family in each.families]

    def start(self) -> None:
        """
        Ask by all protocols.
        """
        for asked in self.asked:
            try:
                asked.search = asked.source.seek(
                    self.network, self.base, self.gateway, asked
                )
            except Exception as e:
                # Whatever a source, perhaps somebody else's, cannot do.
                asked.failed(str(e) or type(e).__name__)
        self.consider()

    def consider(self) -> None:
        """
        Have the best source open a port, unless one is at it.
        """
        states = {asked.state for asked in self.asked}
        if self._stopped or states & {State.MAPPING, State.MAPPED}:
            return
        for asked in self.asked:
            if asked.state is State.AVAILABLE and asked.search is not None:
                asked.state = State.MAPPING
                self._impatient()
                asked.search.map()
                return
            if asked.state is State.ASKING and not self._waited:
                if State.AVAILABLE in states and self._patient is None:
                    self._patient = self.network.reactor.callLater(
                        HEAD_START, self._over
                    )
                return

    def _over(self) -> None:
        self._patient = None
        self._waited = True
        self.consider()

    def _impatient(self) -> None:
        if self._patient is not None:
            self._patient.cancel()
            self._patient = None

    def refresh(self) -> bool:
        """
        Make sure that the port is open.

        @return: whether there is one.
        """
        for asked in self.asked:
            if asked.state is State.MAPPED and asked.search is not None:
                asked.search.map()
                return True
        return False

    def changed(self, before: Address | None, now: Address | None) -> None:
        """
        A source has an address, or had one.
        """
        if not self._stopped:
            self._changed(before, now)

    def lost(self, name: str, reason: str) -> None:
        """
        A port was closed against our will.
        """
        self.log.info(
            "The port opened by {name} is lost: {reason}",
            name=name,
            reason=reason,
            event="portmap",
        )
        if not self._stopped:
            self._lost()

    def stop(self) -> Deferred[Any]:
        """
        Give all back, for a second at the most.
        """
        for asked in self.asked:
            asked._become(None)
        self._stopped = True
        self._impatient()
        return DeferredList([asked.giveBack() for asked in self.asked])
