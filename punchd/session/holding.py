"""
Not overtaking oneself.

When a path is left for one with a shorter round trip, what is sent on that arrives
before what is still on its way.  QUIC takes a datagram that three later ones have
overtaken for lost, and a loss for a full path: in its slow start it would be slow for
many seconds.  So what follows waits for as long as the ways differ; it arrives no later
than it would have by the path before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from punchd.ice.pair import CandidatePair

#: Seconds to wait at the most.
MOST: Final = 0.25


class Hold:
    """
    I keep datagrams back for a moment.
    """

    def __init__(
        self, clock: IReactorTime, release: Callable[[list[bytes]], object]
    ) -> None:
        """
        @param release: sends what was kept back, if anything was.
        """
        self._clock = clock
        self._release = release
        self._kept: list[bytes] = []
        self._waiting: IDelayedCall | None = None

    def switched(
        self, before: CandidatePair | None, after: CandidatePair | None, since: float
    ) -> None:
        """
        Another pair is used than before.

        @param since: the seconds since something was sent on that.
        """
        self.end()
        if before is not None and after is not None and before.valid:
            self.begin(before.rtt or 0.0, after.rtt or 0.0, since)

    def begin(self, before: float, after: float, since: float) -> None:
        """
        A path was left for another, both of which work.

        @param before: the round trip of the one, in seconds.
        @param after: that of the other.
        @param since: the seconds since something was sent on the first.
        """
        self.end()
        gap = min(MOST, (before - after) / 2 - since)
        if gap > 0:
            self._waiting = self._clock.callLater(gap, self.end)

    def takes(self, payloads: list[bytes]) -> bool:
        """
        @return: whether these are kept back; otherwise they may go.
        """
        if self._waiting is None:
            return False
        self._kept += payloads
        return True

    def end(self) -> None:
        """
        Send what was kept back.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        if waiting.active():
            waiting.cancel()
        kept, self._kept = self._kept, []
        if kept:
            self._release(kept)
