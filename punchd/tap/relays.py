"""
The TURN servers that a user names (RFC 7065), and the file of their credentials.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from punchd._plugins import pluginsByName
from punchd.errors import InvalidOption
from punchd.interfaces import IRelayTransport
from punchd.net.plugins import BUILTIN
from punchd.net.ways import RelayCredentials, Way
from punchd.stun.address import canonicalHost

#: RFC 7065, 3.1.
PORT: Final = 3478
TLS_PORT: Final = 5349

_EXPECTED = "expected turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]"
_URI = re.compile(
    r"(?P<scheme>turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:\?transport=(?P<transport>[a-z][a-z0-9-]*))?",
    re.IGNORECASE,
)


def parseRelay(text: str) -> Way:
    """
    @return: the way to that relay, without credentials.

    @raise InvalidOption: it is no such URI.
    """

    def wrong(why: str) -> InvalidOption:
        return InvalidOption(f"--relay={text}: {why}; {_EXPECTED}.")

    found = _URI.fullmatch(text)
    if found is None:
        raise wrong("that is not the URI of a TURN server")
    secure = found["scheme"].lower() == "turns"
    port = int(found["port"] or (TLS_PORT if secure else PORT))
    if not 0 < port < 65536:
        raise wrong(f"{port} is not a port")
    transport = (found["transport"] or ("tcp" if secure else "udp")).lower()
    carrier = None
    if transport not in ("udp", "tcp") or (secure and transport == "udp"):
        carrier = None if secure else pluginsByName(IRelayTransport).get(transport)
        if carrier is None or carrier is BUILTIN.get(transport):
            raise wrong(f"there is no {found['scheme']} over {transport}")
    host = found["host"].strip("[]").lower()
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        try:
            host = canonicalHost(host)
        except ValueError:
            raise wrong(f"{host} is not an address") from None
    return Way("tls" if secure else transport, (host, port), carrier=carrier)


def withCredentials(relays: Sequence[str], path: str | None) -> list[Way]:
    """
    @param relays: URIs.
    @param path: a file with a line C{NAME:PASSWORD} for all relays, or
        C{HOST NAME:PASSWORD} for those on one host; empty lines and those that begin
        with C{#} count for nothing.

    @return: the ways to the relays.

    @raise InvalidOption: the file cannot be read, or lacks something.
    """
    if not relays or path is None:
        return []
    ways = [parseRelay(relay) for relay in relays]
    known = _read(path, {way.server[0] for way in ways})
    found = []
    for relay, way in zip(relays, ways):
        credentials = known.get(way.server[0]) or known.get("")
        if credentials is None:
            raise InvalidOption(
                f"--relay-credentials={path}: there is nothing for {relay}; expected "
                "a line NAME:PASSWORD or HOST NAME:PASSWORD."
            )
        found.append(replace(way, credentials=credentials))
    return found


def _read(path: str, hosts: set[str]) -> dict[str, RelayCredentials]:
    """
    @return: credentials by host, those for all hosts under the empty one.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "that is not text"
        raise InvalidOption(f"--relay-credentials={path}: {why}.") from e
    found: dict[str, RelayCredentials] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first, _, rest = line.strip().partition(" ")
        host = first.strip("[]").lower()
        if host not in hosts:
            host, rest = "", line.strip()
        name, colon, password = rest.strip().partition(":")
        if not name or not colon or not password:
            # The line itself may be a secret.
            raise InvalidOption(
                f"--relay-credentials={path}: line {number} cannot be used; expected "
                "NAME:PASSWORD or HOST NAME:PASSWORD."
            )
        found.setdefault(host, RelayCredentials(name, password))
    return found
