"""
How long a NAT keeps a binding that nothing passes, and how often something has to
pass for that reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

#: Between two keepalives passes this part of the lifetime: one may be lost
#: without the binding, if the next is not late.
PART: Final = 0.65

#: Bounds of the interval, in seconds; and what is used for want of better.
SHORTEST: Final = 5.0
LONGEST: Final = 120.0
DEFAULT: Final = 15.0


@dataclass(frozen=True, slots=True)
class Lifetime:
    """
    What is known of one lifetime.

    @ivar low: it is at least so many seconds.
    @ivar high: and less than these; L{None} if it outlived all tests.
    """

    low: float = 0.0
    high: float | None = None

    def toList(self) -> list[float | None]:
        """
        @return: what JSON can carry.
        """
        return [self.low, self.high]

    @classmethod
    def fromList(cls, value: Any) -> Lifetime:
        """
        @raise ValueError: C{value} is not what L{toList} returns.
        """
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError("a lifetime has two bounds")
        low, high = value
        for each in (low, 0.0 if high is None else high):
            if isinstance(each, bool) or not isinstance(each, int | float):
                raise ValueError("a bound is a number of seconds")
        if not 0 <= low < 86400 or (high is not None and not low < high <= 86400):
            raise ValueError("the bounds are not in order")
        return cls(float(low), None if high is None else float(high))


def keepaliveFor(lifetime: float | None) -> float:
    """
    @param lifetime: seconds, L{None} if unknown.

    @return: the seconds between two keepalives on an idle path.
    """
    if lifetime is None or lifetime <= 0:
        return DEFAULT
    return min(max(PART * lifetime, SHORTEST), LONGEST)


class Keepalive:
    """
    The interval in use: that of the measured lifetime, until the live path shows
    that it is too long.

    @ivar interval: seconds between two keepalives.
    @ivar moves: how often the mapping has moved.
    """

    def __init__(self, lifetime: float | None = None) -> None:
        self.interval = keepaliveFor(lifetime)
        self.moves = 0
        self._ceiling = LONGEST

    def measured(self, lifetime: float) -> float:
        """
        There is a new measurement.

        @return: the interval; a mapping that moved at a longer one counts more.
        """
        self.interval = min(keepaliveFor(lifetime), self._ceiling)
        return self.interval

    def mappingMoved(self, silence: float | None = None) -> float:
        """
        The live mapping was lost.

        @param silence: the seconds for which nothing had passed, if known;
            what was lost after a longer time than the interval proves nothing.

        @return: the interval from now on: half as long.
        """
        self.moves += 1
        if silence is None or silence <= 1.5 * self.interval:
            self.interval = max(SHORTEST, self.interval / 2)
            self._ceiling = self.interval
        return self.interval

    def packetsAnHour(self) -> float:
        """
        @return: what an idle path costs, in packets sent an hour.
        """
        return 3600 / self.interval
