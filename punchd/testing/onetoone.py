"""
A 1:1 NAT, as clouds and containers have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .packet import Packet, familyOf
from .router import Router
from .subnet import Subnet

if TYPE_CHECKING:
    from .network import Network


class OneToOne(Router):
    """
    Puts one IPv4 address for another, keeps the ports, and filters nothing.

    @ivar pairs: the inside address of each outside one.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        outside: Subnet,
        inside: Subnet,
        pairs: Mapping[str, str],
        insideAddresses: Iterable[str] = (),
    ) -> None:
        self.pairs = dict(pairs)
        self._outsides = {own: public for public, own in pairs.items()}
        super().__init__(network, name, outside, inside, pairs, insideAddresses)

    def translates(self, family: int) -> bool:
        """
        @return: whether inside addresses of C{family} are hidden.
        """
        return family == 4

    def passOut(self, packet: Packet) -> bool:
        """
        Give the packet its outside source.
        """
        host, port = packet.source
        if familyOf(host) == 4:
            if host not in self._outsides:
                self.drop(packet, "no mapping")
                return False
            packet.source = (self._outsides[host], port)
        return True

    def passIn(self, packet: Packet) -> bool:
        """
        Give the packet its inside destination.
        """
        host, port = packet.destination
        if host in self.pairs:
            packet.destination = (self.pairs[host], port)
        return True
