"""
Ending a command in good order when it is told to end.
"""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.defer import Deferred


class Signals:
    """
    I end the program in good order when it is told to end.

    @ivar number: by which signal it was.
    """

    def __init__(self, reactor: Any, running: Deferred[Any]) -> None:
        self.number: int = signal.SIGINT
        self._reactor = reactor
        self._running: Deferred[Any] | None = running
        # The reactor's own handlers do not tell which one it was.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # What was started to survive a hang-up does.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._came)

    def _came(self, number: int, frame: object) -> None:
        self.number = number
        self._reactor.callFromThread(self._end)

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        elif self._reactor.running:
            # Whoever says it twice does not want to wait for goodbyes.
            self._reactor.stop()
