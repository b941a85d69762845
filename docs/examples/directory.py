"""
IDirectory: who is here, with a line in a file for everyone who comes and leaves.
"""

from typing import Any

from zope.interface import implementer

from punchd.errors import InvalidOption
from punchd.interfaces import IDirectory
from punchd.signaling.directory import Arrival, Dial, Directory, Presence


class Book(Directory):
    """
    I keep a visitors' book.
    """

    def __init__(self, path: str, network: Any, limits: Any) -> None:
        super().__init__(network.entropy, limits)
        self._path = path
        self._wallClock = network.wallClock
        try:
            self._write("the rendezvous", "begins")
        except OSError as e:
            raise InvalidOption(f"--directory=book:{path}: {e.strerror}.") from e

    def _write(self, who: str, what: str) -> None:
        with open(self._path, "a") as file:
            file.write(f"{self._wallClock():.0f} {who} {what}\n")

    def register(
        self, peer: str, host: str, connection: object, resume: str | None, now: float
    ) -> Arrival:
        """
        @see: L{IPresences.register}.
        """
        arrival = super().register(peer, host, connection, resume, now)
        self._write(peer, "came")
        return arrival

    def depart(self, presence: Presence, connection: object, now: float) -> list[Dial]:
        """
        @see: L{IPresences.depart}.
        """
        self._write(presence.peer, "left")
        return super().depart(presence, connection, now)


@implementer(IDirectory)
class Books:
    """
    book:FILE keeps a visitors' book.
    """

    name = "book"

    def directory(self, arguments: str, network: Any, limits: Any) -> Directory:
        """
        @see: L{IDirectory.directory}.
        """
        return Book(arguments, network, limits)


book = Books()
