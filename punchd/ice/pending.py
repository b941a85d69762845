"""
Checks on their way: every transmission has a transaction id of its own, so
that each response gives an exact round-trip time, and all of them stay valid
until they are old.
"""

from __future__ import annotations

from typing import NamedTuple

from .delivery import Mark
from .pair import CandidatePair

#: However fast the peer makes us check, no more than these are remembered.
MOST = 4096


class Transmission(NamedTuple):
    """
    @ivar sentAt: when it left.
    @ivar controlling: the role it claimed.
    @ivar nominates: whether it carried USE-CANDIDATE.
    @ivar mark: what of the session had left on the pair.
    """

    pair: CandidatePair
    sentAt: float
    controlling: bool
    nominates: bool
    mark: Mark


class Pending:
    """
    Transmissions by transaction id, oldest first.
    """

    def __init__(self, memory: float) -> None:
        """
        @param memory: how many seconds to remember one.
        """
        self._memory = memory
        self._sent: dict[bytes, Transmission] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def add(self, transactionId: bytes, sent: Transmission) -> None:
        """
        Remember one more, and forget those that are too old.
        """
        limit = sent.sentAt - self._memory
        while self._sent:
            oldest = next(iter(self._sent))
            if self._sent[oldest].sentAt >= limit and len(self._sent) < MOST:
                break
            del self._sent[oldest]
        self._sent[transactionId] = sent

    def get(self, transactionId: bytes) -> Transmission | None:
        """
        @return: the transmission with that id, if it is remembered.
        """
        return self._sent.get(transactionId)

    def answered(self, transactionId: bytes) -> None:
        """
        A second response to the same transmission is none.
        """
        self._sent.pop(transactionId, None)
