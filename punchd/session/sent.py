"""
What QUIC sent last, for it may have been in vain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .backend import DATAGRAM_SIZE

#: How many of the datagrams sent last are sent again.
LATEST = 8

#: How many are kept to be sent on the first path: what a young connection has
#: under way.
FLIGHT = 32


class Sent:
    """
    I remember the datagrams sent last.

    @ivar at: when the latest of them was sent.
    @ivar lastFullSize: the latest of L{DATAGRAM_SIZE} bytes.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self.lastFullSize: bytes | None = None
        self._recent: deque[bytes] = deque(maxlen=FLIGHT)

    def add(self, datagrams: Sequence[bytes], now: float) -> None:
        """
        These are sent now.
        """
        self.at = now
        self._recent.extend(datagrams[-FLIGHT:])
        for data in reversed(datagrams):
            if len(data) == DATAGRAM_SIZE:
                self.lastFullSize = data
                break

    def flight(self) -> list[bytes]:
        """
        @return: up to L{FLIGHT}, the oldest first.
        """
        return list(self._recent)

    def latest(self) -> list[bytes]:
        """
        @return: up to L{LATEST}, the oldest first.
        """
        return list(self._recent)[-LATEST:]
