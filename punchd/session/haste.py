"""
Sending again soon what strategies tell each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Round trips after a message at which QUIC is to send again what it sent last,
#: if the peer is silent: its own back-off reaches seconds when packets are lost,
#: and predictions grow old in one.
TIMES: Final = (3.5, 5.5, 8.0, 12.0)


class Haste:
    """
    I have QUIC send again until the peer says something.
    """

    def __init__(self, clock: IReactorTime, resend: Callable[[], object]) -> None:
        self._clock = clock
        self._resend = resend
        self._call: IDelayedCall | None = None

    def begin(self, rtt: float) -> None:
        """
        Something was said.

        @param rtt: seconds to the peer and back.
        """
        self._wait(0, rtt)

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
        The peer has said something, or nobody waits for it.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
