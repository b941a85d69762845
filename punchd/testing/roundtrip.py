"""
When a simulated TCP sends again: RFC 6298.
"""

from __future__ import annotations

from .packet import Flags

#: Linux: TCP_TIMEOUT_INIT, TCP_RTO_MIN and TCP_RTO_MAX, in seconds.
FIRST_TIMEOUT = 1.0
MINIMUM_TIMEOUT = 0.2
MAXIMUM_TIMEOUT = 120.0


class RoundTrip:
    """
    The round-trip time, smoothed.

    @ivar longest: the longest time-out, in seconds.
    """

    def __init__(self) -> None:
        self.longest = MAXIMUM_TIMEOUT
        self._smoothed = 0.0
        self._variation = 0.0

    def measured(self, seconds: float) -> None:
        """
        Take a sample.
        """
        if not self._smoothed:
            self._smoothed, self._variation = seconds, seconds / 2
        else:
            difference = abs(self._smoothed - seconds)
            self._variation += (difference - self._variation) / 4
            self._smoothed += (seconds - self._smoothed) / 8

    def timeout(self, opening: bool, retries: int) -> float:
        """
        @return: the seconds after which a segment is sent again that was sent
            again C{retries} times.
        """
        base = FIRST_TIMEOUT
        if not opening:
            base = self._smoothed + max(MINIMUM_TIMEOUT, 4 * self._variation)
        return float(min(self.longest, base * 2**retries))


class Sent:
    """
    A segment that is not acknowledged yet.

    @ivar again: whether it was sent more than once, so that it measures
        nothing.
    @ivar held: whether the other side has it, though not what is before it.
    @ivar skipped: how many later ones the other side is known to have.
    """

    __slots__ = ("again", "data", "flags", "held", "sequence", "skipped", "time")

    def __init__(self, flags: int, sequence: int, data: bytes, time: float) -> None:
        self.flags = flags
        self.sequence = sequence
        self.data = data
        self.time = time
        self.again = False
        self.held = False
        self.skipped = 0

    @property
    def end(self) -> int:
        """
        The sequence number after it.
        """
        return (
            self.sequence + len(self.data) + bool(self.flags & (Flags.SYN | Flags.FIN))
        )
