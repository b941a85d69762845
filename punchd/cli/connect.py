"""
C{punchd connect}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python import usage
from twisted.python.failure import Failure

from punchd.errors import PunchError, RemoteError
from punchd.forward.rules import parseTarget
from punchd.forward.stdio import Stdio
from punchd.forward.tcp import Half, join
from punchd.services.portal import Portal
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL

from .command import Command, Console
from .signals import Signals
from .status import size

#: Seconds between two progress lines.
_PROGRESS = 1.0


class ConnectOptions(Command):
    """
    Join standard input and output to a service of a peer.
    """

    synopsis = "[--progress] [--timeout=S] [--rendezvous=URL] PEER/NAME"
    longdesc = (
        "As OpenSSH's ProxyCommand: ssh -o ProxyCommand='punchd connect bob/ssh' bob."
        " The client that runs on the state folder is used, and one in this"
        " process if there is none."
    )
    optFlags = [
        ["progress", "p", "Say on standard error how much has passed."],
    ]
    optParameters = [
        [
            "rendezvous",
            None,
            None,
            "The URL of the rendezvous, where no client runs.",
        ],
        ["timeout", None, "30", "How long to try to connect, in seconds."],
    ]

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there is not exactly one argument.
        """
        if len(arguments) != 1:
            raise usage.UsageError(
                f"expected one PEER/NAME, such as bob/ssh, and got {len(arguments)}."
            )
        self["target"] = arguments[0]

    def postOptions(self) -> None:
        """
        @raise usage.UsageError: the time-out is none.
        """
        try:
            self["timeout"] = float(self["timeout"])
            if not 0 < self["timeout"] < 1e9:
                raise ValueError
        except ValueError:
            raise usage.UsageError(
                f"--timeout={self['timeout']}: expected a number of seconds."
            ) from None

    def run(self, console: Console) -> int:
        """
        @return: 0 when the connection ended in good order, 1 when it could not be
            made or broke, and 128 and the signal's number after a signal.
        """
        _fillDescriptors()
        peer, service = parseTarget(self["target"])
        folder = self.stateFolder()
        urls = [] if self["rendezvous"] is None else [self["rendezvous"]]
        parsed = [RendezvousURL.parse(url) for url in urls]
        peerId = folder.resolve(peer)

        async def work(reactor: Any) -> int:
            portal = Portal(reactor, folder, parsed)
            connection = Connection(reactor, portal, peerId, service)
            if self["progress"]:
                connection.progress = Progress(reactor, self["target"])
            running = Deferred.fromCoroutine(connection.run(self["timeout"]))
            signals = Signals(reactor, running)
            try:
                return await running
            except CancelledError:
                return 128 + signals.number
            finally:
                await portal.stop()

        return int(console.wait(work))


def _fillDescriptors() -> None:
    """
    Let no socket of ours get the number of a standard descriptor that is closed.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class Connection:
    """
    Standard input and output, joined to a stream.

    @ivar progress: is told how much has passed.
    """

    progress: Progress | None = None

    def __init__(self, reactor: Any, portal: Portal, peerId: str, service: str) -> None:
        self._reactor = reactor
        self._portal = portal
        self._peerId = peerId
        self._service = service

    async def run(self, timeout: float) -> int:
        """
        Connect, and stay until it is over.

        @param timeout: how long to try, in seconds.

        @return: the exit status.

        @raise PunchError: why it could not connect, or why it broke.
        """
        connecting = Deferred.fromCoroutine(
            self._portal.open(self._peerId, self._service)
        )
        began = self._reactor.seconds()
        connecting.addTimeout(timeout, self._reactor, _late)
        if self.progress is not None:
            self.progress.start(self._portal, self._peerId)
        try:
            return await self._carry(await connecting, began + timeout)
        finally:
            if self.progress is not None:
                self.progress.stop()

    async def _carry(self, stream: Stream, until: float) -> int:
        over: Deferred[int] = Deferred()
        # What is written travels while the peer has yet to let us in.
        opened = stream.whenOpen()
        near = self._join(stream, over)
        left = max(0.1, until - self._reactor.seconds())
        opened.addTimeout(left, self._reactor, _late)
        try:
            await opened
            return await over
        finally:
            near.abort()
            over.addErrback(lambda failure: None)

    def _join(self, stream: Stream, over: Deferred[int]) -> Half:
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

        count = self.progress or (lambda sent, received: None)
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


class Progress:
    """
    I say how much has passed.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._sent = self._received = 0
        self._last = 0
        self._began = 0.0
        self._path = "connecting"
        self._width = 0
        self._call: IDelayedCall | None = None

    def __call__(self, sent: int, received: int) -> None:
        """
        So many bytes more have passed.
        """
        self._sent += sent
        self._received += received

    def start(self, portal: Portal, peerId: str) -> None:
        """
        Begin to say it.
        """
        self._portal = portal
        self._peerId = peerId
        self._began = self._reactor.seconds()
        self._tick()

    def stop(self) -> None:
        """
        Say it for the last time.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._say("\n")

    def _tick(self) -> None:
        self._call = self._reactor.callLater(_PROGRESS, self._tick)
        self._say("")
        Deferred.fromCoroutine(self._look()).addErrback(lambda failure: None)

    async def _look(self) -> None:
        status = await (await self._portal.door()).status()
        for session in status["sessions"]:
            path = session["path"]
            if session["peer"] == self._peerId and path["kind"] is not None:
                self._path = f"{path['kind']} ({path['strategy']})"

    def _say(self, end: str) -> None:
        total = self._sent + self._received
        rate, self._last = (total - self._last) / _PROGRESS, total
        seconds = int(self._reactor.seconds() - self._began)
        if end:
            rate = total / max(0.001, self._reactor.seconds() - self._began)
        line = (
            f"{self._name}: {self._path}, sent {size(self._sent)}, "
            f"received {size(self._received)}, {size(rate)}/s, "
            f"{seconds // 60:02}:{seconds % 60:02}"
        )
        text = f"\r{line:<{self._width}}{end}"
        self._width = len(line)
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            # A terminal that takes no more just now, or never again.
            pass
