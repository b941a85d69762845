"""
Small text files of the state folder that people may edit: a thing on each line,
comments behind C{#}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from punchd.errors import StateError


class LineFile:
    """
    I read the file anew at each question: others may change it while a client runs.
    """

    def __init__(
        self,
        path: str,
        write: Callable[[str, bytes], None],
        mutex: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """
        @param path: the file.
        @param write: replaces the content of the file of this name at once.
        @param mutex: keeps other processes out for as long as it is entered.
        """
        self._path = path
        self._write = write
        self._mutex = mutex

    def lines(self) -> Iterator[tuple[int, str]]:
        """
        @return: what is on each line that says something, with its number.

        @raise StateError: the file cannot be read.
        """
        try:
            with open(self._path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "not a text file"
            raise StateError(f"{self._path}: {reason}.") from e
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if text:
                yield number, text

    def signature(self) -> tuple[int, int, int] | None:
        """
        @return: what is another one once the file says something else; L{None}
            without a file.
        """
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def save(self, lines: Iterable[str]) -> None:
        """
        Replace what the file says.

        @raise StateError: it cannot be written.
        """
        text = "".join(f"{line}\n" for line in lines)
        self._write(os.path.basename(self._path), text.encode())
