"""
Candidates: the addresses at which an agent may be reached (RFC 8445, 5.1).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from punchd.core import Address

_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
_SOURCE = re.compile(r"[a-z][a-z0-9-]{0,15}")
_TRANSPORTS = frozenset({"udp", "tcp"})
_TCP_TYPES = frozenset({"active", "passive", "so"})
#: The directions by preference, of candidates behind a NAT and of others (RFC
#: 6544, 4.2).
_DIRECTIONS = (("so", "active", "passive"), ("active", "passive", "so"))
#: How far the type preferences of TCP are behind those of UDP.
_TCP_BEHIND = 60
_MOST_PRIORITY = (1 << 31) - 1
_MOST_COMPONENT = 256
_LONGEST_HOST = 45


class CandidateType(Enum):
    """
    RFC 8445, 5.1.1; the values are those of RFC 8839, 5.1.
    """

    HOST = "host"
    SRFLX = "srflx"
    PRFLX = "prflx"
    RELAY = "relay"

    @property
    def preference(self) -> int:
        """
        The type preference recommended by RFC 8445, 5.1.2.2.
        """
        return _PREFERENCES[self]


_PREFERENCES = {
    CandidateType.HOST: 126,
    CandidateType.PRFLX: 110,
    CandidateType.SRFLX: 100,
    CandidateType.RELAY: 0,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    @ivar priority: RFC 8445, 5.1.2.
    @ivar foundation: equal for candidates that are likely to work alike
        (RFC 8445, 5.1.1.3).
    @ivar base: where checks are sent from; of a remote candidate, its
        address.
    @ivar relatedAddress: for diagnosis only (RFC 8839, 5.1).
    @ivar source: who found it, by the names of path strategies: C{host},
        C{srflx}, C{prflx}, C{mapped}, C{relay} and others.
    @ivar tcpType: C{active}, C{passive} or C{so} (RFC 6544, 4.5), L{None} of UDP.
    """

    address: Address
    type: CandidateType
    priority: int
    foundation: str
    base: Address
    transport: str = "udp"
    component: int = 1
    relatedAddress: Address | None = None
    source: str = "host"
    tcpType: str | None = None

    @property
    def family(self) -> int:
        """
        4 or 6.
        """
        return 6 if ":" in self.address[0] else 4

    def toDict(self) -> dict[str, Any]:
        """
        @return: what signaling carries; the base stays private.
        """
        found: dict[str, Any] = {
            "address": self.address[0],
            "port": self.address[1],
            "type": self.type.value,
            "priority": self.priority,
            "foundation": self.foundation,
            "transport": self.transport,
            "component": self.component,
            "source": self.source,
        }
        if self.relatedAddress is not None:
            found["related"] = list(self.relatedAddress)
        if self.tcpType is not None:
            found["tcptype"] = self.tcpType
        return found

    @classmethod
    def fromDict(cls, data: Mapping[str, Any]) -> Candidate:
        """
        Read what L{toDict} made.  Keys that are not known are ignored, so
        that one side can be upgraded first.

        @raise ValueError: it is not a candidate.
        """
        if not isinstance(data, Mapping):
            raise ValueError("a candidate is a mapping")
        address = _address(data.get("address"), data.get("port"))
        related = data.get("related")
        if related is not None:
            if not isinstance(related, (list, tuple)) or len(related) != 2:
                raise ValueError("a candidate's related address is odd")
            related = _address(related[0], related[1], leastPort=0)
        kind = data.get("type")
        try:
            type = CandidateType(kind)
        except ValueError:
            raise ValueError(f"no candidate type is called {kind!r:.32}") from None
        transport = data.get("transport", "udp")
        if not isinstance(transport, str) or transport not in _TRANSPORTS:
            raise ValueError("a candidate's transport is odd")
        tcpType = data.get("tcptype") if transport == "tcp" else None
        known = isinstance(tcpType, str) and tcpType in _TCP_TYPES
        if transport == "tcp" and not known:
            raise ValueError("a candidate's tcptype is odd")
        return cls(
            address,
            type,
            _number(data.get("priority"), 0, _MOST_PRIORITY, "priority"),
            _text(data.get("foundation"), _FOUNDATION, "foundation"),
            address,
            transport,
            _number(data.get("component", 1), 1, _MOST_COMPONENT, "component"),
            related,
            _text(data.get("source", type.value), _SOURCE, "source"),
            tcpType,
        )


def _number(value: object, least: int, most: int, name: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"a candidate's {name} is odd")
    return value


def _text(value: object, form: re.Pattern[str], name: str) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise ValueError(f"a candidate's {name} is odd")
    return value


def _address(host: object, port: object, leastPort: int = 1) -> Address:
    number = _number(port, leastPort, 65535, "port")
    if not isinstance(host, str) or len(host) > _LONGEST_HOST or "%" in host:
        raise ValueError("a candidate's address is odd")
    return (str(ipaddress.ip_address(host)), number)


@lru_cache(maxsize=4096)
def isPairable(address: Address) -> bool:
    """
    @return: whether checks may be sent to and from C{address}: no loopback,
        unspecified, multicast or broadcast one, none whose scope is missing
        (fe80::/10), no IPv4 address in the clothes of IPv6 (RFC 8445,
        5.1.1.1).
    """
    host, port = address
    if not 0 < port < 65536:
        return False
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    if ip.is_loopback or ip.is_multicast:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.packed[0] != 0 and host != "255.255.255.255"
    # ::/96 holds the unspecified address and the deprecated compatible ones.
    return not (ip.is_link_local or ip.ipv4_mapped or int(ip) >> 32 == 0)


def localPreference(family: int, rank: int = 0) -> int:
    """
    @param rank: of the address among ours, 0 for the best.

    @return: IPv6 before IPv4 at every rank (RFC 8445, 5.1.2.1; RFC 8421).
    """
    return max(0, 65535 - 2 * rank - (family == 4))


def candidatePriority(type: CandidateType, local: int, component: int = 1) -> int:
    """
    RFC 8445, 5.1.2.1.
    """
    return (type.preference << 24) + (local << 8) + 256 - component


def checkPriority(local: Candidate) -> int:
    """
    @return: the PRIORITY of checks from C{local}: what a peer-reflexive
        candidate that it makes the peer learn is worth (RFC 8445, 7.1.1); of
        relayed ones the priority as it is, so that the peer can tell that the
        new address is a relay's.
    """
    if local.type is CandidateType.RELAY:
        return local.priority
    preference = CandidateType.PRFLX.preference
    if local.transport == "tcp":
        preference -= _TCP_BEHIND
    return (preference << 24) | local.priority & 0xFFFFFF


def foundation(type: CandidateType, *hosts: str, transport: str = "udp") -> str:
    """
    @param hosts: of the base, and of the server if there is one.

    @return: 8 ice-chars (RFC 8445, 5.1.1.3).
    """
    text = " ".join((type.value, transport, *hosts))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def hostCandidate(address: Address, *, rank: int = 0) -> Candidate:
    """
    @return: an address of this machine.
    """
    return _make(CandidateType.HOST, address, address, rank, None, "host", None)


def reflexiveCandidate(
    address: Address,
    base: Address,
    *,
    server: str = "",
    rank: int = 0,
    source: str = "srflx",
) -> Candidate:
    """
    @param address: as C{server}, or somebody else named C{source}, sees
        C{base}.
    """
    kind = CandidateType.SRFLX
    return _make(kind, address, base, rank, base, source, server)


def tcpCandidate(
    address: Address,
    base: Address,
    type: CandidateType,
    tcpType: str = "so",
) -> Candidate:
    """
    @param tcpType: C{so}, or C{active} or C{passive} of a connection that was
        opened from one side.

    @return: an address of a TCP port of ours, or of the peer's, with a priority
        behind those of UDP and before relays' (RFC 6544, 4.2).
    """
    order = _DIRECTIONS[type is CandidateType.HOST].index(tcpType)
    local = (6 - 2 * order << 13) + (8190 if ":" in address[0] else 8189)
    priority = (type.preference - _TCP_BEHIND << 24) + (local << 8) + 255
    return Candidate(
        address,
        type,
        priority,
        foundation(type, base[0], transport="tcp"),
        base,
        "tcp",
        relatedAddress=None if address == base else base,
        source="tcp",
        tcpType=tcpType,
    )


def relayedCandidate(
    address: Address,
    *,
    server: str = "",
    mapped: Address | None = None,
    rank: int = 0,
) -> Candidate:
    """
    @param address: on the relay; datagrams with this source are the shell's
        to send through it.
    @param mapped: where the relay sees us.
    """
    kind = CandidateType.RELAY
    return _make(kind, address, address, rank, mapped, "relay", server)


def _make(
    type: CandidateType,
    address: Address,
    base: Address,
    rank: int,
    related: Address | None,
    source: str,
    server: str | None,
) -> Candidate:
    local = localPreference(6 if ":" in address[0] else 4, rank)
    hosts = (base[0],) if server is None else (base[0], server)
    return Candidate(
        address,
        type,
        candidatePriority(type, local),
        foundation(type, *hosts),
        base,
        relatedAddress=related,
        source=source,
    )
