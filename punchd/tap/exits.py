"""
How the C{twistd} commands end when something is wrong: one sentence on standard
error, exit status 1, no traceback.
"""

from __future__ import annotations

import atexit
import getopt
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from twisted.internet.error import CannotListenError
from twisted.logger import Logger, LoggingFile
from twisted.python import usage

from punchd.errors import PunchError

from .configuration import configured

_log = Logger()


class CommandOptions(usage.Options):
    """
    The options of a C{twistd} command.  Where Twisted answers a mistake with two
    pages of help on standard output, a sentence is said.

    @cvar program: the name of the command.
    @ivar words: the command line, without what a file says.
    @ivar sinks: who is told what happens: names of plugins and their arguments.
    """

    program = ""
    words: Sequence[str] = ()

    def __init__(self) -> None:
        super().__init__()
        self.sinks: list[tuple[str, str]] = []

    def opt_events(self, value: str) -> None:
        """
        NAME[:ARGUMENTS], repeatable: who is told what happens, for programs; log,
        log:FILE, or a plugin of yours.
        """
        name, _, arguments = value.partition(":")
        if not name:
            raise usage.UsageError(
                f"--events={value}: expected NAME or NAME:ARGUMENTS, such as log."
            )
        self.sinks.append((name, arguments))

    def opt_config(self, value: str) -> None:
        """
        A TOML file in which any of these options may stand; the command line has
        the last word.
        """

    def opt_help_plugins(self) -> None:
        """
        List the plugins that are installed, and exit.
        """
        from .listing import listing

        for line in listing():
            print(line)
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        """
        Show the docstrings of options without their line breaks.
        """
        self.docs = {
            name: " ".join((text or "").split()) for name, text in self.docs.items()
        }
        found: str = super().getUsage(width)
        return found

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        @raise SystemExit: with one sentence, when something is wrong.
        """
        self.words = list(sys.argv[1:] if options is None else options)
        try:
            self.parse()
        except usage.UsageError as e:
            text = str(e)
            if isinstance(e.__context__, getopt.error):
                text += f"; `twistd {self.program} --help` lists the options."
            raise SystemExit(f"{self.program}: {text}") from e

    def parse(self) -> None:
        """
        Parse the command line, with what the file says that it names.

        @raise usage.UsageError: something is wrong.
        """
        super().parseOptions(configured(self, self.words))

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there are any.
        """
        if arguments:
            raise usage.UsageError(
                f"expected options only, as --option=value, got {' '.join(arguments)}."
            )


def stateOption(value: str) -> str:
    """
    @return: what was given to C{--state}.

    @raise usage.UsageError: it is empty, as C{--state=$UNSET} is; that must not
        mean the user's own folder.
    """
    if not value:
        raise usage.UsageError("--state=: expected a folder.")
    return value


@contextmanager
def oneSentence(program: str) -> Generator[None, None, None]:
    """
    End the program when something that the user can mend is raised.

    @raise SystemExit: instead of a L{PunchError} or L{CannotListenError}.
    """
    try:
        yield
    except PunchError as e:
        raise _exit(f"{program}: {e}") from e
    except CannotListenError as e:
        where = f"{e.interface or 'any address'}:{e.port}"
        raise _exit(
            f"{program}: {where} cannot be listened at: {e.socketError}."
        ) from e


def say(sentence: str) -> None:
    """
    Say why the program ends: on standard error, and in the log once there is one.
    """
    if isinstance(sys.stderr, LoggingFile):
        # From then on what is printed goes into the log, and nowhere else.
        _log.error("{sentence}", sentence=sentence)
    print(sentence, file=sys.__stderr__, flush=True)


def exitStatus(status: int) -> None:
    """
    Have the program end with this status once the reactor has stopped, which
    C{twistd} does not offer.
    """

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(end)


def _exit(sentence: str) -> SystemExit:
    if isinstance(sys.stderr, LoggingFile):
        say(sentence)
        return SystemExit(1)
    return SystemExit(sentence)
