"""
Permissions that outlive the program: a text file beside the petnames, in which a line
is C{PEERID} or C{PEERID/SERVICE}.  What C{--allow} says holds besides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from punchd.errors import InvalidOption, StateError
from punchd.forward.rules import Allowance, checkName

from .petnames import checkPeerId

#: More than these are a damaged file.
MOST = 100_000


class PermissionFile:
    """
    I am the file of permissions of one state folder.  I read it anew at each
    question, for others may change it.
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

    def all(self) -> list[Allowance]:
        """
        @raise StateError: the file cannot be read or understood.
        """
        try:
            with open(self._path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "not a text file"
            raise StateError(f"{self._path}: {reason}.") from e
        found = []
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if text:
                peerId, slash, service = text.partition("/")
                try:
                    checkPeerId(peerId)
                    if slash:
                        checkName(service)
                except InvalidOption as e:
                    raise StateError(f"{self._path}, line {number}: {e}") from e
                found.append(Allowance(peerId, service if slash else None))
        return found

    def add(self, rules: Iterable[Allowance]) -> None:
        """
        @raise StateError: the file cannot be read or written, or is full.
        """
        with self._mutex():
            known = self.all()
            new = [rule for rule in dict.fromkeys(rules) if rule not in known]
            if len(known) + len(new) > MOST:
                raise StateError(f"{self._path}: there are {len(known)} lines already.")
            if new:
                self._save(known + new)

    def remove(self, rule: Allowance) -> bool:
        """
        @param rule: the one to remove; that of a peer without a service removes
            all of the peer.

        @return: whether there was anything to remove.
        """
        with self._mutex():
            known = self.all()
            left = [
                each
                for each in known
                if each != rule and (rule.service or each.peer != rule.peer)
            ]
            if len(left) == len(known):
                return False
            self._save(left)
            return True

    def _save(self, rules: list[Allowance]) -> None:
        lines = [
            f"{r.peer}/{r.service}\n" if r.service else f"{r.peer}\n" for r in rules
        ]
        self._write(os.path.basename(self._path), "".join(lines).encode())
