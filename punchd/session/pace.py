"""
How fast datagrams go.

The programs that send them are to know themselves how much a path carries (RFC 8085,
3.1); what they cannot know is that their datagrams share it with the streams of the
session.  So a queue that builds up on the path, seen in the round trip, slows them
down, and only as long as there is none do they get faster.
"""

from __future__ import annotations

from .turns import RoundTrip

#: Bytes a second: at the beginning, at the least and at the most.
FIRST = 4e6
LEAST = 64e3
MOST = 250e6

#: What may go in one burst: as much as this many seconds give, and some datagrams.
BURST = 0.005
BURST_BYTES = 16 << 10

#: A round trip so many times the smallest, and these seconds more, is a queue; half
#: of either is none.
QUEUE = 2.0
QUEUE_SECONDS = 0.05
FASTER = 1.5
SLOWER = 0.7


class Pace:
    """
    A bucket that fills at an even rate.

    @ivar rate: bytes a second.
    """

    def __init__(self) -> None:
        self._level = 0.0
        self._at: float | None = None
        self._short = False
        self.rate = FIRST

    def restart(self) -> None:
        """
        The path is another one.
        """
        self.rate = FIRST

    def allows(self, now: float) -> bool:
        """
        @return: whether one more may go now.
        """
        most = self.rate * BURST + BURST_BYTES
        if self._at is None:
            self._level = most
        else:
            self._level = min(most, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level <= 0:
            self._short = True
        return self._level > 0

    def sent(self, count: int) -> None:
        """
        That many bytes went.
        """
        self._level -= count

    def due(self) -> float:
        """
        @return: when there is room for a burst again.
        """
        assert self._at is not None
        return self._at + max(0.001, BURST / 2 - self._level / self.rate)

    def measured(self, roundTrip: RoundTrip) -> None:
        """
        There is a new round trip.
        """
        least, latest = roundTrip.seconds, roundTrip.latest
        if least is None or latest is None:
            return
        if latest > QUEUE * least + QUEUE_SECONDS:
            self.rate = max(LEAST, self.rate * SLOWER)
        elif self._short and latest < (QUEUE * least + QUEUE_SECONDS) / 2 + least / 2:
            self.rate = min(MOST, self.rate * FASTER)
        self._short = False
