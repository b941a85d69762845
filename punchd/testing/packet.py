"""
What travels in the simulated network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from punchd.core import Address

#: Octets of an IP and a UDP header, by family.
HEADERS = {4: 28, 6: 48}

#: The hop limit of a packet that names none.
DEFAULT_TTL = 64


def familyOf(host: str) -> int:
    """
    @return: 4 or 6.
    """
    return 6 if ":" in host else 4


class Flags:
    """
    The control bits of a simulated TCP segment; C{PROBE} asks for an
    acknowledgement, as a real segment does by lying outside of the window.
    """

    SYN = 1
    ACK = 2
    FIN = 4
    RST = 8
    PROBE = 16


@dataclass(slots=True, frozen=True)
class Segment:
    """
    A TCP segment; sequence numbers do not wrap here.

    @ivar held: the sequence number of a segment that came before its time, in
        place of the SACK option, or -1.
    """

    flags: int
    sequence: int
    acknowledgement: int = 0
    window: int = 0
    data: bytes = b""
    held: int = -1


class Packet:
    """
    One packet on its way; routers change its addresses and its TTL.

    @ivar protocol: C{"udp"} or C{"tcp"}.
    @ivar payload: L{bytes}, or a L{Segment}.
    @ivar size: octets with the headers.
    @ivar flown: whether it has spent an event of the clock yet, so that it may
        be delivered without being scheduled once more.
    @ivar origin: the socket that sent it, which hears of its end in transit.
    """

    __slots__ = (
        "destination",
        "flown",
        "origin",
        "payload",
        "protocol",
        "size",
        "source",
        "ttl",
    )

    def __init__(
        self,
        protocol: str,
        source: Address,
        destination: Address,
        payload: Any,
        size: int,
        ttl: int = DEFAULT_TTL,
        origin: Any = None,
    ) -> None:
        self.protocol = protocol
        self.source = source
        self.destination = destination
        self.payload = payload
        self.size = size
        self.ttl = ttl
        self.flown = False
        self.origin = origin

    def __repr__(self) -> str:
        return (
            f"<{self.protocol} {self.source} > {self.destination} "
            f"{self.size} octets, ttl {self.ttl}>"
        )

    def copy(self) -> Packet:
        """
        @return: the same packet once more.
        """
        return Packet(
            self.protocol,
            self.source,
            self.destination,
            self.payload,
            self.size,
            self.ttl,
            self.origin,
        )


class Record(NamedTuple):
    """
    One packet seen at one point.

    @ivar time: virtual seconds.
    @ivar point: C{"sent"} when it leaves a host, C{"public"} when it crosses
        the internet, C{"received"} when it reaches a socket, C{"dropped"}.
    @ivar where: the name of the host, network or router.
    @ivar size: octets with the headers.
    @ivar reason: why it was dropped, else empty.
    @ivar payload: L{bytes}, or a L{Segment}.
    """

    time: float
    point: str
    where: str
    protocol: str
    source: Address
    destination: Address
    size: int
    ttl: int
    reason: str
    payload: Any
