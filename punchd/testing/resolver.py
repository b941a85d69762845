"""
Names in the simulated network: a table in place of the DNS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Literal

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer


def literal(name: str) -> str | None:
    """
    @return: the canonical form of an IP address, or L{None} for anything else.
    """
    try:
        return str(ip_address(name))
    except ValueError:
        return None


@implementer(IHostResolution)
class Resolution:
    """
    A resolution, over before it begins.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """
        Do nothing: there is nothing left to cancel.
        """


@implementer(IHostnameResolver)
class Resolver:
    """
    Resolves IP literals and the names of a table.
    """

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names

    def lookup(self, name: str) -> list[str]:
        """
        @return: the addresses of C{name}.
        """
        address = literal(name)
        return [address] if address else list(self._names.get(name, ()))

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """
        Tell C{resolutionReceiver} the addresses of C{hostName} at once.
        """
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        kind: Literal["TCP", "UDP"] = "TCP" if transportSemantics == "TCP" else "UDP"
        for host in self.lookup(hostName):
            form = IPv6Address if ":" in host else IPv4Address
            if addressTypes is None or form in addressTypes:
                resolutionReceiver.addressResolved(form(kind, host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution
