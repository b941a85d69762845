"""
What an L{Agent <punchd.ice.agent.Agent>} says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .candidate import Candidate
from .pair import CandidatePair


class LossReason(Enum):
    """
    Why a pair is valid no longer.
    """

    #: No authenticated response for as long as consent lasts (RFC 7675).
    CONSENT_EXPIRED = "consent-expired"
    #: A probe that was asked for got no answer.
    PROBE_UNANSWERED = "probe-unanswered"
    #: Its local candidate was taken away.
    CANDIDATE_REMOVED = "candidate-removed"


@dataclass(frozen=True, slots=True)
class PairSucceeded:
    """
    The pair has become valid, for the first time or again.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class PairReported:
    """
    A valid pair was answered: its round trip is fresh, and perhaps the peer's
    report.  Also when a check of the peer brings a new report.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class PairDoubtful:
    """
    Several checks in a row got no answer that nobody had asked for.  The pair
    is still valid: consent lasts on.  A L{PairReported} ends the doubt, a
    L{PairLost} the pair.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class PairLost:
    """
    The pair is valid no longer.  It is checked on at growing intervals, unless
    it was removed; L{PairSucceeded} tells when it is back.
    """

    pair: CandidatePair
    reason: LossReason


@dataclass(frozen=True, slots=True)
class CheckReceived:
    """
    An authenticated check of the peer arrived on this pair, the first one of
    this round: the peer reaches us.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class Nominated:
    """
    Both agents know that this is the pair to use.
    """

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class RemoteCandidateLearned:
    """
    A check came from an address of the peer that was not known.
    """

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class LocalCandidateLearned:
    """
    A response told an address of ours that was not known.
    """

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """
    A conflict was solved by taking the other role.
    """

    controlling: bool


@dataclass(frozen=True, slots=True)
class ChecksFinished:
    """
    No pair is waiting or in progress, and no more candidates are announced.
    It comes again when a later round ends.
    """


Event = (
    PairSucceeded
    | PairReported
    | PairDoubtful
    | PairLost
    | CheckReceived
    | Nominated
    | RemoteCandidateLearned
    | LocalCandidateLearned
    | RoleChanged
    | ChecksFinished
)
