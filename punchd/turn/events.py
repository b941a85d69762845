"""
What the two sides of TURN report.
"""

from __future__ import annotations

from dataclasses import dataclass

from punchd.core import Address, Datagram

from .allocation import Allocation
from .transport import transportOf

# --- the server -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AllocationOpened:
    """
    A client has got a relayed address.

    @ivar transport: between the client and us: C{"udp"}, C{"tcp"} or C{"tls"}.
    """

    username: str
    client: Address
    relayed: Address
    transport: str = "udp"

    @classmethod
    def of(cls, allocation: Allocation) -> AllocationOpened:
        """
        @return: what is said of that allocation.
        """
        return cls(
            allocation.username,
            allocation.client,
            allocation.outside,
            transportOf(allocation.local),
        )


@dataclass(frozen=True, slots=True)
class AllocationClosed:
    """
    A relayed address is no more.

    @ivar reason: C{"expired"}, C{"released"}, C{"revoked"} or C{"disconnected"}.
    @ivar sentPackets: from the client to peers.
    @ivar receivedPackets: from peers to the client.
    @ivar transport: between the client and us: C{"udp"}, C{"tcp"} or C{"tls"}.
    """

    username: str
    client: Address
    relayed: Address
    reason: str
    sentPackets: int
    sentBytes: int
    receivedPackets: int
    receivedBytes: int
    transport: str = "udp"

    @classmethod
    def of(cls, allocation: Allocation, reason: str) -> AllocationClosed:
        """
        @return: what is said of that allocation.
        """
        return cls(
            allocation.username,
            allocation.client,
            allocation.outside,
            reason,
            allocation.sentPackets,
            allocation.sentBytes,
            allocation.receivedPackets,
            allocation.receivedBytes,
            transportOf(allocation.local),
        )


@dataclass(slots=True)
class SendWhole:
    """
    A datagram is to be sent that no router may cut (RFC 8656, 14.9).
    """

    datagram: Datagram


# --- the client -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Allocated:
    """
    There is a relayed address.

    @ivar relayed: the address that peers send to.
    @ivar mapped: where the server sees us.
    @ivar lifetime: in seconds; it is refreshed without further ado.
    """

    relayed: Address
    mapped: Address | None
    lifetime: float


@dataclass(frozen=True, slots=True)
class AllocationFailed:
    """
    There will be no relayed address unless it is asked for again.

    @ivar code: of the error response; 0 when no answer came.
    """

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class AllocationLost:
    """
    The relayed address is gone; it may be asked for again.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """
    The relayed address was given back.
    """


@dataclass(frozen=True, slots=True)
class PermissionFailed:
    """
    The relay does not let us reach that host.

    @ivar code: of the error response; 0 when no answer came.
    """

    host: str
    code: int


@dataclass(slots=True)
class RelayedDatagram:
    """
    A datagram came through the relay.
    """

    data: bytes
    peer: Address
