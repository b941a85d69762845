"""
A TCP socket that connects from a port which it shares with others.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import (
    IDelayedCall,
    ILoggingContext,
    IReadWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.core import Address

#: Seconds for one connection to come about; the kernel repeats SYNs after one.
PATIENCE: Final = 4.0
#: Milliseconds that sent data may stay unacknowledged (RFC 5482).
_USER_TIMEOUT: Final = 20_000
#: Bytes that the kernel may hold unsent, so that they wait where they are counted.
_UNSENT: Final = 32 << 10


def boundSocket(family: int, port: int) -> socket.socket:
    """
    @param port: 0 for any.

    @return: a non-blocking socket on the wildcard; others may share its port.

    @raise OSError: it cannot be had.
    """
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    made = socket.socket(kind, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", port))
    except BaseException:
        made.close()
        raise
    return made


@implementer(IReadWriteDescriptor, ILoggingContext)
class Connecting:
    """
    I am a socket that connects.
    """

    def __init__(
        self,
        reactor: Any,
        made: socket.socket,
        remote: Address,
        connected: Callable[[Connecting], None],
        failed: Callable[[Connecting, str], None],
    ) -> None:
        """
        @param made: bound, non-blocking.
        @param connected: called when there is a connection; C{made} is the
            callee's from then on.
        @param failed: called with the reason otherwise, never at once.
        """
        self.socket = made
        self.remote = remote
        self._reactor = reactor
        self._connected = connected
        self._failed = failed
        self._call: IDelayedCall | None = None
        error = made.connect_ex(remote)
        if error in (0, errno.EINPROGRESS):
            reactor.addWriter(self)
            self._call = reactor.callLater(PATIENCE, self._fail, "timeout")
        else:
            self._call = reactor.callLater(0, self._fail, _nameOf(error))

    def fileno(self) -> int:
        """
        @return: the descriptor, -1 when it is closed.
        """
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """
        @return: what the log calls me.
        """
        return "tcp punch"

    def doWrite(self) -> None:
        """
        It is decided.
        """
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(_nameOf(error))
            return
        self._leave()
        self._connected(self)

    def doRead(self) -> None:
        """
        I read nothing.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor found the descriptor broken.
        """
        if self._call is not None:
            self._fail(_nameOf(self.socket.getsockopt(1, socket.SO_ERROR)))

    def _leave(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            if call.active():
                call.cancel()
            self._reactor.removeWriter(self)

    def _fail(self, reason: str) -> None:
        self.stop()
        self._failed(self, reason)

    def stop(self) -> None:
        """
        Give up, and tell nobody.
        """
        self._leave()
        self.socket.close()


def _nameOf(error: int) -> str:
    if error == errno.ECONNREFUSED:
        return "refused"
    return errno.errorcode.get(error, os.strerror(error))


def tune(made: socket.socket) -> None:
    """
    Have the kernel give up in time, and keep little that is unsent.
    """
    for name, value in (
        ("TCP_USER_TIMEOUT", _USER_TIMEOUT),
        ("TCP_NOTSENT_LOWAT", _UNSENT),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                made.setsockopt(socket.IPPROTO_TCP, option, value)
