"""
How TCP sends where a few kilobytes must arrive soon.

BBR paces from the first packet on, as if the path carried no more than ten segments a
round trip: an offer or an answer, which is three, leaves in two parts with 2 ms between
them, on each of the four hops of a dial.  Reno sends such a thing at once, everybody on
Linux may use it, and pacing cannot be ended once it has begun.

What gets lost is sent again after a quarter of a second, and then TCP waits twice as
long each time: where every fifth packet is lost, one dial in two hundred is not there
after ten seconds, and counts as not answered.  So the wait is a second at the most,
where the kernel can do that (Linux, from 6.15 on).  As it counts the attempts, it
would give up sooner; it is told not to.
"""

from __future__ import annotations

import socket
import sys
from functools import cache
from typing import Any

from zope.interface import directlyProvides, providedBy

_OPTION = getattr(socket, "TCP_CONGESTION", None)
_UNPACED = b"reno"

#: What Python has no names for yet, and on other systems is something else.
RTO_MAX_MS = 44
#: Milliseconds between two attempts, at the most.
LONGEST = 1000
#: Milliseconds for all of them: longer than sessions wait for a peer to come back.
_USER_TIMEOUT = 300_000


def unpace(handle: Any) -> None:
    """
    @param handle: a socket that is not connected yet, or one that listens; those that
        it accepts do as it does.
    """
    _use(handle, _UNPACED)
    if sys.platform == "linux":
        _set(handle, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
        if not _set(handle, RTO_MAX_MS, LONGEST):
            _set(handle, socket.TCP_USER_TIMEOUT, 0)


def pace(handle: Any) -> None:
    """
    @param handle: a socket that is to carry much; it gets what the machine's
        administrator has chosen.
    """
    chosen = _default()
    if chosen:
        _use(handle, chosen)


class UnpacedReactor:
    """
    A reactor whose TCP connections are L{unpace}d from the beginning.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, *args: Any, **kwargs: Any) -> Any:
        """
        Connect; the reactor does that in its next turn.
        """
        connector = self._reactor.connectTCP(*args, **kwargs)
        getHandle = getattr(getattr(connector, "transport", None), "getHandle", None)
        if getHandle is not None:
            unpace(getHandle())
        return connector


def _use(handle: Any, name: bytes) -> None:
    if _OPTION is not None:
        _set(handle, _OPTION, name)


def _set(handle: Any, option: int, value: Any) -> bool:
    try:
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
    except (OSError, AttributeError):
        # Another system, a socket that could not be made, or none of the kernel's.
        return False
    return True


@cache
def _default() -> bytes:
    if _OPTION is None:
        return b""
    with socket.socket() as fresh:
        try:
            return fresh.getsockopt(socket.IPPROTO_TCP, _OPTION, 16).rstrip(b"\0")
        except OSError:
            return b""
