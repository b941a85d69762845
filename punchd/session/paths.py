"""
Which path carries the session's datagrams.

Rules.

  1. A pair carries the session only after it was I{proven}: the peer reported,
     in an integrity-protected check, a full-size session datagram that it
     received on this 5-tuple.  A ping that passes says nothing about data.  The
     first answer may be the proof, where a sample went ahead of the check.
  2. Until something is proven, datagrams go over the rendezvous (path zero, as
     far as its budget reaches) and, in copies, over the most plausible pairs.
     QUIC drops what arrives twice.
  3. Silence on the path in use is a doubt: copies go over the best other
     path, and checks are asked for.  They decide: an answer ends the doubt,
     none takes the path out of use, soon if another one answers.
  4. Which proven pair is the best is for a policy to say
     (L{punchd.interfaces.IPathPolicy}), whenever something new is known of one.
  5. While data flow, the pair in use is measured; so is, with some copies of
     old datagrams now and then, a better one that was left, or the others when
     that in use looks bad.  Nothing is measured while nobody says anything.

No I/O here: the object says what it wants in events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from punchd.core import Address, Datagram
from punchd.ice.pair import CandidatePair
from punchd.interfaces import IPathPolicy
from punchd.traversal.policy import Choice, Quality, consult, looksBad

from .speculation import Speculation
from .usage import (
    DOUBT,
    Found,
    Measure,
    Probe,
    Prove,
    Switched,
    Usage,
    keyOf,
    meritOf,
    rankOf,
)

#: QUIC's datagrams have at most this size (RFC 9000, 14.1), and a path that
#: does not carry it is of no use.
FULL_SIZE = 1200
#: Seconds between attempts to prove a pair, and how often it is hurried.
PROOF_INTERVAL = 0.2
PROOF_HASTE = 10
PROOF_PATIENCE = 5.0
#: Silence after which a path from before an ICE restart is given up.
STALE_PATIENCE = 3.0
#: The pair in use is measured after so many datagrams, and seconds.
FLOW = 32
MEASURE_INTERVAL = 1.0
#: Another one is so often, with so many copies, which are this part of what flows.
SAMPLE_INTERVAL = 2.0
TRAIN_LEAST, TRAIN_MOST = 16, 32
TRAIN_PART = 0.05


@dataclass
class Paths:
    """
    I choose among the pairs that the ICE agent found.

    @ivar mode: C{"auto"}, C{"direct"} or C{"relay"}: what the user allows.
    @ivar current: the pair in use.
    @ivar policy: what says which is the best.
    @ivar changes: how often the pair in use was changed for another.
    @ivar reason: why that was done the last time.
    """

    mode: str = "auto"
    policy: IPathPolicy = field(default_factory=Quality)
    current: CandidatePair | None = None
    changes: int = 0
    reason: str | None = None

    _usage: dict[tuple[Address, Address], Usage] = field(default_factory=dict)
    _speculation: Speculation = field(default_factory=Speculation)
    _lost: set[tuple[Address, Address]] = field(default_factory=set)
    _events: list[object] = field(default_factory=list)
    _sampled: float | None = None
    _flown: int = 0

    # --- what the agent says

    def allows(self, pair: CandidatePair) -> bool:
        """
        @return: whether the user wants such a pair to carry the session.
        """
        return self.mode == "auto" or (self.mode == "relay") == (pair.kind == "relayed")

    def pairTried(self, pairs: Iterable[CandidatePair]) -> None:
        """
        Checks are on their way on these pairs, the most promising first.
        """
        self._speculation.tried(filter(self.allows, pairs))

    def sample(self, pair: CandidatePair) -> bool:
        """
        @return: whether a full-size datagram is to go ahead of the check that is about
            to leave on this pair.
        """
        return not self.hasDirect and self._speculation.sample(pair)

    def checkReceived(self, pair: CandidatePair, now: float) -> None:
        """
        The peer reached us on this pair: nothing is more plausible.
        """
        if not self.allows(pair):
            return
        isNew = self._speculation.heard(pair)
        if isNew and self._speculation.begun and not self._usage:
            if pair.kind == "direct":
                self._events.append(Found(pair))

    def pairSucceeded(self, pair: CandidatePair, now: float) -> None:
        """
        A check was answered: the pair is put to the proof.
        """
        if not self.allows(pair):
            return
        usage = self._usage.get(keyOf(pair))
        if usage is None or usage.pair is not pair:
            usage = self._usage[keyOf(pair)] = Usage(pair)
        usage.unheardSince = None
        if self.inDoubt(now):
            self._events.append(Found(pair))
        if usage.proven:
            return
        if isProof(pair) and keyOf(pair) not in self._lost:
            usage.proven = True
            self._choose(now)
        else:
            usage.proofs = 0
            self._prove(usage, now)

    def pairReported(
        self, pair: CandidatePair, now: float, waiting: bool = False
    ) -> None:
        """
        The peer answered on this pair, and said what it received on it.

        @param waiting: whether there is more to send than may be sent now.
        """
        usage = self._usage.get(keyOf(pair))
        if usage is None:
            return
        if usage.silent(now):
            usage.oneWay = True
        usage.unheardSince = None
        if pair is self.current:
            usage.measured(waiting, now)
        if isProof(pair):
            usage.proven = True
            self._choose(now)

    def pairLost(self, pair: CandidatePair, now: float) -> None:
        """
        The peer does not answer on this pair any more.
        """
        # What the peer has told of it until now is no news any more.
        self._lost.add(keyOf(pair))
        usage = self._usage.pop(keyOf(pair), None)
        if usage is not None:
            self._choose(now)

    def forget(self) -> None:
        """
        Another agent took over (an ICE restart): no old pair is of use, but
        the one in use stays until it is lost or a better one is proven.
        """
        self._speculation.forget()
        self._lost.clear()
        known, self._usage = self._usage, {}
        current = self.current
        if current is None:
            return
        usage = known.get(keyOf(current))
        if usage is None or usage.pair is not current:
            # The last agent had a pair of its own there, not proven yet.
            since = None if usage is None else usage.unheardSince
            usage = Usage(current, proven=True, unheardSince=since)
        usage.stale = True
        self._usage[keyOf(current)] = usage

    # --- what QUIC sends and receives

    def received(self, local: Address, remote: Address, now: float) -> None:
        """
        A session datagram came on this 5-tuple.
        """
        usage = self._usage.get((local, remote))
        if usage is not None:
            usage.unheardSince = None
            usage.oneWay = False

    @property
    def hasDirect(self) -> bool:
        """
        Whether a direct pair works, in use or not.
        """
        return any(u.proven and u.pair.kind == "direct" for u in self._usage.values())

    def inDoubt(self, now: float) -> bool:
        """
        @return: whether the pair in use was silent for too long.
        """
        current = self.current
        if current is None:
            return False
        usage = self._usage.get(keyOf(current))
        return usage is not None and usage.doubted(now)

    def routes(self, count: int, now: float) -> tuple[Sequence[CandidatePair], bool]:
        """
        Where the next C{count} datagrams go.

        @return: the pairs, each of which gets a copy, and whether path zero
            gets one.
        """
        current = self.current
        if current is not None:
            usage = self._usage[keyOf(current)]
            usage.sent(count, now)
            self._watch(usage, count, now)
            if not usage.doubted(now):
                return (current,), False
            return (current, *self._others(current, now)), False
        valid = self._others(None, now)
        if valid:
            return valid, True
        return self._speculation.routes(count), True

    # --- the contract of a core object

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        Nothing is addressed to me.
        """

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        I send nothing myself.
        """
        return ()

    def takeEvents(self) -> Sequence[object]:
        """
        @return: L{Prove}, L{Probe}, L{Measure}, L{Found} and L{Switched}, oldest
            first.
        """
        events, self._events = self._events, []
        return events

    def deadline(self) -> float | None:
        """
        @return: when a proof or a doubt is due.
        """
        times = [u.nextProof for u in self._usage.values() if not u.proven]
        current = self.current
        if current is not None:
            usage = self._usage[keyOf(current)]
            if usage.unheardSince is not None:
                doubt = usage.unheardSince + usage.patience
                times.append(max(doubt, usage.probedAt + DOUBT))
        return min(times, default=None)

    def timeReached(self, now: float) -> None:
        """
        Ask again for what has not come.
        """
        for usage in list(self._usage.values()):
            if not usage.proven and now >= usage.nextProof:
                self._prove(usage, now)
        current = self.current
        if current is None:
            return
        usage = self._usage[keyOf(current)]
        if not usage.silent(now) or now < usage.probedAt + DOUBT:
            return
        usage.probedAt = now
        if not usage.stale:
            self._events.append(Probe(current, usage.grave(now)))
            if usage.dead(now):
                self._choose(now)
        elif now - (usage.unheardSince or now) >= STALE_PATIENCE:
            self.pairLost(current, now)

    # --- internals

    def _prove(self, usage: Usage, now: float) -> None:
        usage.proofs += 1
        hurried = usage.proofs <= PROOF_HASTE
        rtt = usage.pair.rtt or 0.0
        wait = max(PROOF_INTERVAL, 2 * rtt) if hurried else PROOF_PATIENCE
        usage.nextProof = now + wait
        self._events.append(Prove(usage.pair))

    def _others(
        self, current: CandidatePair | None, now: float
    ) -> tuple[CandidatePair, ...]:
        """
        The best direct and the best relayed pair that answered a check, other
        than the one in use; those that answer still, and the proven ones first.
        """
        best: dict[str, Usage] = {}
        for usage in self._usage.values():
            if usage.pair is current:
                continue
            kind = usage.pair.kind
            if kind not in best or rankOf(usage, now) > rankOf(best[kind], now):
                best[kind] = usage
        return tuple(usage.pair for usage in best.values())

    def _watch(self, usage: Usage, count: int, now: float) -> None:
        """
        C{count} more datagrams go on the pair in use: is it time to measure?
        """
        if usage.pair.delivery.undelivered and now >= usage.probedAt + DOUBT:
            usage.probedAt = now
            self._events.append(Probe(usage.pair))
        usage.flown += count
        if usage.flown >= FLOW and now >= usage.nextMeasure:
            usage.flown, usage.nextMeasure = 0, now + MEASURE_INTERVAL
            self._events.append(Measure(usage.pair))
        if self._sampled is None or now - self._sampled > 2 * SAMPLE_INTERVAL:
            # It has just begun to flow.
            self._sampled, self._flown = now, 0
        self._flown += count
        if now < self._sampled + SAMPLE_INTERVAL:
            return
        train = min(max(int(TRAIN_PART * self._flown), TRAIN_LEAST), TRAIN_MOST)
        self._sampled, self._flown = now, 0
        bad = looksBad(usage.state(now))
        merit = meritOf(usage.pair)
        for other in self._usage.values():
            if other is usage or not other.proven or other.stale:
                continue
            if bad or meritOf(other.pair) > merit:
                self._events.append(Measure(other.pair, train))

    def _choose(self, now: float) -> None:
        before = self.current
        proven = [usage for usage in self._usage.values() if usage.proven]
        inUse = None if before is None else self._usage.get(keyOf(before))
        if inUse is not None and (inUse.pair is not before or inUse.stale):
            inUse = None
        # What rests, is from before a restart or does not answer is for want of
        # something better.
        ready = [u for u in proven if all(rankOf(u, now)[:2])]
        if inUse is not None and inUse.dead(now) and ready:
            # What an outage takes says nothing of the path that comes back.
            inUse.pair.delivery.restart()
            inUse = None
        usable = [u for u in proven if u is inUse or u in ready] or proven
        states = [usage.state(now) for usage in usable]
        current = next((s for u, s in zip(usable, states) if u is inUse), None)
        choice = consult(self.policy, states, current)
        if choice is None:
            after = inUse
        else:
            after = next(u for u, s in zip(usable, states) if s is choice.path)
        if inUse is not None and after is not inUse:
            inUse.carriedAt = now
            inUse.left += choice is not None and choice.bad
        self._use(None if after is None else after.pair, choice, inUse is None)

    def _use(
        self, after: CandidatePair | None, choice: Choice | None, lost: bool
    ) -> None:
        before = self.current
        if after is before:
            return
        self.current = after
        if after is None:
            self._speculation.restart()
        if before is not None:
            self.changes += 1
            if lost or choice is None:
                self.reason = f"the {before.kind} path worked no longer"
            else:
                self.reason = choice.reason
        self._events.append(Switched(after, before))


def isProof(pair: CandidatePair) -> bool:
    """
    @return: whether the peer has reported a session datagram of full size.
    """
    return pair.reported is not None and pair.reported.largest >= FULL_SIZE
