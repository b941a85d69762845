"""
Which of several paths that work is the best: what is known of one, and the
policy that is built in.

No I/O and no state: the same paths give the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from zope.interface import implementer

from punchd.interfaces import IPathPolicy

#: What a path costs is the time for so many bytes.
_PIECE = 64e3
#: A datagram of the session, and what TCP makes of a loss (Mathis et al., 1997):
#: 1.22 datagrams in a round trip, over the root of the loss.
_DATAGRAM = 1.22 * 1200
#: Losses below are those that QUIC makes itself when it looks for its rate.
_HARMLESS = 0.01
#: So many times its root may a number of losses be off.
_CHANCE = 1.5
#: A direct path may be so much worse than a relayed one and keeps the session.
_BEARABLE, _BEARABLE_SECONDS = 4.0, 0.1
#: It takes the session over, or back, when it is not worse than this.
_GOOD, _GOOD_SECONDS = 2.0, 0.05
#: The same among direct paths, and among relayed ones, which share most of their way.
_WORSE, _WORSE_SECONDS = 2.0, 0.05
_ALIKE, _ALIKE_SECONDS = 1.2, 0.005
#: Seconds before a path that was left because it was bad is taken again: the
#: first time, and at the most.
_AGAIN, _AGAIN_MOST = 5.0, 300.0
#: And it has to have carried so many datagrams well.
_SURE = 32.0
#: What makes the path in use look so bad that others are measured.
_LOSSY, _SLOW = 0.02, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class PathState:
    """
    What is known of a path that has carried a datagram of full size.

    @ivar kind: C{"direct"} or C{"relayed"}.
    @ivar transport: C{"udp"} or C{"tcp"}.
    @ivar family: 4 or 6.
    @ivar relays: how many relays are on it: 0, 1 or 2.
    @ivar near: how near the addresses are: 2 between two of hosts, 1 through a
        NAT.
    @ivar rtt: the round trip lately, in seconds, L{None} if not known.
    @ivar least: the shortest one.
    @ivar loss: the part of our datagrams that gets lost, L{None} if not known.
    @ivar known: of how many datagrams that is known, those of long ago counted less.
    @ivar limit: bytes a second that it carried when more was waiting, L{None} if
        it never was.
    @ivar carried: bytes a second that it carried lately, L{None} if not known.
    @ivar delivers: whether what we send arrives at all, as far as is known.
    @ivar idle: seconds since it carried the session last; infinite for a path
        that never has.
    @ivar left: how often it was left because it was bad.
    """

    kind: str
    transport: str = "udp"
    family: int = 4
    relays: int = 0
    near: int = 1
    rtt: float | None = None
    least: float | None = None
    loss: float | None = None
    known: float = 0.0
    limit: float | None = None
    carried: float | None = None
    delivers: bool = True
    idle: float = inf
    left: int = 0

    @property
    def merit(self) -> tuple[int, int]:
        """
        What a path is worth by its kind: a direct one more than a relayed one,
        over UDP more than over TCP, one relay more than two.
        """
        if self.kind == "direct":
            return (1 if self.transport == "tcp" else 2, self.near)
        return (0, 2 - self.relays)


@dataclass(frozen=True, slots=True)
class Choice:
    """
    What a policy says.

    @ivar path: the path to use, one of those that were given.
    @ivar reason: why, for people to read; begins with a lower-case letter.
    @ivar bad: whether the path in use is left because it is bad, not because
        there is one of a better kind.
    """

    path: PathState
    reason: str
    bad: bool = False


def costOf(path: PathState) -> float:
    """
    @return: about how many seconds a piece of 64 kB takes.
    """
    return _cost(path, _sureLoss(path))


def _cost(path: PathState, loss: float) -> float:
    if not path.delivers:
        return inf
    rtt = path.rtt or 0.0
    cost = rtt
    if loss >= _HARMLESS:
        slower = _PIECE * max(rtt, 0.001) * sqrt(loss) / _DATAGRAM
        # What is lost, and lost again, is sent again.
        slower = (cost + slower) / max(1.0 - loss, 0.01) - cost
        if path.carried:
            # It has lost as much because QUIC had it carry more than it can.
            slower = min(slower, _PIECE / path.carried)
        cost += slower
    if path.limit is not None:
        cost += _PIECE / max(path.limit, 1.0)
    return cost


def _sureLoss(path: PathState) -> float:
    """
    @return: what is lost at the least: a few losses may be chance.
    """
    lost = (path.loss or 0.0) * path.known
    return max(0.0, lost - _CHANCE * sqrt(lost)) / max(path.known, 1.0)


def _possibleLoss(path: PathState, current: PathState) -> float:
    """
    @return: what may be lost at the most: that a few arrive may be chance, too, and
        a path of which nothing is known loses as much as the one in use.
    """
    if path.loss is None:
        return current.loss or 0.0
    lost = path.loss * path.known
    return min(1.0, (lost + _CHANCE * sqrt(lost + 1.0)) / max(path.known, 1.0))


def looksBad(path: PathState) -> bool:
    """
    @return: whether it is worth to measure other paths.
    """
    queue = (path.rtt or 0.0) > 2 * (path.least or 0.0) + 0.1
    slow = path.limit is not None and path.limit < _SLOW
    lossy = (path.loss or 0.0) >= _LOSSY and (path.carried or 0.0) < _SLOW
    return not path.delivers or lossy or queue or slow


def consult(
    policy: IPathPolicy, paths: Sequence[PathState], current: PathState | None
) -> Choice | None:
    """
    @return: what C{policy} says; a mistake in what others have written does not cost
        the session, and any path is better than none.
    """
    choice: Choice | None
    try:
        choice = policy.choose(paths, current)
        if choice is not None and not any(choice.path is path for path in paths):
            choice = None
    except Exception:
        choice = None
    if choice is None and current is None and paths:
        return Quality().choose(paths, None)
    return choice


@implementer(IPathPolicy)
class Quality:
    """
    The kind of a path decides, as long as the path is not much worse than
    another one.
    """

    name = "quality"

    def choose(
        self, paths: Sequence[PathState], current: PathState | None
    ) -> Choice | None:
        """
        @see: L{IPathPolicy.choose}.
        """
        if current is None:
            if not paths:
                return None
            return Choice(min(paths, key=_order), "it is the best that works")
        choices = [
            choice
            for path in paths
            if path is not current and (choice := _against(path, current)) is not None
        ]
        return min(choices, key=lambda choice: _order(choice.path), default=None)


@implementer(IPathPolicy)
class Kind:
    """
    Nothing but the kind of a path decides.
    """

    name = "kind"

    def choose(
        self, paths: Sequence[PathState], current: PathState | None
    ) -> Choice | None:
        """
        @see: L{IPathPolicy.choose}.
        """
        best = max(paths, key=lambda p: (p.merit, -(p.rtt or 0.0)), default=None)
        if best is None or (current is not None and current.merit >= best.merit):
            return None
        return Choice(best, "it is of a better kind")


def _against(path: PathState, current: PathState) -> Choice | None:
    """
    @return: the choice of C{path} in place of C{current}, if that is better.
    """
    cost, now = costOf(path), costOf(current)
    if path.left and (path.idle < _pauseOf(path) or path.known < _SURE):
        return None
    other = path.kind != current.kind
    if path.merit > current.merit:
        most = now * (_GOOD if other else _ALIKE)
        most += _GOOD_SECONDS if other else _ALIKE_SECONDS
        if cost < inf and cost <= most:
            return Choice(path, _betterKind(path, current))
    if other and current.kind == "direct":
        bad = now > _BEARABLE * cost + _BEARABLE_SECONDS
    else:
        if now < inf:
            # Of two that are alike chance would make each the better one in turn.
            cost = _cost(path, _possibleLoss(path, current))
        bad = now > _WORSE * cost + _WORSE_SECONDS
    return Choice(path, _complaint(current, path), True) if bad else None


def _pauseOf(path: PathState) -> float:
    return float(min(_AGAIN * 2.0 ** (min(path.left, 16) - 1), _AGAIN_MOST))


def _order(path: PathState) -> tuple[bool, int, float, float]:
    """
    The least is the best: those that are not bad by their kind.
    """
    kind, detail = path.merit
    return (path.left > 0 and path.idle < _pauseOf(path), -kind, -detail, costOf(path))


def _betterKind(path: PathState, current: PathState) -> str:
    if path.kind != current.kind:
        again = path.left > 0
        return "the direct path is good again" if again else "a direct path works"
    if path.transport != current.transport:
        return "a direct path over UDP works"
    if path.kind == "relayed":
        return "one relay does instead of two"
    return "a shorter way works"


def _complaint(current: PathState, path: PathState) -> str:
    """
    @return: what is wrong with C{current}, the worst first.
    """
    name = f"the {current.kind} path"
    if not current.delivers:
        return f"what is sent on {name} does not arrive"
    if (current.loss or 0.0) >= _LOSSY:
        return f"{name} loses {100 * (current.loss or 0.0):.0f} % of what is sent"
    if current.limit is not None and current.limit < _SLOW:
        return f"{name} carries {current.limit / 1e3:.0f} kB a second"
    ours, theirs = ((p.rtt or 0.0) * 1e3 for p in (current, path))
    return f"a round trip takes {ours:.0f} ms on {name}, {theirs:.0f} ms on the other"
