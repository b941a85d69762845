"""
When a young connection sends its last datagrams again.

Until the end of the handshake is seen to have arrived, the back-off of QUIC is
too long.  A dialler must not wait for its peer before that (RFC 9002, 6.2.2.1):
the listener may have used up what it is allowed to send to an address that has
not answered; qh3 waits once its own Initial packets are acknowledged.
"""

from __future__ import annotations

#: Seconds to the first time; then twice as many and so on, up to the longest.
FIRST = 0.3
LONGEST = 2.0


class Nudge:
    """
    I keep the time.

    @ivar deadline: when it is due next, L{None} while it is not wanted.
    """

    def __init__(self) -> None:
        self.deadline: float | None = None
        self._wait = FIRST

    def start(self, now: float) -> None:
        """
        Begin anew, with the shortest wait.
        """
        self._wait = FIRST
        self.deadline = now + FIRST

    def stop(self) -> None:
        """
        It is not wanted any more.
        """
        self.deadline = None

    def reached(self, now: float) -> bool:
        """
        @return: whether it is due; if so, the next wait begins.
        """
        if self.deadline is None or now < self.deadline:
            return False
        self._wait = min(2 * self._wait, LONGEST)
        self.deadline = now + self._wait
        return True
