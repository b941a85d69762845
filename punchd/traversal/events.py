"""
What the coordinator is given, and what it wants to be done.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from punchd.core import Address
from punchd.nat.model import PortModel

from .verdict import Verdict


class Sockets(Protocol):
    """
    Where further sockets come from; L{punchd.net.punching.PunchingSocket}.
    """

    def openSpare(self) -> Address | None:
        """
        @return: the base of a new socket.
        """

    def closeSpare(self, base: Address) -> None:
        """
        Close one, or a TCP port.
        """

    def openStream(self, family: int) -> Address | None:
        """
        @return: the base of a new TCP port, L{None} when there is none to be had.
        """


@dataclass(frozen=True, slots=True)
class Tell:
    """
    Send a message to the peer, inside the session.
    """

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shot:
    """
    Send an ICE check from C{base} to C{remote}.

    @ivar strategy: who wants it.
    """

    base: Address
    remote: Address
    ttl: int | None
    strategy: str


@dataclass(frozen=True, slots=True)
class Locate:
    """
    Ask servers over TCP where they see a TCP port; a L{StreamLocated} is to come
    of each.
    """

    base: Address
    servers: Sequence[Address]


@dataclass(frozen=True, slots=True)
class Connect:
    """
    Connect from a TCP port; a L{StreamMade} or a L{StreamFailed} is to come.
    """

    base: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class StreamLocated:
    """
    A server sees a TCP port at C{mapped}, or does not answer.
    """

    base: Address
    mapped: Address | None


@dataclass(frozen=True, slots=True)
class StreamMade:
    """
    There is a TCP connection.
    """

    base: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """
    There is none.

    @ivar reason: C{refused}, C{timeout}, or the name of a system error.
    """

    base: Address
    remote: Address
    reason: str


@dataclass(frozen=True, slots=True)
class LeaseWanted:
    """
    Ask the rendezvous whether nobody else behind our public address sprays; the
    answer goes to L{Coordinator.leased
    <punchd.traversal.coordinator.Coordinator.leased>}.
    """

    name: str


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """
    We spray no more.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Concluded:
    """
    A strategy has come to its end in vain.
    """

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Over:
    """
    There is nothing left to try.
    """

    verdict: Verdict


@dataclass
class Terrain:
    """
    What is known besides the models, now.

    @ivar servers: STUN servers, at best on two hosts.
    @ivar main: the punching socket.
    @ivar mapped: where the rendezvous sees it.
    @ivar hosts: where the rendezvous has observed the peer.
    @ivar rtt: seconds that a message to the peer and its answer take.
    @ivar openerTtl: the hop limit of packets that open our NAT only.
    @ivar streamServers: STUN servers over TCP.
    @ivar surveyed: how our NAT chooses ports and when that was measured, if it was
        before.
    @ivar publicHost: our public host for IPv4, if it is known by any means.
    @ivar doors: addresses of ours at which everybody gets in.
    """

    servers: Sequence[Address]
    main: Address | None
    mapped: Address | None
    hosts: Collection[str]
    rtt: float
    openerTtl: int | None
    streamServers: Sequence[Address] = ()
    surveyed: tuple[PortModel, float] | None = None
    publicHost: str | None = None
    doors: Sequence[Address] = ()
