"""
Where datagrams of a forward come from and go to, in the manner of Twisted's endpoint
strings.

    udp:PORT[:interface=HOST][:idle=SECONDS]     to listen
    udp:HOST:PORT[:idle=SECONDS]                 to send to
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Seconds without a datagram after which an association ends; RFC 4787, 4.3 has NATs
#: keep theirs for two minutes at the least.
IDLE = 120.0

_PART = re.compile(r"(?:[^\\:]|\\.)*", re.S)


@dataclass(frozen=True, slots=True)
class Place:
    """
    An end of a forward of datagrams.

    @ivar host: a name or an address; empty for the default.
    @ivar idle: seconds without a datagram after which it is over for one user.
    """

    host: str
    port: int
    idle: float = IDLE


def parseListening(endpoint: str) -> Place:
    """
    @raise ValueError: it is none, and why.
    """
    arguments, keywords = _split(endpoint)
    if len(arguments) != 1:
        raise ValueError("expected udp:PORT[:interface=HOST][:idle=SECONDS]")
    host = keywords.pop("interface", "")
    return _place(host, arguments[0], keywords, least=0)


def parseTarget(endpoint: str) -> Place:
    """
    @raise ValueError: it is none, and why.
    """
    arguments, keywords = _split(endpoint)
    if len(arguments) != 2 or not arguments[0]:
        raise ValueError("expected udp:HOST:PORT[:idle=SECONDS]")
    return _place(arguments[0], arguments[1], keywords, least=1)


def _split(endpoint: str) -> tuple[list[str], dict[str, str]]:
    arguments: list[str] = []
    keywords: dict[str, str] = {}
    at = 0
    while at <= len(endpoint):
        found = _PART.match(endpoint, at)
        part = found.group() if found else ""
        at += len(part) + 1
        name, equals, value = part.partition("=")
        if equals and name.isidentifier():
            keywords[name] = _plain(value)
        else:
            arguments.append(_plain(part))
    return arguments[1:], keywords


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.S)


def _place(host: str, port: str, keywords: dict[str, str], least: int) -> Place:
    if not port.isdecimal() or not least <= int(port) < 65536:
        raise ValueError(f"{port!r} is not a port number")
    idle = keywords.pop("idle", "")
    for name in keywords:
        raise ValueError(f"udp endpoints have no {name!r}")
    if not idle:
        return Place(host, int(port))
    try:
        seconds = float(idle)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise ValueError(f"idle={idle} is not a number of seconds from 1 to 86400")
    return Place(host, int(port), seconds)
