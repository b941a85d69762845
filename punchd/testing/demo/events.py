"""
The events in the logs of punchd's programs, whatever the stage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that happened.

    @ivar time: when, in seconds of the stage's clock.
    @ivar who: C{"A"}, C{"B"}, C{"rendezvous"}, or C{"demo"}.
    @ivar name: what.
    """

    time: float
    who: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def fieldsOf(event: LogEvent) -> dict[str, Any] | None:
    """
    @return: the plain values of an event that has a name, or of a logged failure;
        L{None} for the rest of the log.
    """
    level = event.get("log_level")
    if "event" not in event and level is not LogLevel.critical:
        return None
    found = {
        name: value
        for name, value in event.items()
        if not name.startswith("log_")
        and isinstance(value, str | int | float | dict | list | None)
    }
    found.setdefault("event", "failure")
    found["text"] = formatEvent(event)
    return found


@implementer(ILogObserver)
class EventWriter:
    """
    I am an observer for C{twistd --logger}: I write one JSON object a line.
    """

    def __init__(self) -> None:
        # Twisted puts a logger in its place later.
        self._out = sys.stdout

    def __call__(self, event: LogEvent) -> None:
        """
        Something was logged.
        """
        line = fieldsOf(event) or {"text": formatEvent(event)}
        line["time"] = event["log_time"]
        try:
            text = json.dumps(line)
        except TypeError:
            text = json.dumps({name: str(value) for name, value in line.items()})
        self._out.write(text + "\n")
        self._out.flush()


class EventFile:
    """
    I read what an L{EventWriter} has written, as it grows.
    """

    def __init__(self, path: Path, who: str) -> None:
        self._path = path
        self._who = who
        self._place = 0

    def take(self) -> list[Event]:
        """
        @return: the events since the last time.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                fields = json.loads(line)
                name, time = fields.pop("event"), float(fields.pop("time"))
            except (ValueError, KeyError, AttributeError):
                # What a program says before it logs, or not as an event.
                continue
            found.append(Event(time, self._who, name, fields))
        return found
