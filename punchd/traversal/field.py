"""
Where a strategy does its work: what it knows, and what it may do.

Nothing here is I/O: what a strategy does becomes events of
L{punchd.traversal.coordinator.Coordinator}.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from punchd.core import Address, Entropy
from punchd.nat.model import PortModel

from .verdict import Reason


class Attempt(Protocol):
    """
    One attempt of a strategy, at one of the two peers; both have one.

    It may have C{failure}, the L{Reason} of an attempt that the leader ends, and
    C{waits}, whether the peer comes to us, so that its path is due to us, too.
    """

    def start(self, now: float) -> None:
        """
        Both sides begin, as far apart as a message takes.
        """

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        The attempt at the peer says something.  It is a peer, but nothing is
        sure of what it says.
        """

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        A server sees the socket C{base} at C{mapped}, or does not answer.
        """

    def timeReached(self, now: float) -> None:
        """
        The deadline has passed.
        """

    def deadline(self) -> float | None:
        """
        @return: when L{timeReached} wants to be called.
        """


class Field(Protocol):
    """
    @ivar ours: how our NAT chooses ports.
    @ivar theirs: how the peer's does, says the peer.
    @ivar leader: whether we say when a round is over.
    @ivar rtt: seconds that a message to the peer and its answer take.
    @ivar hosts: where the rendezvous has observed the peer.
    @ivar openerTtl: the hop limit of packets that open our NAT only.
    @ivar main: the punching socket, L{None} without one.
    @ivar mapped: where the rendezvous sees that.
    @ivar publicHost: our public host for IPv4, if it is known by any means.
    @ivar doors: addresses of ours at which everybody gets in.
    """

    ours: PortModel
    theirs: PortModel
    leader: bool
    rtt: float
    hosts: Collection[str]
    openerTtl: int | None
    main: Address | None
    mapped: Address | None
    publicHost: str | None
    doors: Sequence[Address]
    entropy: Entropy

    def open(self) -> Address | None:
        """
        @return: one more socket, or L{None} when there is no more to be had.
        """

    def close(self, base: Address) -> None:
        """
        Give up a socket of L{open}, unless the session is using it.
        """

    def sample(self, base: Address, now: float) -> None:
        """
        Ask a server where it sees a socket; L{Attempt.sampled} is called.
        """

    def reserve(self, count: int, now: float) -> int:
        """
        @return: how many new flows are set aside for us.
        """

    def waitFor(self, count: int, now: float) -> float:
        """
        @return: seconds until so many could be.
        """

    def claim(self, remote: Address) -> bool:
        """
        @return: whether a few shots may go there although nobody has observed the
            peer at that host: it is a public one, and one of few.
        """

    def shoot(
        self, base: Address, remote: Address, ttl: int | None, now: float
    ) -> bool:
        """
        Send an ICE check.

        @return: whether the budget allowed it, and the peer was observed at that
            host, or L{claim} let it pass.
        """

    def openStream(self, family: int) -> Address | None:
        """
        @return: the base of a TCP port, or L{None} when there is none to be had;
            L{close} gives it back.
        """

    def locate(self, base: Address, now: float) -> int:
        """
        Ask servers over TCP where they see a TCP port.

        @return: how many L{StreamLocated<punchd.traversal.events.StreamLocated>}
            are going to be told by C{streamHappened} of the attempt.
        """

    def connect(self, base: Address, remote: Address, now: float) -> bool:
        """
        Connect from a TCP port; C{streamHappened} of the attempt is told what
        comes of it.

        @return: whether the budget and the manners allow it.
        """

    def tell(self, body: dict[str, Any]) -> None:
        """
        Tell the attempt at the peer.
        """

    def end(self, reason: Reason, now: float, **evidence: object) -> None:
        """
        It was in vain.
        """


def addressOf(value: object) -> Address | None:
    """
    @param value: an address in a message of the peer.

    @return: it, or L{None} if it is none that may be shot at.
    """
    if not isinstance(value, list) or len(value) != 2:
        return None
    host, port = value
    if not isinstance(host, str) or type(port) is not int or not 1024 <= port < 65536:
        return None
    return (host, port)
