"""
Which of the addresses that a peer claims may be sent to.

A peer may claim anything.  What the rendezvous saw its packets come from is
believed; of the rest, few enough are taken that it cannot make us a weapon
against somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from punchd.core import Address
from punchd.stun.address import canonicalHost, isPublic, packHost

#: Candidates that nobody observed, of one peer and dial.
MAX_CLAIMED: Final = 20
#: Those of them that are public addresses.
MAX_CLAIMED_PUBLIC: Final = 4
#: Ports below this belong to services of others, not to NATs.
FIRST_PORT: Final = 1024

_C = TypeVar("_C")


def isUnusable(host: str) -> bool:
    """
    @return: whether nothing may ever be sent to C{host} because a peer says
        so: loopback, multicast, broadcast, unspecified, link-local of IPv6
        (which needs a scope that is ours, not the peer's), or no address.
    """
    try:
        packed = packHost(canonicalHost(host))
    except ValueError:
        return True
    if len(packed) == 4:
        return packed[0] in (0, 127) or packed[0] >= 224
    return (
        packed[0] == 0xFF
        or packed[:2] == b"\xfe\x80"
        # Unspecified, loopback, IPv4-compatible and -translated.
        or packed[:8] == b"\0" * 8
    )


def _addressOf(candidate: object) -> Address | None:
    if not isinstance(candidate, Mapping):
        return None
    host, port = candidate.get("address"), candidate.get("port")
    if not isinstance(host, str) or type(port) is not int or not 0 < port < 65536:
        return None
    if isUnusable(host):
        return None
    return canonicalHost(host), port


def admissibleCandidates(
    candidates: Sequence[_C],
    observed: Iterable[Address],
    *,
    taken: int = 0,
    takenPublic: int = 0,
) -> list[_C]:
    """
    Take from a peer's candidates those that checks may be sent to.

    @param candidates: mappings with an C{address} and a C{port}, best first.
    @param observed: what the rendezvous saw the peer's packets come from.
    @param taken: how many unobserved candidates of the same dial were taken
        before, of which C{takenPublic} were public.

    @return: some of the candidates, in the same order.
    """
    seen = {(canonicalHost(host), port) for host, port in observed}
    chosen: list[_C] = []
    for candidate in candidates:
        address = _addressOf(candidate)
        if address is None:
            continue
        if address not in seen:
            public = isPublic(address[0])
            if (
                address[1] < FIRST_PORT
                or taken >= MAX_CLAIMED
                or (public and takenPublic >= MAX_CLAIMED_PUBLIC)
            ):
                continue
            taken += 1
            takenPublic += public
        chosen.append(candidate)
    return chosen
