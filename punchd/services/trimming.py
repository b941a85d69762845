"""
Giving memory back to the system.

What OpenSSL needs for a crowd of connections, and what waited for them, lies between
what stays, and the C library keeps it when they have gone: good for the next crowd,
but nobody else can have it, and the operator sees a process that grows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Bytes that have to be freed for that to be worth anything, what a connection takes
#: about, within TLS, and the seconds that more of them have to join.
CROWD: Final = 4 << 20
CONNECTION: Final = 40 << 10
PAUSE: Final = 3.0


class Trimming:
    """
    I notice that a crowd has left.
    """

    def __init__(
        self, clock: IReactorTime, trim: Callable[[], object] | None = None
    ) -> None:
        """
        @param trim: gives memory back; the C library's by default, if it has any.
        """
        self._clock = clock
        self._trim = trim or trimMemory
        self._gone = 0
        self._waiting: IDelayedCall | None = None
        self._stopped = False

    def freed(self, size: int) -> None:
        """
        A connection has ended, or what waited for some has left.

        @param size: bytes that they took, about.
        """
        self._gone += size
        if self._gone >= CROWD and self._waiting is None and not self._stopped:
            self._waiting = self._clock.callLater(PAUSE, self._due)

    def _due(self) -> None:
        self._waiting = None
        self._gone = 0
        self._trim()

    def stop(self) -> None:
        """
        The process ends: the system gets all of it.
        """
        self._stopped = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()


@cache
def _malloc() -> Any:
    """
    @return: glibc's C{malloc_trim}, or L{None} elsewhere.
    """
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):
        return None


def trimMemory() -> bool:
    """
    @return: whether anything was given back.
    """
    trim = _malloc()
    return trim is not None and bool(trim(ctypes.c_size_t(0)))
