"""
Time that does not jump.

Twisted's reactors tell and schedule by the wall clock.  When that is set back
by an hour, everything scheduled waits an hour longer; when it is set forward,
every time-out expires at once.  L{makeMonotonic} gives one reactor a clock that
starts at the wall clock's time and then follows CLOCK_MONOTONIC: what is
scheduled is due in seconds that really pass, and who writes C{seconds()} into a
log still finds a date there.

CLOCK_MONOTONIC stands still while the machine sleeps, as the timers do.  NATs
and peers do not: L{SleepDetector} notices by comparing with CLOCK_BOOTTIME.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall, IReactorTime

_R = TypeVar("_R")


def makeMonotonic(reactor: _R, offset: float | None = None) -> _R:
    """
    Make a reactor of Twisted tell and schedule monotonic time.

    Only this instance changes.  Calls that are already scheduled stay due when
    they were.  Doing it twice, or to a clock that is no reactor, does nothing.

    @param offset: what is added to CLOCK_MONOTONIC, when several processes have to
        agree; else it is found here.

    @return: the reactor.
    """
    if not isinstance(reactor, ReactorBase) or "seconds" in vars(reactor):
        return reactor
    if offset is None:
        offset = reactor.seconds() - time.monotonic()
    ahead = offset
    monotonic = time.monotonic

    def seconds() -> float:
        """
        @return: monotonic seconds, counted from the epoch.
        """
        return ahead + monotonic()

    anyReactor: Any = reactor
    anyReactor.seconds = seconds
    for call in reactor.getDelayedCalls():
        # It kept the old clock for being reset.
        anyCall: Any = call
        anyCall.seconds = seconds
    return reactor


def bootTime() -> float:
    """
    @return: seconds that go on while the machine sleeps, where the system can
        tell; else monotonic seconds.
    """
    return time.clock_gettime(_BOOT_CLOCK)


# macOS has no CLOCK_BOOTTIME, its CLOCK_MONOTONIC counts sleep.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SleepDetector:
    """
    I notice that the machine has slept.
    """

    #: Seconds that the two clocks may differ without a sleep.
    TOLERANCE = 1.0

    def __init__(
        self,
        clock: IReactorTime,
        woke: Callable[[float], None],
        *,
        bootTime: Callable[[], float] = bootTime,
        interval: float = 5.0,
    ) -> None:
        """
        @param woke: called with the seconds slept.
        @param bootTime: a clock that counts sleep.
        @param interval: seconds between two looks.
        """
        self._clock = clock
        self._woke = woke
        self._bootTime = bootTime
        self._interval = interval
        self._call: IDelayedCall | None = None
        self._ahead = 0.0

    def start(self) -> None:
        """
        Look from now on.
        """
        if self._call is None:
            self._ahead = self._bootTime() - self._clock.seconds()
            self._call = self._clock.callLater(self._interval, self._look)

    def stop(self) -> None:
        """
        Look no more.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def check(self) -> float:
        """
        Look now: worth it when something odd was seen, such as a socket's
        error.

        @return: the seconds slept since the last look, 0 for none.
        """
        if self._call is None:
            return 0.0
        ahead = self._bootTime() - self._clock.seconds()
        slept, self._ahead = ahead - self._ahead, ahead
        if slept < self.TOLERANCE:
            return 0.0
        self._woke(slept)
        return slept

    def _look(self) -> None:
        self._call = self._clock.callLater(self._interval, self._look)
        self.check()
