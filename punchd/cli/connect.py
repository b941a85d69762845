"""
C{punchd connect}.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python import usage

from punchd.forward.home import Home, forwarderOf
from punchd.forward.rules import Forward, parseTarget
from punchd.net.kernel import KernelNetwork
from punchd.services.portal import Portal

from .command import RENDEZVOUS, Command, Console
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
        RENDEZVOUS,
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
        urls = self.givenURLs()
        peerId = folder.resolve(peer)

        async def work(reactor: Any) -> int:
            portal = Portal(reactor, folder, urls)
            network = KernelNetwork(reactor)

            def open(peerId: str, service: str) -> Deferred[Any]:
                return Deferred.fromCoroutine(portal.open(peerId, service))

            rule = Forward("stdio:", peer, service)
            connection = forwarderOf(rule.endpoint).forward(
                rule, Home(network, folder.resolve, open)
            )
            if self["progress"]:
                target = self["target"]
                connection.progress = Progress(reactor, target, portal, peerId)
            running = Deferred.fromCoroutine(connection.run(self["timeout"]))
            signals = Signals(reactor, running)
            try:
                status: int = await running
                return status
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


class Progress:
    """
    I say how much has passed.
    """

    def __init__(self, reactor: Any, name: str, portal: Portal, peerId: str) -> None:
        self._reactor = reactor
        self._portal = portal
        self._peerId = peerId
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

    def start(self) -> None:
        """
        Begin to say it.
        """
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
