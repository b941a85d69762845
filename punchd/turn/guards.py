"""
Who may use the relay: for each source of users a guard, which knows their
passwords and what they may do.

Names of different guards never mix.  The guard that a request was signed for
by its password decides about it, so that nobody gets another's rights by
calling himself like him.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Mapping

from zope.interface import implementer

from punchd.core import Address
from punchd.errors import InvalidOption
from punchd.interfaces import IGuard

from .credentials import handleOf, parseUsername, passwordFor

_MAX_NAME = 508  # RFC 8489, 14.3


@implementer(IGuard)
class Guard:
    """
    One source of users.  I am one without any, who forbids nothing: a base for
    others.
    """

    hashes: bool | None = None

    def __init__(self, name: str) -> None:
        """
        @param name: no two guards of a relay have the same.
        """
        self.name = name

    def mayRegister(self, peer: str, host: str) -> bool:
        """
        @see: L{IGuard.mayRegister}.
        """
        return True

    def mayDial(self, peer: str, other: str) -> bool:
        """
        @see: L{IGuard.mayDial}.
        """
        return True

    def passwordOf(self, username: str) -> str | bytes | None:
        """
        @see: L{IGuard.passwordOf}.
        """
        return None

    def nameOf(self, userhash: bytes, realm: str) -> str | None:
        """
        @see: L{IGuard.nameOf}.
        """
        return None

    def identityOf(self, username: str) -> str:
        """
        @see: L{IGuard.identityOf}.
        """
        return username

    def quotaOf(self, username: str) -> Mapping[str, float]:
        """
        @see: L{IGuard.quotaOf}.
        """
        return {}

    def mayAllocate(self, username: str, remote: Address) -> bool:
        """
        @see: L{IGuard.mayAllocate}.
        """
        return True

    def mayRelay(self, username: str, peerHost: str) -> bool:
        """
        @see: L{IGuard.mayRelay}.
        """
        return True


class SecretUsers(Guard):
    """
    My users are those whose name was signed with a secret and has not expired
    (TURN REST).
    """

    hashes: bool | None = False

    def __init__(self, name: str, secret: bytes, wallTime: Callable[[], float]) -> None:
        """
        @param wallTime: the seconds of the Unix epoch.
        """
        super().__init__(name)
        self._secret = secret
        self._wallTime = wallTime

    def passwordOf(self, username: str) -> str | bytes | None:
        """
        @return: what was made of the name, until it expires.
        """
        parsed = parseUsername(username)
        if parsed is None or parsed[0] <= self._wallTime():
            return None
        return passwordFor(self._secret, username)

    def identityOf(self, username: str) -> str:
        """
        @return: the handle.
        """
        return handleOf(username)


class StaticUsers(Guard):
    """
    My users are listed.
    """

    hashes: bool | None = True

    def __init__(self, name: str, users: Mapping[str, str | bytes]) -> None:
        """
        @param users: passwords by name.
        """
        super().__init__(name)
        self._users = dict(users)
        self._hashes: dict[str, dict[bytes, str]] = {}

    def passwordOf(self, username: str) -> str | bytes | None:
        """
        @return: what is in the list.
        """
        return self._users.get(username)

    def nameOf(self, userhash: bytes, realm: str) -> str | None:
        """
        @return: who in the list it is.
        """
        hashes = self._hashes.get(realm)
        if hashes is None:
            hashes = {userHash(each, realm): each for each in self._users}
            self._hashes = {realm: hashes}
        return hashes.get(userhash)


def userHash(username: str, realm: str) -> bytes:
    """
    @return: the value of USERHASH (RFC 8489, 14.4).
    """
    return hashlib.sha256(f"{username}:{realm}".encode()).digest()


def parseUsers(content: bytes, source: str) -> dict[str, str]:
    """
    Read lines C{NAME:PASSWORD}; empty ones and those that begin with C{#} say
    nothing.

    @param source: what the sentence of an error begins with.

    @return: passwords by name.

    @raise InvalidOption: a line is wrong; the sentence does not repeat it, as a
        password may be in it.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        where = f"{source}: line {number}"
        try:
            text = line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as e:
            raise InvalidOption(f"{where}: expected UTF-8.") from e
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        # What clients do to what their users type (RFC 8265, 4.2), as far as it
        # concerns what people type.
        text = unicodedata.normalize("NFC", text)
        name, colon, password = text.partition(":")
        if not colon or not name.strip() or not password:
            raise InvalidOption(f"{where}: expected NAME:PASSWORD.")
        if not text.isprintable():
            raise InvalidOption(f"{where}: expected no control characters.")
        if len(name.encode("utf-8")) > _MAX_NAME:
            raise InvalidOption(f"{where}: expected a name of at most 508 bytes.")
        if name in users:
            raise InvalidOption(f"{where}: expected a name that is not there yet.")
        users[name] = password
    return users
