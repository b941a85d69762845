"""
NAT-PMP and PCP on a UDP socket of their own.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import (
    ICandidateSearch,
    ICandidateSeeker,
    IDatagramReceiver,
    INetwork,
)
from punchd.net.driver import Driver

from .events import Available, Failed, Lost, Mapped, Released
from .gateway import Gateway
from .lease import Lease
from .natpmp import NATPMP
from .pcp import PCP


@implementer(ICandidateSearch, IDatagramReceiver)
class GatewaySearch:
    """
    I drive one client of a gateway.
    """

    def __init__(
        self,
        network: INetwork,
        base: Address,
        gateway: Gateway,
        seeker: ICandidateSeeker,
    ) -> None:
        """
        @raise twisted.internet.error.CannotListenError: no socket can be had.
        """
        self._seeker = seeker
        self._stopped: Deferred[None] | None = None
        self._over = False
        self.core = self.makeCore(network, base, gateway)
        family = 6 if ":" in base[0] else 4
        scope = "%" + gateway.interface if gateway.host.startswith("fe80:") else ""
        # Requests have to leave from the address that is to be mapped.
        self._port = network.listenDatagram(self, family, base[0] + scope, 0)
        self._driver = Driver(
            self.core, self._port.sendMany, self._told, network.reactor
        )
        self._driver.call(self.core.probe)

    def makeCore(self, network: INetwork, base: Address, gateway: Gateway) -> Lease:
        """
        @return: the client.
        """
        raise NotImplementedError

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Something came, perhaps from the gateway.
        """
        self._driver.datagramReceived(data, local, remote)

    def map(self) -> None:
        """
        Ask for a mapping, or to have it renewed.
        """
        if self._stopped is None:
            self._driver.call(self.core.map)

    def stop(self) -> Deferred[None]:
        """
        Give the mapping back.
        """
        if self._stopped is None:
            self._stopped = Deferred(lambda _: self._close())
            self._driver.call(self.core.release)
        return self._stopped

    def _close(self) -> None:
        self._over = True
        self._driver.stop()
        self._port.close()

    def _told(self, event: object) -> None:
        if self._stopped is not None:
            if isinstance(event, Released) and not self._over:
                self._close()
                self._stopped.callback(None)
            return
        match event:
            case Available(host=host):
                self._seeker.available(host)
            case Mapped(address=address):
                self._seeker.mapped(address)
            case Failed(reason=reason) | Lost(reason=reason):
                self._seeker.failed(reason)


class NATPMPSearch(GatewaySearch):
    """
    I ask by NAT-PMP.
    """

    def makeCore(self, network: INetwork, base: Address, gateway: Gateway) -> Lease:
        """
        @return: the client of NAT-PMP.
        """
        return NATPMP(gateway.host, base[1])


class PCPSearch(GatewaySearch):
    """
    I ask by PCP.
    """

    def makeCore(self, network: INetwork, base: Address, gateway: Gateway) -> Lease:
        """
        @return: the client of PCP.
        """
        return PCP(gateway.host, base, network.entropy)
