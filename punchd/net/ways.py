"""
The ways to relays: which server, over which transport, through a proxy or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from punchd.core import Address

#: The port that TLS to a relay is let through on, wherever anything is.
HTTPS: Final = 443


@dataclass(frozen=True, slots=True)
class RelayCredentials:
    """
    Long-term credentials (RFC 8489, 9.2).  The rendezvous hands them to a
    registered client, with a realm and a nonce (RFC 8656, section 5).

    @ivar realm: L{None} to let the server tell.
    @ivar nonce: a nonce that is good for the first request, so that it costs
        one round trip only.
    """

    username: str
    password: str = field(repr=False)
    realm: str | None = None
    nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """
    One way to one relay.

    @ivar server: its host, which may be a name, and port.
    @ivar proxied: whether it leads through the HTTP proxy.
    @ivar fingerprint: the peer id of the key that TLS has to show, L{None} for
        what authorities vouch for.
    @ivar credentials: those of a foreign relay; L{None} for what the rendezvous
        has given.
    @ivar transport: C{"udp"}, C{"tcp"} or C{"tls"}, or the name of C{carrier}.
    @ivar carrier: an L{IRelayTransport<punchd.interfaces>} that is not built in.
    """

    transport: str
    server: Address
    proxied: bool = False
    fingerprint: str | None = None
    credentials: RelayCredentials | None = field(default=None, repr=False)
    carrier: Any = field(default=None, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """
        The transport, and whether through a proxy, wherever the server is.
        """
        return f"{self.transport} through a proxy" if self.proxied else self.transport

    def __str__(self) -> str:
        host, port = self.server
        host = f"[{host}]" if ":" in host else host
        proxy = " through the proxy" if self.proxied else ""
        return f"{self.transport.upper()} to {host}:{port}{proxy}"


@dataclass(frozen=True, slots=True)
class Reached:
    """
    How the rendezvous was reached, which tells what firewalls let through.

    @ivar host: as its URL has it.
    @ivar ports: its TCP ports.
    @ivar port: the one that was used.
    @ivar proxied: whether through the proxy.
    """

    host: str
    ports: tuple[int, ...]
    fingerprint: str | None
    port: int
    proxied: bool = False


def waysToRendezvous(
    udp: Address | None, reached: Reached | None, proxy: bool
) -> list[Way]:
    """
    @param udp: where its relay is reached over UDP.
    @param proxy: whether there is a proxy.

    @return: the ways to its relay, in the order in which to try them: UDP, then
        that by which signaling got through, then the others.
    """
    ways = [] if udp is None else [Way("udp", udp)]
    if reached is None:
        return ways
    first, last = _ports(reached.ports)
    plain = Way("tcp", (reached.host, first))
    tls = Way("tls", (reached.host, last), fingerprint=reached.fingerprint)
    streams = [plain, tls]
    if proxy:
        streams += [replace(tls, proxied=True), replace(plain, proxied=True)]
    known = (reached.port, reached.proxied)
    streams.sort(key=lambda way: (way.server[1], way.proxied) != known)
    return ways + streams


def throughProxyToo(
    ways: Sequence[Way], proxyFor: Callable[[str], object | None]
) -> list[Way]:
    """
    @param proxyFor: gives the proxy that may lead to a host.

    @return: the ways, and behind them those over streams through a proxy.
    """
    proxied = [
        replace(way, proxied=True)
        for way in ways
        if way.transport in ("tcp", "tls") and proxyFor(way.server[0]) is not None
    ]
    return [*ways, *proxied]


def _ports(ports: Sequence[int]) -> tuple[int, int]:
    """
    @return: the ports for plain TCP and for TLS.
    """
    tls = HTTPS if HTTPS in ports else ports[-1]
    plain = next((port for port in ports if port != tls), tls)
    return plain, tls
