"""
IEventSink: a file that always tells what has happened last.
"""

import os
from typing import Any

from zope.interface import implementer

from punchd.errors import InvalidOption
from punchd.interfaces import IEventReceiver, IEventSink


@implementer(IEventReceiver)
class Note:
    """
    I write each event over the one before.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def happened(self, event: dict[str, Any]) -> None:
        """
        @see: L{IEventReceiver.happened}.
        """
        with open(f"{self._path}.new", "w") as file:
            file.write(f"{event['event']}: {event['text']}\n")
        os.replace(f"{self._path}.new", self._path)

    def close(self) -> None:
        """
        @see: L{IEventReceiver.close}.
        """


@implementer(IEventSink)
class Last:
    """
    last:FILE writes to a file what has happened last.
    """

    name = "last"

    def open(self, arguments: str, network: Any) -> Note:
        """
        @see: L{IEventSink.open}.
        """
        if not arguments:
            raise InvalidOption("--events=last: expected last:FILE.")
        return Note(arguments)


last = Last()
