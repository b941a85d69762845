"""
The form of C{punchd status --json}: a contract, which other programs read.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class RendezvousStatus(TypedDict):
    """
    The link to the rendezvous.
    """

    url: str
    connected: bool


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
