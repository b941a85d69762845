"""
C{punchd}: options, sub-commands, and how a mistake is reported.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from twisted.python import usage

import punchd
from punchd.errors import PunchError

from .command import Console

#: Name, module of this room, class, and the line in C{punchd --help}.  A module
#: is imported when its command is used.
COMMANDS = (
    ("id", "identity", "IdOptions", "Print the peer id of this machine."),
    ("peers", "peers", "PeersOptions", "List, add, remove or rename peers."),
    ("status", "status", "StatusOptions", "Show the NAT, the sessions, their paths."),
    ("why", "why", "WhyOptions", "Say why the path to a peer is what it is."),
    ("doctor", "doctor", "DoctorOptions", "Examine the NAT and the rendezvous."),
    ("connect", "connect", "ConnectOptions", "Join stdin and stdout to a service."),
    ("invite", "pairing", "InviteOptions", "Make a code for another machine."),
    ("accept", "pairing", "AcceptOptions", "Use the code of another machine."),
    ("allow", "allow", "AllowOptions", "Let a peer use services, or list who may."),
    ("disallow", "allow", "DisallowOptions", "Take that back."),
    ("ping", "ping", "PingOptions", "Measure the round trip to a peer."),
    ("completion", "completion", "CompletionOptions", "Have a shell complete this."),
    ("manual", "manual", "ManualOptions", "Write manual pages."),
    ("demo", "demo", "DemoOptions", "Punch a hole between two NATs, here and now."),
)


class PunchdOptions(usage.Options):
    """
    C{punchd COMMAND}.
    """

    synopsis = "Usage: punchd"
    longdesc = "`punchd COMMAND --help` says more about a command."
    optParameters = [
        ["state", None, None, "The state folder; the platform's own unless given."],
    ]

    @property
    def subCommands(self) -> list[tuple[str, None, Any, str]]:
        """
        The rows that Twisted wants, with modules imported on demand.
        """
        return [
            (name, None, _Lazy(module, cls), text)
            for name, module, cls, text in COMMANDS
        ]

    def opt_version(self) -> None:
        """
        Print the version and exit.
        """
        print(f"punchd {punchd.__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        @raise usage.UsageError: also for a command that there is not; a similar one
            is named.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as e:
            start, _, word = str(e).partition("Unknown command: ")
            near = difflib.get_close_matches(word, [row[0] for row in COMMANDS], 1)
            if start or not word or self.subCommand:
                raise
            hint = "`punchd --help` lists them."
            if near:
                hint = f"perhaps {near[0]!r} is meant."
            raise usage.UsageError(f"there is no command {word!r}; {hint}") from e

    def postOptions(self) -> None:
        """
        There is nothing to do without a command.
        """
        if not self.subCommand:
            names = ", ".join(row[0] for row in COMMANDS)
            raise usage.UsageError(
                f"no command was given; expected one of {names}. "
                "`punchd --help` says more."
            )


class _Lazy:
    """
    I am called like a class of options, and import it only then.
    """

    def __init__(self, module: str, cls: str) -> None:
        self._module = module
        self._class = cls

    def __call__(self) -> Any:
        return getattr(import_module(f"punchd.cli.{self._module}"), self._class)()


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    @param arguments: without the program's name; C{sys.argv}'s unless given.

    @return: the exit status: 0, or 1 when something was wrong, which one
        sentence on stderr explains.
    """
    options = PunchdOptions()
    try:
        options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
        chosen: Any = options
        while getattr(chosen, "subCommand", None):
            chosen = chosen.subOptions
        return int(chosen.run(Console()))
    except (usage.UsageError, PunchError) as e:
        print(f"punchd: {sentence(e)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has had enough; nothing must be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def sentence(error: BaseException) -> str:
    """
    @return: the error's text on one line, with a full stop.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else text + "."
