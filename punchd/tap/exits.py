"""
How the C{twistd} commands end when something is wrong: one sentence on standard
error, exit status 1, no traceback.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from twisted.internet.error import CannotListenError

from punchd.errors import PunchError


@contextmanager
def oneSentence(program: str) -> Generator[None, None, None]:
    """
    End the program when something that the user can mend is raised.

    @raise SystemExit: instead of a L{PunchError} or L{CannotListenError}.
    """
    try:
        yield
    except PunchError as e:
        raise SystemExit(f"{program}: {e}") from e
    except CannotListenError as e:
        where = f"{e.interface or 'any address'}:{e.port}"
        raise SystemExit(
            f"{program}: {where} cannot be listened at: {e.socketError}."
        ) from e


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
