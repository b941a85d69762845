"""
Keepalives: what a session sends when there is nothing to say, so that NATs keep
its bindings.

Of all pairs that work, two are kept: the one that carries the session, and the
relayed one that is next should that fail.  One check an interval renews the
bindings at both ends, for the answer passes them too.  The controlling side sends
it; the other one would only if nothing came, or if its own NAT forgets sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from punchd.core import Address
from punchd.ice.candidate import CandidateType
from punchd.ice.pair import CandidatePair

from .backend import IDLE_TIMEOUT
from .carrier import Carrier
from .paths import FULL_SIZE

#: An idle connection is used after so many seconds, lest QUIC gives it up.
_PING = IDLE_TIMEOUT / 3
#: The least time between two looks at what is idle, and the most while the path
#: in use counts as busy, in seconds.
_LEAST = 0.5
_BUSY = 15.0
#: By so much, as a part of the interval, a keepalive may be early to leave with
#: another one, and so much later the controlled side sends its own.
_EARLY = 0.05
_LATE = 0.1
#: A pair that nobody keeps rests after so many intervals in which nothing came.
_REST = 2.0


class Keeping:
    """
    I keep the bindings of one session; its machine keeps the time.

    @ivar sent: how many keepalives were sent.
    """

    def __init__(self, carrier: Carrier, moved: Callable[[float], object]) -> None:
        """
        @param moved: told when the NAT has moved the mapping of a pair, with the
            seconds of silence before that.
        """
        self.sent = 0
        self._carrier = carrier
        self._moved = moved
        self._mapped: dict[CandidatePair, tuple[Address, float]] = {}

    def keepAlive(self, interval: float) -> float:
        """
        Refresh the bindings of the pairs whose time has come.

        @param interval: seconds for which no pair is to be silent.

        @return: when to call me again, in seconds from now.
        """
        carrier = self._carrier
        now = carrier.quic.now()
        if carrier.busy and now - carrier.lastSent >= min(interval, _BUSY):
            carrier.setBusy(False)
        if now - carrier.lastSent >= _PING:
            carrier.quic.call(self._ping)
        agent = carrier.agent
        if agent is None:
            return interval
        kept = self.kept()
        for pair in agent.validPairs:
            heard = now if pair.lastReceived is None else pair.lastReceived
            if pair not in kept and now - heard >= _REST * interval:
                pair.resting = True
        share = interval if agent.controlling else (1 + _LATE) * interval
        due = [pair for pair in kept if self._quiet(pair, now) >= (1 - _EARLY) * share]
        for pair in due:
            self._watch(pair, interval, now)
        self.sent += len(due)
        carrier.ice(agent.keepalive, due)
        waits = [share - self._quiet(pair, now) for pair in kept if pair not in due]
        waits += [share] * bool(due)
        if carrier.busy:
            waits.append(_BUSY)
        return max(min(waits, default=share), _LEAST)

    def kept(self) -> Sequence[CandidatePair]:
        """
        @return: the pair in use, and what is next should that fail.  Both sides
            choose the same of several relayed ones.
        """
        carrier = self._carrier
        agent, paths = carrier.agent, carrier.paths
        if paths.current is None or agent is None:
            return ()
        if paths.current.kind == "relayed":
            return (paths.current,)
        spare = [
            pair
            for pair in agent.validPairs
            if pair.kind == "relayed"
            and paths.allows(pair)
            and pair.reported is not None
            and pair.reported.largest >= FULL_SIZE
        ]

        def merit(pair: CandidatePair) -> tuple[bool, bool]:
            ours = pair.local.type is CandidateType.RELAY
            theirs = pair.remote.type is CandidateType.RELAY
            # One relay is better than two; of two such pairs, the relay of the
            # controlling side is the one.
            return (not (ours and theirs), ours == agent.controlling)

        return (paths.current, *sorted(spare, key=merit)[-1:])

    def _quiet(self, pair: CandidatePair, now: float) -> float:
        """
        @return: seconds since anything left on the pair.
        """
        last = float("-inf") if pair.lastLeft is None else pair.lastLeft
        if pair is self._carrier.paths.current:
            last = max(last, self._carrier.lastSent)
        return now - last

    def _watch(self, pair: CandidatePair, interval: float, now: float) -> None:
        """
        See whether the NAT kept the mapping over the last silence.
        """
        before = self._mapped.pop(pair, None)
        mapped = pair.mapped
        if before is not None and mapped is not None and before[0] != mapped:
            # Another host is another network: that says nothing of lifetimes.
            if before[0][0] == mapped[0]:
                self._moved(before[1])
        if mapped is not None:
            self._mapped[pair] = (mapped, self._quiet(pair, now))

    def _ping(self, now: float) -> None:
        quic = self._carrier.quicCore
        quic.note(now)
        quic.ping()
