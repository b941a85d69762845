"""
The one string that a client is given to find its rendezvous.

C{punch://203.0.113.10:3478,443#FINGERPRINT}: the host, the TCP ports to try in
this order, and the peer id of the server's key.  Without the fragment the
server has to show a certificate that the machine's own authorities vouch for.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from punchd.errors import InvalidURL
from punchd.identity import isPeerId

SCHEME: Final = "punch://"

#: Where a rendezvous listens when its URL names no port.
DEFAULT_PORTS: Final = (3478, 443)

_MAX_PORTS = 8
_EXPECTED = "expected punch://HOST[:PORT,...][#FINGERPRINT]"
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")


def _wrong(text: str, why: str) -> InvalidURL:
    return InvalidURL(f"{text!r} is not the URL of a rendezvous: {why}; {_EXPECTED}.")


@dataclass(frozen=True, slots=True)
class RendezvousURL:
    """
    @ivar host: a host name, or an address without brackets.
    @ivar ports: TCP ports, in the order in which they are tried.
    @ivar fingerprint: the peer id of the server's key, or L{None}.
    """

    host: str
    ports: tuple[int, ...] = DEFAULT_PORTS
    fingerprint: str | None = None

    @classmethod
    def parse(cls, text: str) -> RendezvousURL:
        """
        @raise InvalidURL: C{text} does not have the form above.
        """
        if not text.startswith(SCHEME):
            raise _wrong(text, f"it does not begin with {SCHEME}")
        authority, hash, fragment = text[len(SCHEME) :].partition("#")
        fingerprint = None
        if hash:
            fingerprint = fragment.lower()
            if not isPeerId(fingerprint):
                raise _wrong(text, "the part after # is not a fingerprint")
        host, ports = _split(text, authority.removesuffix("/"))
        return cls(host, ports, fingerprint)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        ports = ",".join(map(str, self.ports))
        fragment = f"#{self.fingerprint}" if self.fingerprint else ""
        return f"{SCHEME}{host}:{ports}{fragment}"


def _split(text: str, authority: str) -> tuple[str, tuple[int, ...]]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _wrong(text, "the brackets around its address do not match")
        try:
            host = ipaddress.IPv6Address(host).compressed
        except ValueError:
            raise _wrong(text, f"{host!r} is not an IPv6 address") from None
        return host, _ports(text, rest[1:] if rest else None)
    host, colon, rest = authority.partition(":")
    if ":" in rest:
        raise _wrong(text, "an IPv6 address needs brackets around it")
    if not _isHost(host):
        raise _wrong(text, f"{host!r} is not a host")
    return host.lower(), _ports(text, rest if colon else None)


def _isHost(host: str) -> bool:
    if re.fullmatch(r"[0-9.]*", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
        return True
    return len(host) <= 253 and _NAME.fullmatch(host) is not None


def _ports(text: str, listed: str | None) -> tuple[int, ...]:
    if listed is None:
        return DEFAULT_PORTS
    ports = []
    for each in listed.split(","):
        if not re.fullmatch(r"[0-9]{1,5}", each) or not 0 < int(each) < 65536:
            raise _wrong(text, f"{each!r} is not a port")
        if int(each) not in ports:
            ports.append(int(each))
    if len(ports) > _MAX_PORTS:
        raise _wrong(text, f"it names more than {_MAX_PORTS} ports")
    return tuple(ports)
