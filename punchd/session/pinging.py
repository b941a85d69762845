"""
Round trips through a session, as the peer's program sees them.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

#: Seconds between two pings, and until one counts as lost.
INTERVAL = 1.0
PATIENCE = 5.0


class Pinging:
    """
    I measure with PING frames of the control stream.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[bytes, Deferred[float | None]] = {}
        self._sent: dict[bytes, float] = {}
        self._number = 0

    def ping(self, send: Callable[[bytes], None]) -> Deferred[float | None]:
        """
        @param send: sends a PING with these bytes.

        @return: fires with seconds, or L{None} when no answer came in time.
        """
        self._number += 1
        text = b"%d" % self._number
        waiting: Deferred[float | None] = Deferred()
        self._waiting[text] = waiting
        self._sent[text] = self._clock.seconds()
        late = self._clock.callLater(PATIENCE, self._end, text, None)

        def over(result: float | None) -> float | None:
            if late.active():
                late.cancel()
            return result

        waiting.addBoth(over)
        send(text)
        return waiting

    def answered(self, text: bytes) -> None:
        """
        A PONG came.
        """
        sent = self._sent.get(text)
        if sent is not None:
            self._end(text, self._clock.seconds() - sent)

    def _end(self, text: bytes, result: float | None) -> None:
        self._sent.pop(text, None)
        waiting = self._waiting.pop(text, None)
        if waiting is not None:
            waiting.callback(result)

    def stop(self) -> None:
        """
        No answer will come any more.
        """
        for text in list(self._waiting):
            self._end(text, None)
