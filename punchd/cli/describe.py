"""
What the commands and their options are, as values: for completion and manual pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from twisted.python import usage

#: The C{twistd} commands, and the modules of their options.
SERVICES = {
    "punch-client": "punchd.tap.client",
    "punch-rendezvous": "punchd.tap.rendezvous",
}


@dataclass(frozen=True)
class Option:
    """
    One option of a command.

    @ivar name: its long name, without hyphens.
    @ivar short: its letter, or empty.
    @ivar value: whether it takes one.
    @ivar text: what it does.
    """

    name: str
    short: str
    value: bool
    text: str


@dataclass(frozen=True)
class Described:
    """
    One command.

    @ivar name: as it is typed, as C{punchd peers add} or C{twistd punch-client}.
    @ivar synopsis: what may follow the name.
    @ivar summary: one sentence.
    @ivar text: what else is to be said, or empty.
    """

    name: str
    synopsis: str
    summary: str
    text: str
    options: tuple[Option, ...]
    commands: tuple[Described, ...] = ()

    def walk(self) -> Iterator[Described]:
        """
        @return: this command and all below it.
        """
        yield self
        for each in self.commands:
            yield from each.walk()


def punchd() -> Described:
    """
    @return: C{punchd} and its commands.
    """
    from .main import PunchdOptions

    return describe("punchd", PunchdOptions(), "Talk to peers, and about them.")


def services() -> tuple[Described, ...]:
    """
    @return: the C{twistd} commands.
    """
    found = []
    for name, module in SERVICES.items():
        options: usage.Options = import_module(module).Options()
        found.append(describe(f"twistd {name}", options, ""))
    return tuple(found)


def describe(name: str, options: usage.Options, summary: str) -> Described:
    """
    @param summary: one sentence, for a command that has none itself.

    @return: a command, and all below it.
    """
    shorts = {
        long: letter for letter, long in options.synonyms.items() if len(letter) == 1
    }
    described = tuple(
        Option(
            long.rstrip("="),
            shorts.get(long.rstrip("="), ""),
            long.endswith("="),
            _plain(options.docs.get(long.rstrip("="), "")),
        )
        for long in sorted(options.longOpt)
    )
    rows: Any = getattr(options, "subCommands", ())
    commands = tuple(describe(f"{name} {row[0]}", row[2](), row[3]) for row in rows)
    synopsis = _plain(getattr(options, "synopsis", None) or "")
    if synopsis.startswith("Usage:"):
        synopsis = ""
    text = _plain(getattr(options, "longdesc", None) or "")
    first = _plain((type(options).__doc__ or "").strip().split("\n\n")[0])
    if not summary:
        summary, text = text or first, ""
    return Described(name, synopsis, summary, text, described, commands)


def _plain(text: str) -> str:
    return " ".join(text.split())
