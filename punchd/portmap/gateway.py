"""
The default gateways: the routers that are asked for ports.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

#: Flags of a route that is up, and of one that leads to a gateway (route(8)).
_UP: Final = 1
_GATEWAY: Final = 2

_PROC: Final = Path("/proc/net")


@dataclass(frozen=True, slots=True)
class Gateway:
    """
    @ivar host: its address in our network, without a scope.
    @ivar interface: ours that leads to it.
    """

    host: str
    interface: str


class Gateways(Protocol):
    """
    Who knows the default gateways: the kernel, or a test.
    """

    def defaultGateway(self, family: int) -> Gateway | None:
        """
        @param family: 4 or 6.

        @return: the gateway of the best default route, if there is one.
        """


class KernelGateways:
    """
    I read the routes of Linux.  Elsewhere none is found, and no port is asked for.
    """

    def __init__(self, folder: Path = _PROC) -> None:
        """
        @param folder: where C{route} and C{ipv6_route} are.
        """
        self._folder = folder

    def defaultGateway(self, family: int) -> Gateway | None:
        """
        @return: the gateway of the default route of the least metric.
        """
        name, parse = ("route", _parse4) if family == 4 else ("ipv6_route", _parse6)
        try:
            lines = (self._folder / name).read_text().splitlines()
        except OSError:
            return None
        found: list[tuple[int, Gateway]] = []
        for line in lines:
            try:
                route = parse(line.split())
            except (ValueError, IndexError, struct.error):
                # The heading, or a form that no kernel has written so far.
                continue
            if route is not None:
                found.append(route)
        return min(found, key=lambda each: each[0])[1] if found else None


def _parse4(words: list[str]) -> tuple[int, Gateway] | None:
    """
    Read a line of /proc/net/route; addresses are in the byte order of the machine.
    """
    interface, destination, gateway, flags = words[:4]
    metric, mask = words[6:8]
    if int(destination, 16) or int(mask, 16) or not _leads(int(flags, 16)):
        return None
    host = socket.inet_ntoa(struct.pack("=I", int(gateway, 16)))
    return int(metric), Gateway(host, interface)


def _parse6(words: list[str]) -> tuple[int, Gateway] | None:
    """
    Read a line of /proc/net/ipv6_route.
    """
    destination, length, _, _, gateway, metric, _, _, flags, interface = words
    if int(destination, 16) or int(length, 16) or not _leads(int(flags, 16)):
        return None
    host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(gateway))
    return int(metric, 16), Gateway(host, interface)


def _leads(flags: int) -> bool:
    return flags & (_UP | _GATEWAY) == _UP | _GATEWAY
