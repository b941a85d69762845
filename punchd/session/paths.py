"""
Which path carries the session's datagrams.

Rules.

  1. A pair carries the session only after it was I{proven}: the peer reported,
     in an integrity-protected check, a full-size session datagram that it
     received on this 5-tuple.  A ping that passes says nothing about data.
  2. Until something is proven, datagrams go over the rendezvous (path zero, as
     far as its budget reaches) and, in copies, over the most plausible pairs.
     QUIC drops what arrives twice.
  3. Silence on the path in use is a doubt: copies go over the best other
     path, and a check is asked for.  The check decides: an answer ends the
     doubt, none takes the path out of use.
  4. A direct path beats a relayed one, a direct one over UDP one over TCP, and
     one relay beats two; otherwise the path in use stays.

No I/O here: the object says what it wants in events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from punchd.core import Address, Datagram
from punchd.ice.candidate import CandidateType
from punchd.ice.pair import CandidatePair

#: QUIC's datagrams have at most this size (RFC 9000, 14.1), and a path that
#: does not carry it is of no use.
FULL_SIZE = 1200
#: Copies that may go to pairs that have not answered a check yet.
SPECULATION = 64
#: Seconds of silence while sending before a path is doubted, at the least.
DOUBT = 0.4
#: Seconds between attempts to prove a pair, and how often it is hurried.
PROOF_INTERVAL = 0.2
PROOF_HASTE = 10
PROOF_PATIENCE = 5.0
#: Silence after which a path from before an ICE restart is given up.
STALE_PATIENCE = 3.0

_TYPE_RANK = {
    CandidateType.RELAY: 0,
    CandidateType.SRFLX: 1,
    CandidateType.PRFLX: 1,
    CandidateType.HOST: 2,
}


@dataclass(frozen=True, slots=True)
class Prove:
    """
    Send a full-size session datagram on the pair, and a check behind it.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class Probe:
    """
    Send a check on the pair: it is in doubt.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class Found:
    """
    A way that nothing was tried on turned up before any was proven: send
    again what was sent in vain.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class Switched:
    """
    The session is carried by another pair than before, or by none.
    """

    pair: CandidatePair | None
    before: CandidatePair | None


@dataclass(slots=True)
class _Usage:
    """
    What is known about a pair that has answered checks.
    """

    pair: CandidatePair
    proven: bool = False
    stale: bool = False
    proofs: int = 0
    nextProof: float = 0.0
    unheardSince: float | None = None
    probedAt: float = -1.0


@dataclass
class Paths:
    """
    I choose among the pairs that the ICE agent found.

    @ivar mode: C{"auto"}, C{"direct"} or C{"relay"}: what the user allows.
    @ivar current: the pair in use.
    @ivar changes: how often the pair in use was changed for another.
    """

    mode: str = "auto"
    current: CandidatePair | None = None
    changes: int = 0
    sent: Counter[str] = field(default_factory=Counter)

    _usage: dict[tuple[Address, Address], _Usage] = field(default_factory=dict)
    _plausible: list[CandidatePair] = field(default_factory=list)
    _speculated: int = 0
    _events: list[object] = field(default_factory=list)

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
        for pair in pairs:
            if self.allows(pair) and pair not in self._plausible:
                self._plausible.append(pair)

    def checkReceived(self, pair: CandidatePair, now: float) -> None:
        """
        The peer reached us on this pair: nothing is more plausible.
        """
        if not self.allows(pair):
            return
        if pair in self._plausible:
            self._plausible.remove(pair)
        elif self._speculated and not self._usage and pair.kind == "direct":
            self._events.append(Found(pair))
        self._plausible.insert(0, pair)

    def pairSucceeded(self, pair: CandidatePair, now: float) -> None:
        """
        A check was answered: the pair is put to the proof.
        """
        if not self.allows(pair):
            return
        usage = self._usage.get(_key(pair))
        if usage is None or usage.pair is not pair:
            usage = self._usage[_key(pair)] = _Usage(pair)
        usage.unheardSince = None
        if not usage.proven:
            usage.proofs = 0
            self._prove(usage, now)

    def pairReported(self, pair: CandidatePair, now: float) -> None:
        """
        The peer answered on this pair, and said what it received on it.
        """
        usage = self._usage.get(_key(pair))
        if usage is None:
            return
        usage.unheardSince = None
        report = pair.reported
        if report is not None and report.largest >= FULL_SIZE:
            usage.proven = True
            if pair is not self.current:
                self._choose()

    def pairLost(self, pair: CandidatePair, now: float) -> None:
        """
        The peer does not answer on this pair any more.
        """
        usage = self._usage.pop(_key(pair), None)
        if usage is not None:
            self._choose()

    def forget(self) -> None:
        """
        Another agent took over (an ICE restart): no old pair is of use, but
        the one in use stays until it is lost or a better one is proven.
        """
        self._plausible.clear()
        self._speculated = 0
        known, self._usage = self._usage, {}
        current = self.current
        if current is None:
            return
        usage = known.get(_key(current))
        if usage is None or usage.pair is not current:
            # The last agent had a pair of its own there, not proven yet.
            since = None if usage is None else usage.unheardSince
            usage = _Usage(current, proven=True, unheardSince=since)
        usage.stale = True
        self._usage[_key(current)] = usage

    # --- what QUIC sends and receives

    def received(self, local: Address, remote: Address, now: float) -> None:
        """
        A session datagram came on this 5-tuple.
        """
        usage = self._usage.get((local, remote))
        if usage is not None:
            usage.unheardSince = None

    def inDoubt(self, now: float) -> bool:
        """
        @return: whether the pair in use was silent for too long.
        """
        current = self.current
        if current is None:
            return False
        usage = self._usage.get(_key(current))
        return usage is not None and self._doubted(usage, now)

    def routes(self, count: int, now: float) -> tuple[Sequence[CandidatePair], bool]:
        """
        Where the next C{count} datagrams go.

        @return: the pairs, each of which gets a copy, and whether path zero
            gets one.
        """
        current = self.current
        if current is not None:
            usage = self._usage[_key(current)]
            if usage.unheardSince is None:
                usage.unheardSince = now
            if not self._doubted(usage, now):
                return (current,), False
            return (current, *self._others(current)), False
        valid = self._others(None)
        if valid:
            return valid, True
        if self._speculated >= SPECULATION:
            return (), True
        pairs = self._mostPlausible()
        self._speculated += count * len(pairs)
        return pairs, True

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
        @return: L{Prove}, L{Probe}, L{Found} and L{Switched}, oldest first.
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
            usage = self._usage[_key(current)]
            if usage.unheardSince is not None:
                doubt = usage.unheardSince + _patience(current)
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
        usage = self._usage[_key(current)]
        if not self._doubted(usage, now) or now < usage.probedAt + DOUBT:
            return
        usage.probedAt = now
        if not usage.stale:
            self._events.append(Probe(current))
        elif now - (usage.unheardSince or now) >= STALE_PATIENCE:
            self.pairLost(current, now)

    # --- internals

    def _doubted(self, usage: _Usage, now: float) -> bool:
        since = usage.unheardSince
        # The same sum as in deadline(): floats would not forgive another one.
        return since is not None and now >= since + _patience(usage.pair)

    def _prove(self, usage: _Usage, now: float) -> None:
        usage.proofs += 1
        hurried = usage.proofs <= PROOF_HASTE
        rtt = usage.pair.rtt or 0.0
        wait = max(PROOF_INTERVAL, 2 * rtt) if hurried else PROOF_PATIENCE
        usage.nextProof = now + wait
        self._events.append(Prove(usage.pair))

    def _mostPlausible(self) -> list[CandidatePair]:
        """
        A relayed pair, which has the longer way, and three direct ones: the relay's
        checks come through whatever the NATs are, and must not crowd out the
        others.
        """
        direct = [pair for pair in self._plausible if pair.kind == "direct"]
        relayed = [pair for pair in self._plausible if pair.kind != "direct"]
        return relayed[:1] + direct[:3]

    def _others(self, current: CandidatePair | None) -> tuple[CandidatePair, ...]:
        """
        The best direct and the best relayed pair that answered a check, other
        than the one in use; the proven ones first.
        """
        best: dict[str, _Usage] = {}
        for usage in self._usage.values():
            if usage.pair is current:
                continue
            kind = usage.pair.kind
            if kind not in best or _rank(usage) > _rank(best[kind]):
                best[kind] = usage
        return tuple(usage.pair for usage in best.values())

    def _choose(self) -> None:
        before = self.current
        proven = [usage for usage in self._usage.values() if usage.proven]
        best = max(proven, key=_rank, default=None)
        after = None if best is None else best.pair
        if before is not None and after is not None:
            usage = self._usage.get(_key(before))
            stays = usage is not None and usage.pair is before and not usage.stale
            if stays and _merit(before) >= _merit(after):
                after = before
        if after is before:
            return
        self.current = after
        if after is None:
            self._speculated = 0
        if before is not None:
            self.changes += 1
        self._events.append(Switched(after, before))


def _key(pair: CandidatePair) -> tuple[Address, Address]:
    return (pair.local.base, pair.remote.address)


def _patience(pair: CandidatePair) -> float:
    return max(DOUBT, 3 * (pair.rtt or 0.0))


def _merit(pair: CandidatePair) -> tuple[int, int]:
    """
    What is worth a switch: a direct path, one that no TCP holds up, and a shorter
    one; one relay is better than two.
    """
    types = (_TYPE_RANK[pair.local.type], _TYPE_RANK[pair.remote.type])
    if pair.kind == "direct":
        return (1 if pair.transport == "tcp" else 2, min(types))
    return (0, min(1, max(types)))


def _rank(usage: _Usage) -> tuple[bool, tuple[int, int], float]:
    return (
        usage.proven and not usage.stale and not usage.pair.resting,
        _merit(usage.pair),
        -(usage.pair.rtt or 0.0),
    )
