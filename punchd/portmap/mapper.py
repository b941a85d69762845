"""
The service that has routers open a port to the punching socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from punchd.core import Address
from punchd.interfaces import ICandidateSource, INetwork
from punchd.stun.address import isPublic

from .gateway import Gateway, Gateways, KernelGateways
from .inquiry import Inquiry

#: Seconds until all is asked again after a port was lost.
_AGAIN: Final = 60.0
#: Addresses come before routes: where there is no gateway yet, so many more looks
#: are taken, so many seconds apart.
_LOOKS: Final = 3
_LOOK: Final = 5.0


class Ports(Protocol):
    """
    What is needed of L{punchd.net.punching.PunchingSocket}.
    """

    def bases(self) -> list[Address]:
        """
        @return: our addresses in our own network.
        """

    def families(self) -> list[int]:
        """
        @return: the address families.
        """


class Gathered(Protocol):
    """
    What is needed of L{punchd.net.gathering.Gathering}.
    """

    def mappedPortLearned(self, address: Address, base: Address) -> None:
        """
        C{address} leads to C{base}.
        """

    def mappedPortWithdrawn(self, address: Address) -> None:
        """
        C{address} leads nowhere any more.
        """


class PortMapper(Service):
    """
    I ask the default gateways for ports while I run.  Nobody waits for me: what
    I find comes up as candidates.
    """

    log = Logger()

    def __init__(
        self,
        network: INetwork,
        socket: Ports,
        gathering: Gathered,
        sources: Sequence[ICandidateSource],
        gateways: Gateways | None = None,
    ) -> None:
        """
        @param socket: the punching socket, open before I am started.
        @param gateways: L{None} for the kernel's.
        """
        self.network = network
        self._socket = socket
        self._gathering = gathering
        self._sources = list(sources)
        self._gateways = KernelGateways() if gateways is None else gateways
        self._inquiries: dict[int, Inquiry] = {}
        self._call: IDelayedCall | None = None
        self._looks = _LOOKS

    def startService(self) -> None:
        """
        Begin, after everything else that is started now.
        """
        super().startService()
        self._later(0.0)

    def stopService(self) -> Deferred[Any]:
        """
        Have the ports closed; that takes a second at the most.
        """
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        inquiries, self._inquiries = self._inquiries, {}
        return DeferredList([each.stop() for each in inquiries.values()])

    def networkChanged(self) -> None:
        """
        Our addresses or routes may be others, or time has passed unnoticed.
        """
        if self.running:
            self._looks = _LOOKS
            self._later(0.0)

    def _later(self, seconds: float) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call = self.network.reactor.callLater(seconds, self._ask)

    def _ask(self) -> None:
        self._call = None
        for family in (4, 6):
            gateway = self._gateways.defaultGateway(family)
            base = None if gateway is None else self._baseTo(gateway, family)
            before = self._inquiries.get(family)
            if before is not None:
                same = (before.base, before.gateway) == (base, gateway)
                if same and before.refresh():
                    continue
                self._inquiries.pop(family).stop()
            if gateway is not None and base is not None:
                self._inquire(family, base, gateway)
        if not self._inquiries and self._looks:
            self._looks -= 1
            self._later(_LOOK)

    def _inquire(self, family: int, base: Address, gateway: Gateway) -> None:
        def changed(before: Address | None, now: Address | None) -> None:
            if before is not None:
                self._gathering.mappedPortWithdrawn(before)
            if now is not None:
                self.log.info(
                    "The router leads {host} port {port} here",
                    host=now[0],
                    port=now[1],
                    event="portmap",
                )
                self._gathering.mappedPortLearned(now, base)

        self._inquiries[family] = inquiry = Inquiry(
            self.network,
            base,
            gateway,
            self._sources,
            changed,
            lambda: self._later(_AGAIN),
        )
        inquiry.start()

    def _baseTo(self, gateway: Gateway, family: int) -> Address | None:
        """
        @return: the address of ours that the gateway should open a port to.
        """
        near = {h for h, name in self.network.localHosts() if name == gateway.interface}
        for base in self._socket.bases():
            if base[0] in near and (6 if ":" in base[0] else 4) == family:
                # What is public needs no port of IPv4, and of IPv6 nothing else
                # is worth a pinhole.
                if isPublic(base[0]) == (family == 6):
                    return base
        return None

    def describe(self) -> list[dict[str, Any]]:
        """
        @return: for C{punchd status}: what became of each protocol at each gateway.
        """
        return [
            {
                "family": family,
                "gateway": inquiry.gateway.host,
                "service": asked.source.name,
                "state": asked.state.value,
                "address": None if asked.address is None else list(asked.address),
                "reason": asked.reason,
                "doubleNat": asked.doubleNat,
            }
            for family, inquiry in sorted(self._inquiries.items())
            for asked in inquiry.asked
        ]
