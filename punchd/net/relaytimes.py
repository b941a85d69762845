"""
What becomes of a relayed address with time: nobody uses it any more, nobody knows
whether it lives, or there may be a better one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .attempt import Attempt
from .race import Race

#: Seconds beyond four round trips for an answer while a path is in doubt.
MARGIN: Final = 0.15
#: Seconds after which it is looked whether UDP works again; twice as long each time
#: that it did not last, up to a limit.
LOOK: Final = 10.0
SELDOM: Final = 640.0
#: Seconds for which it lasts if it does.
STEADY: Final = 120.0


class Idleness:
    """
    I notice that something has been idle for long.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, due: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._due = due
        self._waiting: IDelayedCall | None = None

    def set(self, idle: bool) -> None:
        """
        It is idle from now on, or it is not.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.active():
            waiting.cancel()
        if idle:
            self._waiting = self._clock.callLater(self._seconds, self._due)


class _Later:
    """
    I race for another relayed address, when it is time.
    """

    def __init__(self, clock: IReactorTime, make: Callable[[], Race]) -> None:
        """
        @param make: makes the race.
        """
        self._clock = clock
        self._make = make
        self._waiting: IDelayedCall | None = None
        self._race: Race | None = None

    def _begin(self) -> None:
        self._race = self._make()
        self._race.begin()

    def happened(self, attempt: Attempt, event: object) -> None:
        """
        An attempt has an event; it may be mine.
        """
        if self._race is not None:
            self._race.happened(attempt, event)

    def stop(self, end: Callable[[Attempt], None]) -> None:
        """
        It is not needed any more.

        @param end: ends one attempt.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.active():
            waiting.cancel()
        race, self._race = self._race, None
        if race is not None:
            race.stop(end)


class Replacement(_Later):
    """
    I race for another address when the server does not say that the one which we
    have still lives: UDP may be blocked where we are now.
    """

    def __init__(
        self,
        clock: IReactorTime,
        lives: Callable[[], bool],
        make: Callable[[], Race],
    ) -> None:
        """
        @param lives: tells whether the address is there, or is known to be gone.
        @param make: makes the race.
        """
        super().__init__(clock, make)
        self._lives = lives

    def ask(self, attempt: Attempt, seconds: float) -> None:
        """
        Ask the server; it should answer in so many seconds where it is reached over
        UDP, and is waited for otherwise.
        """
        core, driver = attempt.core, attempt.driver
        if core is None or driver is None:
            return
        driver.call(core.refresh)
        if attempt.way.transport == "udp":
            self.stop(Attempt.abandon)
            self._waiting = self._clock.callLater(seconds, self._late)

    def doubt(self, attempt: Attempt) -> None:
        """
        Ask the server unless that goes on, and do not wait for long.
        """
        waits = self._waiting is not None and self._waiting.active()
        races = self._race is not None and self._race.attempts
        core = attempt.core
        if core and attempt.way.transport == "udp" and not (waits or races):
            self.ask(attempt, MARGIN + 4 * core.rtt)

    def _late(self) -> None:
        if not self._lives():
            self._begin()


class Return(_Later):
    """
    I race for an address by UDP while we have one by something else, once UDP is
    known to work.
    """

    def __init__(
        self,
        clock: IReactorTime,
        heardAt: Callable[[], float | None],
        make: Callable[[], Race],
    ) -> None:
        """
        @param heardAt: tells when anything came over UDP last.
        @param make: makes the race.
        """
        super().__init__(clock, make)
        self._heardAt = heardAt
        self._since = 0.0
        # When it was tried last.
        self._began = float("-inf")
        self._pause = LOOK

    def begin(self) -> None:
        """
        There is an address by something else than UDP now.
        """
        self.stop(Attempt.abandon)
        now = self._clock.seconds()
        self._pause = self._next() if now - self._began < STEADY else LOOK
        self._wait(self._pause)

    def failed(self) -> None:
        """
        UDP did not lead to an address.
        """
        self._race = None
        self._pause = self._next()
        self._wait(self._pause)

    def _next(self) -> float:
        return min(SELDOM, 2 * self._pause)

    def _wait(self, seconds: float) -> None:
        self._since = self._clock.seconds()
        self._waiting = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        heard = self._heardAt()
        if heard is None or heard <= self._since:
            self._waiting = self._clock.callLater(LOOK, self._look)
            return
        self._waiting = None
        self._began = self._clock.seconds()
        self._begin()
