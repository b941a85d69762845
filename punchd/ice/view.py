"""
What an ICE agent knows.
"""

from __future__ import annotations

from collections import Counter

from punchd.core import Address

from .candidate import Candidate
from .context import Context
from .credentials import Credentials
from .pair import CandidatePair


class View:
    """
    I am the side of L{punchd.ice.agent.Agent} that changes nothing.
    """

    _context: Context

    @property
    def credentials(self) -> Credentials:
        """
        Ours.
        """
        return self._context.local

    @property
    def remoteCredentials(self) -> Credentials | None:
        """
        The peer's, once they are known.
        """
        return self._context.remote

    @property
    def controlling(self) -> bool:
        """
        Whether we nominate.
        """
        return self._context.roles.controlling

    @property
    def pairs(self) -> list[CandidatePair]:
        """
        All pairs, the one of highest priority first.
        """
        return self._context.checklist.ordered

    @property
    def validPairs(self) -> list[CandidatePair]:
        """
        Those that the session may use, by priority.
        """
        return [pair for pair in self.pairs if pair.valid]

    @property
    def nominatedPair(self) -> CandidatePair | None:
        """
        The pair both agents agree on, as long as it is valid.
        """
        return self._context.nomination.nominated

    @property
    def localCandidates(self) -> list[Candidate]:
        """
        Ours, peer-reflexive ones included.
        """
        return self._context.checklist.localCandidates

    @property
    def remoteCandidates(self) -> list[Candidate]:
        """
        The peer's, peer-reflexive ones included.
        """
        return self._context.checklist.remoteCandidates

    @property
    def checksSent(self) -> int:
        """
        How many checks have left, repetitions included.
        """
        return self._context.checksSent

    @property
    def garbage(self) -> Counter[str]:
        """
        What came in vain, by reason.
        """
        return self._context.garbage

    def pairOf(self, local: Address, remote: Address) -> CandidatePair | None:
        """
        @return: the pair of this 5-tuple.
        """
        return self._context.checklist.find(local, remote)
