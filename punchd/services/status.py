"""
The form of C{punchd status --json}: a contract, which other programs read.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from .link import RendezvousLink


class RendezvousStatus(TypedDict):
    """
    The link to the rendezvous: the TCP port that was reached, whether through the
    proxy, by how much our clock is ahead of its, why there is no link, and the proxy
    that there is, without its password.
    """

    url: str
    connected: bool
    port: NotRequired[int | None]
    proxied: NotRequired[bool]
    clockAhead: NotRequired[float | None]
    reason: NotRequired[str]
    proxy: NotRequired[str]


class NatStatus(TypedDict):
    """
    What is known of the NAT we are behind, in RFC 4787's words, the hop limit of
    packets that open it only, and what became of each protocol by which a router
    could open a port.
    """

    mapping: str
    filtering: str
    allocation: str
    hairpin: bool | None
    bindingLifetime: float | None
    oneWayLifetime: NotRequired[float | None]
    keepaliveInterval: NotRequired[float]
    publicAddresses: list[str]
    openerTtl: NotRequired[int | None]
    portMapping: NotRequired[list[dict[str, Any]]]


class PathStatus(TypedDict):
    """
    The path that carries a session.

    C{strategy} is one of host, srflx, prflx, mapped, ipv6, opener, reversal, fresh,
    predicted, spray, optimistic, tcp, relay, or the name of somebody else's.
    """

    kind: Literal["direct", "relayed"] | None
    transport: Literal["udp", "tcp", "tls"]
    strategy: str
    local: str
    remote: str
    rtt: float | None


class VerdictStatus(TypedDict):
    """
    How one attempt ended, and why.
    """

    strategy: str
    outcome: str
    reason: str
    evidence: dict[str, Any]


class SessionStatus(TypedDict):
    """
    One session.
    """

    peer: str
    state: str
    path: PathStatus
    secondsToFirstByte: float | None
    secondsToDirect: float | None
    probesSent: int
    bindingsUsed: int
    keepaliveInterval: float | None
    bytesSent: int
    bytesReceived: int
    pathChanges: int
    pathChangeReason: str | None
    learnt: NotRequired[dict[str, Any] | None]
    verdicts: list[VerdictStatus]


class Status(TypedDict):
    """
    The whole of it.
    """

    peerId: str
    rendezvous: RendezvousStatus
    nat: NatStatus
    sessions: list[SessionStatus]
    budget: NotRequired[dict[str, int]]


def rendezvousStatus(link: RendezvousLink) -> RendezvousStatus:
    """
    @return: what is to be said of a link.
    """
    known, failure = link.registration, link.lastFailure
    found: RendezvousStatus = {"url": str(link.url), "connected": known is not None}
    if link.proxy is not None:
        found["proxy"] = str(link.proxy)
    if known is None:
        found["reason"] = "" if failure is None else str(failure.value)
        return found
    if known.reached is not None:
        found["port"], found["proxied"] = known.reached.port, known.reached.proxied
    found["clockAhead"] = None if known.time is None else round(known.clockAhead, 1)
    return found
