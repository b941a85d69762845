"""
Where a rendezvous listens, and by which addresses its clients know it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from punchd.core import Address
from punchd.errors import InvalidOption
from punchd.stun.address import canonicalHost, family, isPublic

WILDCARDS: Final = ("0.0.0.0", "::")

#: RFC 8489, 18.7, and the port that firewalls let pass.
PORT: Final = 3478
WEB_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Place:
    """
    @ivar host: the address to listen on; a wildcard is that of its family.
    @ivar port: the port, 0 for any.
    @ivar optional: whether it is no misfortune if it cannot be had.
    """

    host: str
    port: int
    tcp: bool = True
    udp: bool = True
    optional: bool = False

    def covers(self, host: str) -> bool:
        """
        @return: whether what is sent to C{host}, an address of ours, comes here.
        """
        if self.host in WILDCARDS:
            return family((host, 0)) == family((self.host, 0))
        return host == self.host

    def __str__(self) -> str:
        return textOf((self.host, self.port))


DEFAULT_PLACES: Final = (
    Place("0.0.0.0", PORT),
    Place("::", PORT, optional=True),
    Place("0.0.0.0", WEB_PORT, udp=False, optional=True),
    Place("::", WEB_PORT, udp=False, optional=True),
)


def textOf(address: Address) -> str:
    """
    @return: host and port as a user writes them.
    """
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parsePlace(value: str) -> Place:
    """
    @param value: C{ADDR:PORT[/tcp|/udp]}, with brackets around an IPv6 address.

    @raise InvalidOption: it has another form.
    """
    found = re.fullmatch(r"(\[[^]]*\]|[^:/]*):(\d{1,5})(/tcp|/udp)?", value)
    if found is None or int(found[2]) > 65535:
        raise InvalidOption(
            f"--listen={value}: expected ADDR:PORT, ADDR:PORT/tcp or ADDR:PORT/udp, "
            "with brackets around an IPv6 address."
        )
    host = _host(found[1].strip("[]"), f"--listen={value}")
    return Place(host, int(found[2]), tcp=found[3] != "/udp", udp=found[3] != "/tcp")


def parsePublic(value: str) -> tuple[str, str | None]:
    """
    @param value: C{ADDR[=LOCAL]}.

    @return: the public address, and the one of this machine behind it.

    @raise InvalidOption: they are no addresses, or of different families.
    """
    public, equals, local = value.partition("=")
    option = f"--public={value}"
    outside = _host(public, option)
    if outside in WILDCARDS:
        raise InvalidOption(f"{option}: expected the one address that clients reach.")
    if not equals:
        return outside, None
    inside = _host(local, option)
    if family((inside, 0)) != family((outside, 0)):
        raise InvalidOption(f"{option}: expected two addresses of one family.")
    return outside, inside


def _host(text: str, option: str) -> str:
    try:
        return canonicalHost(text.strip("[]"))
    except ValueError:
        raise InvalidOption(
            f"{option}: {text!r} is not an address; expected one in digits, no name."
        ) from None


def publicHosts(
    places: Sequence[Place],
    publics: Sequence[tuple[str, str | None]],
    localHosts: Sequence[str],
) -> dict[str, str]:
    """
    Find out by which addresses clients reach the places.

    @param publics: what L{parsePublic} has read.
    @param localHosts: the addresses of this machine, the best first.

    @return: public addresses by local ones, the best first.

    @raise InvalidOption: there are none, or C{publics} do not fit.
    """
    named = [place.host for place in places if place.host not in WILDCARDS]
    found = [
        canonicalHost(host)
        for host in localHosts
        if any(place.covers(canonicalHost(host)) for place in places)
    ]
    reachable = list(dict.fromkeys((*named, *found)))
    chosen: dict[str, str] = {}
    for outside, inside in publics:
        local = inside or _behind(outside, reachable, chosen)
        if local is None:
            raise InvalidOption(
                f"--public={outside}: no address of this machine that is listened "
                "on can be behind it."
            )
        if local not in reachable:
            raise InvalidOption(
                f"--public={outside}={local}: nothing listens on {local}."
            )
        chosen[local] = outside
    for host in reachable:
        if host not in chosen and (host in named or isPublic(host)):
            chosen[host] = host
    if not chosen:
        raise InvalidOption(
            "No address of this machine is public, so clients cannot be told where "
            "to find it: name the address by which they reach it with --public=ADDR, "
            "or listen on one address with --listen=ADDR:PORT."
        )
    return chosen


def _behind(outside: str, reachable: list[str], chosen: dict[str, str]) -> str | None:
    """
    @return: the address of ours that C{outside} most likely leads to.
    """
    if outside in reachable:
        return outside
    free = [
        host
        for host in reachable
        if host not in chosen and family((host, 0)) == family((outside, 0))
    ]
    return next((host for host in free if not isPublic(host)), None) or next(
        iter(free), None
    )


def firsts(addresses: Sequence[Address]) -> list[Address]:
    """
    @return: the first address of each family.
    """
    found: dict[int, Address] = {}
    for each in addresses:
        found.setdefault(family(each), each)
    return [found[kind] for kind in sorted(found)]
