"""
What the commands share.
"""

from __future__ import annotations

import getopt
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TextIO

from twisted.internet import defer
from twisted.python import usage
from twisted.python.failure import Failure

import punchd
from punchd.services.asking import ask
from punchd.services.state import StateFolder
from punchd.signaling.url import RendezvousURL


class Console:
    """
    Where a command prints, and how it waits for what takes time.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = sys.stdout if out is None else out

    def line(self, text: str = "") -> None:
        """
        Print one line.
        """
        print(text, file=self.out)

    def wait(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """
        Run the reactor for as long as C{work(reactor)} takes.

        @return: its result; what it raises is raised.
        """
        from twisted.internet import reactor as default

        reactor: Any = default
        results: list[Any] = []

        def ended(result: Any) -> None:
            results.append(result)
            if reactor.running:
                reactor.stop()

        def start() -> None:
            defer.ensureDeferred(_await(work(reactor))).addBoth(ended)

        reactor.callWhenRunning(start)
        reactor.run()
        if not results:
            raise KeyboardInterrupt
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


async def _await(work: Awaitable[Any]) -> Any:
    return await work


#: For commands that are a client themselves where none runs.
RENDEZVOUS = [
    "rendezvous",
    None,
    None,
    "The URL of the rendezvous, where no client runs.",
]


class Command(usage.Options):
    """
    The options that every command has.
    """

    optParameters = [
        ["state", None, None, "The state folder; the platform's own unless given."],
    ]

    def opt_version(self) -> None:
        """
        Print the version and exit.
        """
        print(f"punchd {punchd.__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Take options after arguments too: C{punchd why bob --state=DIR}.
        """
        given = list(options or ())
        if not hasattr(self, "subCommands"):
            try:
                found, arguments = getopt.gnu_getopt(given, self.shortOpt, self.longOpt)
            except getopt.GetoptError:
                # The same is found again, and reported, further in.
                pass
            else:
                given = [word for pair in found for word in self._words(*pair)]
                given += ["--", *arguments]
        super().parseOptions(given)

    def _words(self, name: str, value: str) -> list[str]:
        if name[2:] + "=" in self.longOpt:
            return [f"{name}={value}"]
        return [name, value] if value else [name]

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: a command that takes none got arguments.
        """
        if arguments:
            raise usage.UsageError(f"expected no arguments, got {' '.join(arguments)}.")

    def run(self, console: Console) -> int:
        """
        @return: the exit status.
        """
        raise NotImplementedError(type(self))

    def stateFolder(self) -> StateFolder:
        """
        @return: the folder that C{--state} names, before or after the command.

        @raise punchd.errors.StateError: it cannot be used.
        """
        options: Any = self
        while options is not None:
            if options.get("state") == "":
                raise usage.UsageError("--state=: expected a folder.")
            if options.get("state") is not None:
                return StateFolder(options["state"])
            options = options.parent
        return StateFolder()

    def givenURLs(self) -> list[RendezvousURL]:
        """
        @return: what C{--rendezvous} says.

        @raise punchd.errors.InvalidURL: it is none.
        """
        given = self["rendezvous"]
        return [] if given is None else [RendezvousURL.parse(given)]

    def askClient(self, console: Console, command: str, **arguments: Any) -> Any:
        """
        @return: what the client that runs on the state folder answers.

        @see: L{punchd.services.asking.ask}.
        """
        folder = self.stateFolder()
        return console.wait(lambda reactor: ask(reactor, folder, command, **arguments))


class PeerCommand(Command):
    """
    A command about one peer, C{PEER}: a petname or a peer id.
    """

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there is not exactly one argument.
        """
        if len(arguments) != 1:
            raise usage.UsageError(
                f"expected one PEER, a name or a peer id, and got {len(arguments)}."
            )
        self["peer"] = arguments[0]
