"""
Whom the rendezvous serves: the guards that are built in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from punchd.errors import InvalidOption
from punchd.identity import isPeerId
from punchd.signaling.directory import Directory
from punchd.turn.credentials import handleOf
from punchd.turn.guards import Guard, SecretUsers, StaticUsers, parseUsers

#: A file of users, a secret, or a list of peers has at most so many bytes.
LARGEST: Final = 16 << 20

_log = Logger()


class RegisteredUsers(SecretUsers):
    """
    My users are the clients that have registered, to reach the other side of
    their dials and nobody else.
    """

    #: Their names say nothing about them, and they do not hide them.
    hashes: bool | None = None

    def __init__(
        self,
        secret: bytes,
        wallTime: Callable[[], float],
        directory: Directory,
        clock: Any,
    ) -> None:
        super().__init__("registered", secret, wallTime)
        self._directory = directory
        self._clock = clock

    def mayAllocate(self, username: str, remote: tuple[str, int]) -> bool:
        """
        @return: whether that client is (still) known.
        """
        return self._directory.mayAllocate(handleOf(username))

    def mayRelay(self, username: str, peerHost: str) -> bool:
        """
        @return: whether the other side of one of his dials was observed there.
        """
        return self._directory.mayRelay(
            handleOf(username), peerHost, self._clock.seconds()
        )


class ListedPeers(Guard):
    """
    I let nobody register but those who are listed.
    """

    def __init__(self, name: str, peers: frozenset[str]) -> None:
        super().__init__(name)
        self._peers = peers

    def mayRegister(self, peer: str, host: str) -> bool:
        """
        @return: whether the peer is listed.
        """
        return peer in self._peers


def users(name: str, path: str, network: Any) -> StaticUsers:
    """
    C{--admit=users:FILE}.
    """
    option = f"--admit=users:{path}"
    return StaticUsers(name, parseUsers(_read(option, path, secret=True), option))


def sharedSecret(name: str, path: str, network: Any) -> SecretUsers:
    """
    C{--relay-secret=FILE}, or C{--admit=secret:FILE}.
    """
    option = f"--relay-secret={path}"
    secret = _read(option, path, secret=True).strip()
    if not secret or b"\n" in secret:
        raise InvalidOption(f"{option}: expected one line, the secret.")
    return SecretUsers(name, secret, network.wallClock)


def peers(name: str, path: str, network: Any) -> ListedPeers:
    """
    C{--admit=peers:FILE}.
    """
    option = f"--admit=peers:{path}"
    listed = set()
    for number, line in enumerate(_read(option, path).splitlines(), 1):
        text = line.decode("utf-8", "replace").partition("#")[0].strip()
        if text and not isPeerId(text):
            raise InvalidOption(f"{option}: line {number}: expected a peer id.")
        listed.add(text)
    return ListedPeers(name, frozenset(listed - {""}))


def _read(option: str, path: str, secret: bool = False) -> bytes:
    """
    @param secret: whether others should not be able to read the file.

    @raise InvalidOption: it cannot be read.
    """
    if not path:
        raise InvalidOption(f"{option}: expected the name of a file.")
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(LARGEST + 1)
    except OSError as e:
        raise InvalidOption(f"{option}: {e.strerror}.") from e
    if len(content) > LARGEST:
        raise InvalidOption(f"{option}: expected at most {LARGEST >> 20} MiB.")
    if secret and mode & 0o077:
        _log.warn(
            "{option}: its mode {mode} lets others read what is secret; run "
            "`chmod 600 {path}`",
            option=option,
            mode=f"{mode:04o}",
            path=path,
        )
    return content
