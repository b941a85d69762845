"""
Who is told what becomes of the paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from punchd.core import Address
from punchd.ice.pair import CandidatePair

from .events import Event


class Listener(Protocol):
    """
    Who is told what becomes of the paths; L{punchd.session.session.Session}.
    """

    def sendZero(self, datagrams: Sequence[bytes]) -> None:
        """
        Send session datagrams through the rendezvous.
        """

    def pathSwitched(self, pair: CandidatePair | None) -> None:
        """
        Another pair carries the session, or none does.
        """

    def remoteLearned(self, remote: Address) -> None:
        """
        The peer has one more address.
        """

    def checkSeen(
        self, what: Literal["arrived", "answered"], pair: CandidatePair
    ) -> None:
        """
        A check of the peer arrived on a pair, or one of ours was answered.
        """

    def checksFinished(self) -> None:
        """
        The agent has nothing left to check.
        """

    def quicHappened(self, event: Event) -> None:
        """
        QUIC has an event.
        """
