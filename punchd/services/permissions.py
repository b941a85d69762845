"""
Permissions that outlive the program: a text file beside the petnames, in which a line
is C{PEERID} or C{PEERID/SERVICE}.  What C{--allow} says holds besides.
"""

from __future__ import annotations

from collections.abc import Iterable

from punchd.errors import InvalidOption, StateError
from punchd.forward.rules import Allowance, checkName

from .linefile import LineFile
from .petnames import checkPeerId

#: More than these are a damaged file.
MOST = 100_000


class PermissionFile(LineFile):
    """
    I am the file of permissions of one state folder.
    """

    def all(self) -> list[Allowance]:
        """
        @raise StateError: the file cannot be read or understood.
        """
        found = []
        for number, text in self.lines():
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
        self.save(f"{r.peer}/{r.service}" if r.service else r.peer for r in rules)
