"""
Names that a user gives to peers.

They are lines C{NAME PEERID} of a text file, which may be edited by hand.
"""

from __future__ import annotations

import re

from punchd.errors import InvalidOption, StateError, UnknownPeer
from punchd.identity import PEER_ID_LENGTH, isPeerId

from .linefile import LineFile

#: Longer names are of no help to anybody.
MAX_NAME = 63

#: More names than this are a damaged file.
MAX_NAMES = 100_000

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\Z")


def checkName(name: str) -> str:
    """
    @return: C{name}, when it may be a petname.

    @raise InvalidOption: it may not.
    """
    if not _NAME.match(name) or len(name) > MAX_NAME:
        raise InvalidOption(
            f"The name {name!r} cannot be used; expected up to {MAX_NAME} lower-case "
            "letters, digits and hyphens, and no hyphen first."
        )
    if isPeerId(name):
        raise InvalidOption(f"The name {name!r} looks like a peer id.")
    return name


def checkPeerId(text: str) -> str:
    """
    @return: C{text}, when it has the form of a peer id.

    @raise InvalidOption: it has not.
    """
    if not isPeerId(text):
        raise InvalidOption(
            f"{text!r} is not a peer id; expected the {PEER_ID_LENGTH} characters "
            "that `punchd id` prints on the peer's machine."
        )
    return text


class Petnames(LineFile):
    """
    I am the file of petnames of one state folder.
    """

    _known: tuple[object, dict[str, str]] = None, {}

    def all(self) -> dict[str, str]:
        """
        @return: the peer ids by name, sorted by name.

        @raise StateError: the file cannot be read or understood.
        """
        signature = self.signature()
        if signature is None or signature != self._known[0]:
            # Of before it was read: it may be another one afterwards.
            self._known = signature, self._read()
        return dict(self._known[1])

    def _read(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, text in self.lines():
            name, peerId = self._parse(text, number)
            if name in found:
                raise StateError(
                    f"{self._path}, line {number}: {name!r} is there twice."
                )
            found[name] = peerId
        return dict(sorted(found.items()))

    def add(self, name: str, peerId: str) -> None:
        """
        @raise InvalidOption: the name is taken by another peer, or one of the
            two has the wrong form.
        """
        checkName(name)
        checkPeerId(peerId)
        with self._mutex():
            names = self.all()
            if names.get(name, peerId) != peerId:
                raise InvalidOption(
                    f"The name {name!r} belongs to {names[name]}; "
                    "rename or remove that peer first."
                )
            if len(names) >= MAX_NAMES:
                raise StateError(f"{self._path}: there are {len(names)} names already.")
            self._save({**names, name: peerId})

    def remove(self, name: str) -> None:
        """
        @raise UnknownPeer: there is no such name.
        """
        with self._mutex():
            names = self.all()
            if names.pop(name, None) is None:
                raise UnknownPeer(_unknown(name))
            self._save(names)

    def rename(self, old: str, new: str) -> None:
        """
        @raise UnknownPeer: there is no such name.
        @raise InvalidOption: the new name is taken, or has the wrong form.
        """
        checkName(new)
        with self._mutex():
            names = self.all()
            if old not in names:
                raise UnknownPeer(_unknown(old))
            if new in names and new != old:
                raise InvalidOption(f"The name {new!r} belongs to {names[new]}.")
            names[new] = names.pop(old)
            self._save(names)

    def resolve(self, text: str) -> str:
        """
        @param text: what a user wrote for a peer: a petname or a peer id.

        @return: the peer id.

        @raise UnknownPeer: C{text} is neither.
        """
        if isPeerId(text):
            return text
        peerId = self.all().get(text)
        if peerId is None:
            raise UnknownPeer(_unknown(text))
        return peerId

    def nameOf(self, peerId: str) -> str | None:
        """
        @return: the first of the names of a peer, or L{None}.
        """
        return next((n for n, p in self.all().items() if p == peerId), None)

    def _parse(self, text: str, number: int) -> tuple[str, str]:
        try:
            name, peerId = text.split()
            return checkName(name), checkPeerId(peerId)
        except ValueError as e:
            raise StateError(
                f"{self._path}, line {number}: expected a name and a peer id."
            ) from e
        except InvalidOption as e:
            raise StateError(f"{self._path}, line {number}: {e}") from e

    def _save(self, names: dict[str, str]) -> None:
        self.save(f"{name} {peerId}" for name, peerId in sorted(names.items()))


def _unknown(text: str) -> str:
    return (
        f"No peer is named {text!r}, and it is not a peer id; "
        "`punchd peers list` shows the names there are."
    )
