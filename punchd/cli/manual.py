"""
C{punchd manual}: manual pages, made of what the commands know of themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from twisted.python import usage

import punchd
from punchd.errors import StateError

from .command import Command, Console
from .describe import Described, Option
from .describe import punchd as describePunchd
from .describe import services as describeServices

#: The files.
PAGES = ("punchd.1", "twistd-punch-client.1", "twistd-punch-rendezvous.1")


class ManualOptions(Command):
    """
    Write manual pages for punchd and its twistd commands.
    """

    synopsis = "DIR"
    longdesc = "Such as ~/.local/share/man/man1; then `man punchd` shows the first."

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: there is not exactly one argument.
        """
        if len(arguments) != 1:
            raise usage.UsageError(f"expected one DIR, and got {len(arguments)}.")
        self["folder"] = arguments[0]

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        folder = self["folder"]
        try:
            os.makedirs(folder, exist_ok=True)
            for name, text in pages().items():
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
                console.line(os.path.join(folder, name))
        except OSError as e:
            raise StateError(f"{e.filename}: {e.strerror}.") from e
        return 0


def pages() -> dict[str, str]:
    """
    @return: the text of each page, by the name of its file.
    """
    found = {"punchd.1": page(describePunchd())}
    for service in describeServices():
        found[f"{service.name.replace(' ', '-')}.1"] = page(service)
    return found


def page(command: Described) -> str:
    """
    @return: a page in the language of man(7).
    """
    title = command.name.replace(" ", "-")
    lines = [
        f'.TH {title.upper()} 1 "" "punchd {punchd.__version__}"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(command.summary.rstrip('.'))}",
        ".SH SYNOPSIS",
    ]
    for each in command.walk():
        if not each.commands:
            options = "" if "[--" in each.synopsis else "[\\fIOPTIONS\\fR] "
            synopsis = each.synopsis.removeprefix("[options]").strip()
            lines += [f"\\fB{_roff(each.name)}\\fR {options}{_roff(synopsis)}", ".br"]
    if command.text:
        lines += [".SH DESCRIPTION", _roff(command.text)]
    if not command.commands:
        lines += [".SH OPTIONS", *_options(command.options)]
    else:
        lines += [".SH OPTIONS OF ALL COMMANDS", *_options(command.options)]
        lines.append(".SH COMMANDS")
        common = {option.name for option in command.options}
        for each in command.walk():
            if each is not command:
                lines += [f'.SS "{_roff(each.name)} {_roff(each.synopsis)}"']
                lines += [_roff(each.summary), ".PP"]
                if each.text:
                    lines += [_roff(each.text), ".PP"]
                own = [o for o in each.options if o.name not in common]
                lines += _options(own)
    lines += [
        ".SH EXIT STATUS",
        "0, or 1 when something was wrong, which one sentence explains.",
        ".SH SEE ALSO",
        ", ".join(
            f"\\fB{_roff(name.removesuffix('.1'))}\\fR(1)"
            for name in PAGES
            if name != f"{title}.1"
        ),
    ]
    return "\n".join(lines) + "\n"


def _options(options: tuple[Option, ...] | list[Option]) -> Iterator[str]:
    for option in options:
        short = f"\\fB\\-{option.short}\\fR, " if option.short else ""
        value = "=\\fIVALUE\\fR" if option.value else ""
        yield ".TP"
        yield f"{short}\\fB\\-\\-{_roff(option.name)}\\fR{value}"
        yield _roff(option.text) or "\\&"


def _roff(text: str) -> str:
    """
    @return: C{text} as roff shows it.
    """
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
