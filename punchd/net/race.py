"""
A race of the ways to a relay: the first that allocates wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from punchd.errors import RelayRefused
from punchd.turn.events import Allocated, AllocationFailed

from .attempt import Attempt
from .ways import Way

#: The server has an old allocation of this socket's: another way may do.
_MISMATCH = 437


class Race:
    """
    I start one way after the other, each with a head start before the next; one
    that fails gives way to the next at once.

    @ivar attempts: what runs.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ways: Sequence[Way],
        headStart: Callable[[Way], float],
        make: Callable[[Way], Attempt],
        won: Callable[[Attempt, Allocated], None],
        failed: Callable[[RelayRefused], None],
    ) -> None:
        """
        @param headStart: gives the seconds before the next way is tried as well.
        @param make: makes an attempt, whose events are to be told to L{happened}.
        @param won: called once with the winner.
        @param failed: called instead when all have failed, with the reason.
        """
        self.attempts: list[Attempt] = []
        self._clock = clock
        self._ways = list(ways)
        self._headStart = headStart
        self._make = make
        self._won = won
        self._failed = failed
        self._next: IDelayedCall | None = None
        self._reasons: list[tuple[Way, AllocationFailed]] = []
        self._over = False

    def begin(self) -> None:
        """
        Start.
        """
        self._startNext()

    def _startNext(self) -> None:
        self._cancel()
        if not self._ways or self._over:
            return
        way = self._ways.pop(0)
        attempt = self._make(way)
        self.attempts.append(attempt)
        if self._ways:
            self._next = self._clock.callLater(self._headStart(way), self._startNext)
        attempt.begin()

    def _cancel(self) -> None:
        waiting, self._next = self._next, None
        if waiting is not None and waiting.active():
            waiting.cancel()

    def happened(self, attempt: Attempt, event: object) -> None:
        """
        An attempt has ended, one way or the other.
        """
        if self._over or attempt not in self.attempts:
            return
        if isinstance(event, Allocated):
            self.attempts.remove(attempt)
            self.stop(Attempt.abandon)
            self._won(attempt, event)
        elif isinstance(event, AllocationFailed):
            self.attempts.remove(attempt)
            self._reasons.append((attempt.way, event))
            if event.code and event.code != _MISMATCH:
                self._refused(attempt.way)
            if self._ways:
                self._startNext()
            elif not self.attempts:
                self._over = True
                self._failed(self._why())

    def _refused(self, refused: Way) -> None:
        """
        The server does not want us: it will not by another way either.
        """
        self._ways = [w for w in self._ways if w.credentials != refused.credentials]
        for attempt in list(self.attempts):
            if attempt.way.credentials == refused.credentials:
                self.attempts.remove(attempt)
                attempt.abandon()

    def stop(self, end: Callable[[Attempt], None]) -> None:
        """
        It is over.

        @param end: ends one attempt.
        """
        self._over = True
        self._cancel()
        attempts, self.attempts = self.attempts, []
        for attempt in attempts:
            end(attempt)

    def _why(self) -> RelayRefused:
        """
        @return: why there is no relay: what the servers say, or by which ways they
            were not reached.
        """
        for _, event in self._reasons:
            if event.code:
                return RelayRefused(event.reason, event.code)
        reasons = {event.reason for _, event in self._reasons}
        if len(reasons) <= 1:
            return RelayRefused(reasons.pop() if reasons else "no way to a relay", 0)
        return RelayRefused("; ".join(f"{w}: {e.reason}" for w, e in self._reasons), 0)


class Complaints:
    """
    I say once what is wrong with a proxy or a relay of the user's.
    """

    log = Logger()

    def __init__(self) -> None:
        self._told: set[str] = set()

    def hear(self, attempt: Attempt, event: object) -> None:
        """
        An attempt that has not won has an event.
        """
        way = attempt.way
        if isinstance(event, AllocationFailed) and (way.proxied or way.credentials):
            text = f"No relay by {way}: {event.reason.rstrip('.')}."
            if text not in self._told:
                self._told.add(text)
                self.log.warn("{text}", text=text, event="relay-failed")
