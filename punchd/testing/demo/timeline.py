"""
What is told of a run: events as sentences, in the order of their times.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from .events import Event

#: Seconds for which an event is held back: another program's log may still tell
#: of an earlier one.
_HOLD = 0.1
#: Columns of the terminal.
WIDTH = 80

_BY = {
    "direct": "through the hole",
    "relayed": "over the relay",
    "by the rendezvous": "with the signaling, over the rendezvous",
}


def _checking(f: dict[str, Any]) -> str:
    return f"sends checks to {f['addresses']}"


def _path(f: dict[str, Any]) -> str:
    if f["kind"] is None:
        return f"no path to {f['peer']} works"
    if f["kind"] == "direct":
        return f"DIRECT path to {f['peer']} proven: {f['address']} ({f['strategy']})"
    return f"RELAYED path to {f['peer']} in use"


def _check(what: str) -> Callable[[dict[str, Any]], str]:
    def say(f: dict[str, Any]) -> str:
        if f["kind"] == "relayed":
            return f"{what.replace('a check', 'a check over the relay')}"
        return f"{what}, {f['address']}"

    return lambda f: say(f).replace("PEER", f["peer"])


def _verdict(f: dict[str, Any]) -> str | None:
    if f["outcome"] == "succeeded":
        return None
    what = {"checks": "no hole", "relay": "no relay"}.get(f["strategy"])
    if what is None:
        return None
    sent = f["evidence"].get("checksSent")
    return f"{what}: {f['reason']}" + (f" ({sent} were sent)" if sent else "")


#: What is said of an event of a name, given its fields; L{None} for nothing.
SENTENCES: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "registered": lambda f: f"{f['peer']} registers from {f['host']}",
    "observed": lambda f: f"{f['peer']}'s packets come from {f['address']}",
    "mapping": lambda f: f"the NAT's mapping is {f['mapping']}",
    "dialled": lambda f: f"dials {f['peer']} through the rendezvous",
    "accepted": lambda f: f"is dialled by {f['peer']}, and answers",
    "answered": lambda f: f"has {f['peer']}'s answer",
    "allocation-opened": lambda f: f"lends {f['relayed']} to relay, in case",
    "checking": _checking,
    "check-arrived": lambda f: (
        f"a check of {f['peer']} gets in, from {f['address']}"
        if f["kind"] == "direct"
        else None
    ),
    "check-answered": _check("a check is answered by PEER"),
    "first-byte": lambda f: f"first byte from {f['peer']}, {_BY[f['kind']]}",
    "path": _path,
    "verdict": _verdict,
    "said": lambda f: str(f["text"]),
    "ended": lambda f: (
        f"the session with {f['peer']} ends:"
        f" {f['reason'].removeprefix('The peer ended the session: ')}"
    ),
    "allocation-closed": lambda f: (
        f"has {f['relayed']} back, {f['bytes']:,} bytes were relayed"
    ),
    "left": lambda f: f"{f['peer']} has left",
    "failure": lambda f: f"a mistake was logged: {f['text']}",
}


class Timeline:
    """
    I print events as they become known, and remember what matters of them.

    @ivar zero: from when on milliseconds are counted; nothing is printed before
        it is known.
    @ivar events: all that has happened, as it became known.
    @ivar paths: the kinds of path that A and B use.
    """

    def __init__(self, line: Callable[[str], object]) -> None:
        self._line = line
        self._waiting: list[Event] = []
        self.zero: float | None = None
        self.events: list[Event] = []
        self.paths: dict[str, str | None] = {"A": None, "B": None}

    def add(self, events: Iterable[Event]) -> None:
        """
        Something happened.
        """
        for event in events:
            self._waiting.append(event)
            self.events.append(event)
            if event.name == "path":
                self.paths[event.who] = event.fields["kind"]

    def say(self, time: float, who: str, text: str) -> None:
        """
        Something happened outside of punchd's programs.
        """
        self.add([Event(time, who, "said", {"text": text})])

    def all(self, name: str, who: str | None = None, after: float = 0.0) -> list[Event]:
        """
        @return: the events of this name, oldest first.
        """
        return [
            event
            for event in self.events
            if event.name == name and who in (None, event.who) and event.time >= after
        ]

    def carried(self, kind: str) -> bool:
        """
        @return: whether both sides use this kind of path.
        """
        return self.paths == {"A": kind, "B": kind}

    def flush(self, now: float | None = None) -> None:
        """
        Print what can be printed.

        @param now: the time, or L{None} when nothing earlier can come.
        """
        if self.zero is None:
            return
        until = float("inf") if now is None else now - _HOLD
        due = sorted(
            (event for event in self._waiting if event.time <= until),
            key=lambda event: event.time,
        )
        self._waiting = [event for event in self._waiting if event.time > until]
        for event in due:
            sentence = SENTENCES.get(event.name, lambda f: None)(dict(event.fields))
            if sentence is not None:
                milliseconds = round((event.time - self.zero) * 1000)
                lead = f"{milliseconds:7d}  {event.who:<10}  "
                for text in textwrap.wrap(sentence, WIDTH - len(lead)):
                    self._line(lead + text)
                    lead = " " * len(lead)
