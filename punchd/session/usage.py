"""
What is known of a pair that may carry the session, and what the choice among
such pairs asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from punchd.core import Address
from punchd.ice.candidate import CandidateType
from punchd.ice.pair import CandidatePair
from punchd.traversal.policy import PathState

#: Seconds of silence while sending before a path is doubted, at the least.
DOUBT = 0.4
#: The same where silence was found to mean nothing: the peer sends by another way.
ONE_WAY = 1.0
#: Seconds for which a rate that was measured counts.
_RECENTLY = 3.0
#: After so many times that silence, in which checks were not answered either, another
#: path is used that answers.
DEAD = 2.5
#: Seconds after which it is forgotten that a path was left because it was bad.
_FORGIVEN = 900.0
#: After so many measurements in a row more was waiting: it is the path that limits.
_LIMITED = 3

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

    @ivar widely: whether to ask all else at once, too.
    """

    pair: CandidatePair
    widely: bool = True


@dataclass(frozen=True, slots=True)
class Measure:
    """
    Send a check on the pair, behind C{train} datagrams that were sent before:
    how many of them arrive, and how late the check does, says what it carries.
    """

    pair: CandidatePair
    train: int = 0


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
class Usage:
    """
    What is known about a pair that has answered checks.

    @ivar unheard: datagrams since C{unheardSince}.
    @ivar oneWay: whether it is silent but works: the peer sends by another way.
    @ivar limited: how many times in a row more was waiting than it carried.
    @ivar judged: which of the measurements was the last.
    @ivar flown: datagrams since the last measurement.
    @ivar carriedAt: when it last carried the session, L{None} if it never has.
    @ivar left: how often it was left because it was bad.
    """

    pair: CandidatePair
    proven: bool = False
    stale: bool = False
    proofs: int = 0
    nextProof: float = 0.0
    unheardSince: float | None = None
    unheard: int = 0
    probedAt: float = -1.0
    oneWay: bool = False
    limited: int = 0
    judged: float | None = None
    flown: int = 0
    nextMeasure: float = 0.0
    carriedAt: float | None = None
    left: int = 0

    @property
    def patience(self) -> float:
        """
        Seconds of silence before it is doubted.
        """
        return max(ONE_WAY if self.oneWay else DOUBT, 3 * (self.pair.rtt or 0.0))

    def silent(self, now: float) -> bool:
        """
        @return: whether nothing was heard for too long.
        """
        since = self.unheardSince
        # The same sum as in deadline(): floats would not forgive another one.
        return since is not None and now >= since + self.patience

    def sent(self, count: int, now: float) -> None:
        """
        C{count} datagrams leave, after which something should be heard.
        """
        if self.unheardSince is None:
            self.unheardSince, self.unheard = now, 0
        self.unheard += count

    def grave(self, now: float) -> bool:
        """
        @return: whether the silence is more than that after a lone datagram, which
            may well have been an answer itself.
        """
        return self.unheard > 1 or self.unanswered(now)

    def unanswered(self, now: float) -> bool:
        """
        @return: whether checks have gone unanswered for too long.
        """
        since = self.pair.unansweredSince
        return since is not None and now >= since + self.patience

    def dead(self, now: float) -> bool:
        """
        @return: whether nothing was heard for so long, of data and of checks, that
            another path is to be used if there is one.
        """
        since = self.unheardSince
        return (
            since is not None
            and now >= since + DEAD * self.patience
            and self.unanswered(now)
        )

    def doubted(self, now: float) -> bool:
        """
        @return: whether it may carry nothing, as far as is known.
        """
        return self.pair.delivery.undelivered or self.silent(now)

    def measured(self, waiting: bool, now: float) -> None:
        """
        There may be another measurement of the pair in use.

        @param waiting: whether there is more to send than may be sent now.
        """
        delivery = self.pair.delivery
        # Where nothing is late it is QUIC that has yet to find its rate, or keeps it
        # low for losses, which count for themselves.
        queue = (delivery.delay or 0.0) > 1.25 * (delivery.least or 0.0) + 0.02
        if not (waiting and queue):
            self.limited = 0
            delivery.limit = None
        elif delivery.measured != self.judged and delivery.goodput:
            self.limited += 1
            if self.limited >= _LIMITED:
                delivery.limit = delivery.goodput
        self.judged = delivery.measured

    def state(self, now: float) -> PathState:
        """
        @return: all that a policy should know.
        """
        pair, delivery = self.pair, self.pair.delivery
        types = (_TYPE_RANK[pair.local.type], _TYPE_RANK[pair.remote.type])
        at = self.carriedAt
        forgiven = at is None or now - at >= _FORGIVEN
        measured = delivery.carriedAt
        recently = measured is not None and now - measured < _RECENTLY
        return PathState(
            kind=pair.kind,
            transport=pair.transport,
            family=pair.local.family,
            relays=types.count(0),
            near=min(types),
            rtt=pair.rtt if delivery.delay is None else delivery.delay,
            least=delivery.least,
            loss=delivery.loss(now),
            known=delivery.known(now),
            limit=delivery.limit,
            carried=delivery.carried if recently else None,
            delivers=not delivery.undelivered,
            idle=inf if at is None else now - at,
            left=0 if forgiven else self.left,
        )


def keyOf(pair: CandidatePair) -> tuple[Address, Address]:
    """
    @return: the 5-tuple, less one.
    """
    return (pair.local.base, pair.remote.address)


def meritOf(pair: CandidatePair) -> tuple[int, int]:
    """
    What a pair is worth by its kind.
    """
    return Usage(pair).state(0.0).merit


def rankOf(usage: Usage, now: float) -> tuple[bool, bool, tuple[int, int], float]:
    """
    Which pair to try first; those that answer are the best, and of them the proven
    ones.
    """
    return (
        not usage.unanswered(now),
        usage.proven and not usage.stale and not usage.pair.resting,
        meritOf(usage.pair),
        -(usage.pair.rtt or 0.0),
    )
