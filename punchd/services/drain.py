"""
The end of a rendezvous in good order: what it relays goes on for a while, so that
clients can move to another one, and nothing new begins.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Drain:
    """
    I wait until nothing is relayed any more, but not for long.

    @ivar over: whether there is nothing to wait for, or no patience.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, busy: Callable[[], bool]
    ) -> None:
        """
        @param seconds: how long to wait at most.
        @param busy: whether anything is relayed.
        """
        self.over = False
        self._clock = clock
        self._seconds = seconds
        self._busy = busy
        self._late: IDelayedCall | None = None
        self._waiting: Deferred[None] | None = None

    def wait(self) -> Deferred[None]:
        """
        Begin.

        @return: fires when it is over.
        """
        self.over = False
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        self._late = self._clock.callLater(self._seconds, self.finish)
        self.look()
        return waiting

    def look(self) -> None:
        """
        Something that was relayed has ended.
        """
        if self._waiting is not None and (self.over or not self._busy()):
            self.finish()

    def finish(self) -> None:
        """
        Wait no longer.
        """
        self.over = True
        waiting, self._waiting = self._waiting, None
        if self._late is not None and self._late.active():
            self._late.cancel()
        if waiting is not None:
            waiting.callback(None)
