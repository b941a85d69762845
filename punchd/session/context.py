"""
What all sessions of a client share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from punchd.core import Address, Entropy
from punchd.identity import Identity
from punchd.interfaces import IPathPolicy
from punchd.nat.allocation import fit
from punchd.nat.model import PortModel
from punchd.nat.sample import Sample
from punchd.net.gathering import Gathering
from punchd.net.punching import PunchingSocket
from punchd.net.relay import Relay
from punchd.traversal.budget import Budget
from punchd.traversal.policy import Quality

from .learning import Lessons


class DialAnswer(Protocol):
    """
    What the rendezvous brings back from a dial.

    @ivar answer: the peer's sealed answer.
    @ivar flight: the datagrams that rode along.
    @ivar observed: where the rendezvous saw the peer's packets come from.
    """

    @property
    def answer(self) -> bytes: ...

    @property
    def flight(self) -> Sequence[bytes]: ...

    @property
    def observed(self) -> Sequence[Address]: ...


class Link(Protocol):
    """
    The way to the rendezvous; L{punchd.services.link.RendezvousLink}.
    """

    @property
    def registered(self) -> bool:
        """
        Whether the rendezvous knows us now.
        """

    def dial(
        self, peer: str, dialId: str, offer: bytes, flight: Sequence[bytes]
    ) -> Deferred[Any]:
        """
        Bring the offer to the peer; fires with a L{DialAnswer}.
        """

    def trickle(self, dialId: str, update: bytes, datagrams: Sequence[bytes]) -> None:
        """
        Send more to the other side of a dial.
        """

    def check(self) -> None:
        """
        Find out whether the connection is still there.
        """

    def bye(self, dialId: str, reason: str) -> None:
        """
        The dial is over.
        """

    def renew(self) -> Deferred[Any]:
        """
        Ask for relay credentials; fires with a registration that has them.
        """

    def lease(self, name: str) -> Deferred[float]:
        """
        Ask whether we may spray; fires with the seconds until it is worth asking
        again, 0 for yes.
        """

    def release(self, name: str) -> None:
        """
        We spray no more.
        """


@dataclass
class Context:
    """
    What all sessions of a client share.

    @ivar incarnation: random text that tells this run of the program from the
        next one.
    @ivar wallClock: seconds since the epoch.
    @ivar mode: C{"auto"}, C{"direct"} or C{"relay"}.
    @ivar patience: seconds that a session may be without any path.
    @ivar linger: seconds that it outlives its last stream.
    @ivar keepalive: seconds between packets on an idle path, now.
    @ivar mappingMoved: called when a NAT gave a path another port, with the
        seconds of silence before that.
    @ivar nameOf: what the user calls a peer, for the log.
    @ivar relay: the relay in use, if the rendezvous has one.
    @ivar openerTtl: the hop limit of a packet that opens our NAT and does not
        reach the peer's, L{None} to send no such packet.
    @ivar proxied: whether nothing but an HTTP proxy leads to the rendezvous.
    @ivar surveyed: called with the outside address of the punching socket; gives
        the model of our NAT and when it was measured, if that is sure.
    @ivar publicHost: the host at which the rendezvous sees our connection, L{None}
        if that is not ours.
    @ivar doors: gives the addresses of ours at which everybody gets in.
    @ivar servers: STUN servers of the rendezvous, at best on two hosts.
    @ivar budget: what attempts to get through may cost.
    @ivar strategies: L{ITraversalStrategy<punchd.interfaces>} plugins.
    @ivar fit: makes a model of our NAT from samples.
    @ivar policy: what chooses among the paths that work.
    @ivar lessons: what was learned about pairs of networks.
    @ivar rtt: seconds to the rendezvous and back, L{None} if not measured.
    """

    identity: Identity
    incarnation: str
    clock: IReactorTime
    wallClock: Callable[[], float]
    entropy: Entropy
    socket: PunchingSocket
    gathering: Gathering
    link: Link
    mode: str = "auto"
    patience: float = 120.0
    linger: float = 600.0
    keepalive: float = 15.0
    mappingMoved: Callable[[float], object] = lambda silence: None
    nameOf: Callable[[str], str] = str
    relay: Relay | None = None
    rtt: float | None = None
    openerTtl: int | None = 3
    proxied: bool = False
    surveyed: Callable[[Address | None], tuple[PortModel, float] | None] = (
        lambda mapped: None
    )
    publicHost: str | None = None
    doors: Callable[[], Sequence[Address]] = tuple
    servers: Sequence[Address] = ()
    budget: Budget = field(default_factory=Budget)
    strategies: Sequence[Any] = ()
    policy: IPathPolicy = field(default_factory=Quality)
    fit: Callable[[Sequence[Sample]], PortModel] = fit
    lessons: Lessons | None = None

    def afterWriting(self, f: Callable[[], None]) -> None:
        """
        Call C{f} once what was said to the rendezvous or sent just now has left,
        which it has in the reactor's next turn (L{punchd.signaling.boxes}).
        """
        self.clock.callLater(0, f)

    def afterReading(self, f: Callable[[], None]) -> None:
        """
        Call C{f} once what has come meanwhile was read, too: in each turn, the
        reactor makes due calls first and reads after that.
        """
        self.clock.callLater(0, self.clock.callLater, 0, f)
