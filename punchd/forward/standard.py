"""
C{stdio} endpoints: standard input and output of this program.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.errors import PunchError, RemoteError
from punchd.interfaces import IHome

from .rules import Forward, Publication
from .stdio import Stdio
from .tcp import Half, join


def forward(rule: Forward, home: IHome) -> Connection:
    """
    @see: L{punchd.interfaces.IForwarder.forward}.
    """
    if rule.endpoint.rstrip(":") != "stdio":
        raise ValueError("'stdio:' is all that there is to say")
    return Connection(rule, home)


def publish(rule: Publication, home: IHome) -> Callable[[str, Any], None]:
    """
    @see: L{punchd.interfaces.IForwarder.publish}.
    """
    raise ValueError("standard input and output cannot be published")


class Quiet:
    """
    I say nothing of how it goes on.
    """

    def __call__(self, sent: int, received: int) -> None:
        """
        So many bytes more have passed.
        """

    def start(self) -> None:
        """
        It begins.
        """

    def stop(self) -> None:
        """
        It is over.
        """


class Connection(Service):
    """
    Standard input and output, joined to a stream once: by L{run}, or as a service,
    which then stays idle.

    @ivar rule: what leads where.
    @ivar progress: is told how much has passed, as L{Quiet} is.
    """

    _log = Logger()

    def __init__(self, rule: Forward, home: IHome) -> None:
        self.rule = rule
        self.progress: Any = Quiet()
        self._reactor = home.network.reactor
        self._home = home
        self._running: Deferred[int] | None = None

    def startService(self) -> None:
        """
        Connect, without haste.
        """
        super().startService()
        self._running = Deferred.fromCoroutine(self.run(None))
        self._running.addErrback(self._failed)

    def stopService(self) -> None:
        """
        Break the connection.
        """
        super().stopService()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            text = failure.getErrorMessage()
            self._log.warn("{rule}: {error}", rule=str(self.rule), error=text)

    async def run(self, timeout: float | None) -> int:
        """
        Connect, and stay until it is over.

        @param timeout: how long to try, in seconds, if not for ever.

        @return: the exit status.

        @raise PunchError: why it could not connect, or why it broke.
        """
        connecting = self._home.open(self.rule.peer, self.rule.service)
        until = None
        if timeout is not None:
            until = self._reactor.seconds() + timeout
            connecting.addTimeout(timeout, self._reactor, _late)
        self.progress.start()
        try:
            return await self._carry(await connecting, until)
        finally:
            self.progress.stop()

    async def _carry(self, stream: Any, until: float | None) -> int:
        over: Deferred[int] = Deferred()
        # What is written travels while the peer has yet to let us in.
        opened = stream.whenOpen()
        near = self._join(stream, over)
        if until is not None:
            left = max(0.1, until - self._reactor.seconds())
            opened.addTimeout(left, self._reactor, _late)
        try:
            await opened
            return await over
        finally:
            near.abort()
            over.addErrback(lambda failure: None)

    def _join(self, stream: Any, over: Deferred[int]) -> Half:
        """
        @param over: fires with the exit status, or fails with what broke the
            stream.

        @return: the side of standard input and output.
        """

        def lost(half: Half) -> None:
            if near.lost is not None and far.lost is not None:
                # When both are gone, all is written.
                self._reactor.callLater(0, ended, near.lost, far.lost)

        def ended(here: Failure, there: Failure) -> None:
            error = here.value
            if over.called:
                # Each of the two told of it, or nobody waits any more.
                return
            if isinstance(error, BrokenPipeError):
                # As with other programs of a pipeline, nobody needs to be told.
                over.callback(1)
            elif isinstance(error, OSError):
                text = error.strerror or str(error)
                over.errback(PunchError(f"Standard output: {text}."))
            elif there.check(ConnectionDone):
                over.callback(0)
            elif there.check(PunchError):
                over.errback(there)
            else:
                text = there.getErrorMessage()
                over.errback(RemoteError(f"The connection broke: {text}"))

        count = self.progress
        far = _Counting(lost, lambda size: count(0, size))
        near = _Near(lost, lambda size: count(size, 0))
        stream.attach(far)
        Stdio(self._reactor, near)
        join(near, far)
        return near


class _Counting(Half):
    """
    A half that counts what comes.
    """

    def __init__(
        self, onLost: Callable[[Half], None], came: Callable[[int], object]
    ) -> None:
        super().__init__(onLost)
        self._came = came

    def dataReceived(self, data: bytes) -> None:
        """
        Count, and pass on.
        """
        self._came(len(data))
        super().dataReceived(data)


class _Near(_Counting):
    """
    The half of standard input and output.
    """

    def writeConnectionLost(self) -> None:
        """
        The peer has said everything.  Who sits at a terminal need not end input.
        """
        super().writeConnectionLost()
        if self.lost is None and _isTerminal():
            self.transport.loseConnection()


def _isTerminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False


def _late(result: object, timeout: float) -> object:
    raise RemoteError("The peer did not answer in time.")
