"""
Sending again soon what strategies tell each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Round trips after a message at which QUIC is to send again what it sent last,
#: if the peer has not acknowledged it: QUIC's own back-off begins at three and reaches
#: seconds when packets are lost, and a prediction is old after half of one.
TIMES: Final = (1.25, 2.5, 3.75, 5.0, 8.0, 12.0)


class Haste:
    """
    I have QUIC send again until the latest message has arrived.
    """

    def __init__(self, clock: IReactorTime, resend: Callable[[], object]) -> None:
        self._clock = clock
        self._resend = resend
        self._call: IDelayedCall | None = None
        self._number = -1

    def begin(self, number: int, rtt: float) -> None:
        """
        Something was said.

        @param number: of the ping that left with it.
        @param rtt: seconds to the peer and back.
        """
        self._number = number
        self._wait(0, rtt)

    def arrived(self, number: int) -> None:
        """
        A ping was acknowledged.
        """
        if number == self._number:
            self.stop()

    def _wait(self, number: int, rtt: float) -> None:
        self.stop()
        if number < len(TIMES):
            before = TIMES[number - 1] if number else 0.0
            delay = (TIMES[number] - before) * rtt
            self._call = self._clock.callLater(delay, self._due, number, rtt)

    def _due(self, number: int, rtt: float) -> None:
        self._call = None
        self._resend()
        self._wait(number + 1, rtt)

    def stop(self) -> None:
        """
        It has arrived, or nobody waits for it.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
