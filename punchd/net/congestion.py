"""
Which congestion control TCP has where a few kilobytes must arrive soon.

BBR paces from the first packet on, as if the path carried no more than ten segments a
round trip: an offer or an answer, which is three, leaves in two parts with 2 ms between
them, on each of the four hops of a dial.  Reno sends such a thing at once, everybody on
Linux may use it, and pacing cannot be ended once it has begun.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import Any

from zope.interface import directlyProvides, providedBy

_OPTION = getattr(socket, "TCP_CONGESTION", None)
_UNPACED = b"reno"


def unpace(handle: Any) -> None:
    """
    @param handle: a socket that is not connected yet, or one that listens; those that
        it accepts do as it does.
    """
    _use(handle, _UNPACED)


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
    if _OPTION is None:
        return
    try:
        handle.setsockopt(socket.IPPROTO_TCP, _OPTION, name)
    except (OSError, AttributeError):
        # Another system, a socket that could not be made, or none of the kernel's.
        pass


@cache
def _default() -> bytes:
    if _OPTION is None:
        return b""
    with socket.socket() as fresh:
        try:
            return fresh.getsockopt(socket.IPPROTO_TCP, _OPTION, 16).rstrip(b"\0")
        except OSError:
            return b""
