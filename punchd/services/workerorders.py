"""
What a worker is given to begin with.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from punchd._plugins import pluginNamed
from punchd.core import Address
from punchd.errors import InvalidOption, NoSuchPlugin
from punchd.interfaces import IAdmission
from punchd.turn.allocation import Allocation
from punchd.turn.limits import Limits, Spent
from punchd.turn.neighbours import Lodger

#: The first descriptors of a worker: the pipe, and then the sockets.
PIPE = 3
SOCKETS = 4
#: Accounts in one record.
SPENT = 200


@dataclass(frozen=True, kw_only=True)
class Orders:
    """
    It comes from the process that has made the worker, over a pair of sockets that
    nobody else has.

    @ivar number: of the worker, from 1 on.
    @ivar processes: how many there are, the one with the directory included.
    @ivar ahead: seconds between our clock and CLOCK_MONOTONIC: nonces of one process
        are read by others.
    @ivar families: of the sockets, which come as pairs, as L{punchd.net.sharing}
        says.
    @ivar hosts: public addresses by local ones.
    @ivar everywhere: the ports that are open on all hosts (RFC 5780).
    @ivar relayHosts: the local host of relayed addresses of each family; none
        without a relay.
    @ivar certificate: what is shown within TLS, with its private key, in PEM.
    """

    number: int
    processes: int
    ahead: float
    families: Sequence[int]
    observerSecret: bytes = field(repr=False)
    relaySecret: bytes = field(repr=False)
    nonceKey: bytes = field(repr=False)
    hosts: Mapping[str, str]
    ownHosts: Sequence[str]
    everywhere: Sequence[int]
    relayHosts: Mapping[int, str]
    relayPorts: tuple[int, int]
    realm: str
    limits: Limits
    peers: Callable[[str], bool]
    admissions: Sequence[tuple[str, str]]
    certificate: bytes = field(repr=False, default=b"")


def guardsOf(admissions: Sequence[tuple[str, str]], network: Any) -> list[Any]:
    """
    @param admissions: names of plugins, each with its arguments.

    @return: the guards.

    @raise punchd.errors.PunchError: one of them cannot be used.
    """
    found = []
    for number, (name, arguments) in enumerate(admissions, 1):
        try:
            plugin = pluginNamed(IAdmission, name)
        except NoSuchPlugin as e:
            raise InvalidOption(f"--admit={name}: {e}") from e
        found.append(plugin.guard(f"{name} {number}", arguments, network))
    return found


def changeOf(limits: Limits, peers: Callable[[str], bool]) -> str:
    """
    @return: what L{changed} reads.
    """
    return base64.b64encode(pickle.dumps((limits, peers))).decode("ascii")


def changed(text: str) -> tuple[Limits, Callable[[str], bool]]:
    """
    @param text: from the process that has made us, as the orders are.

    @return: the limits and the denied networks that hold now.
    """
    limits, peers = pickle.loads(base64.b64decode(text))
    return limits, peers


def recordOf(allocation: Allocation, came: bool) -> tuple[Any, ...]:
    """
    @return: what other processes are told of an allocation that came or went.
    """
    if not came:
        return ("went", *allocation.outside)
    return cameRecord(Lodger.of(allocation))


def cameRecord(lodger: Lodger) -> tuple[Any, ...]:
    """
    @return: what others are told of that relayed address.
    """
    outside, bound = lodger.outside, lodger.bound
    return ("came", *outside, *bound, *lodger.owner, lodger.network, lodger.username)


def lodgerOf(record: Sequence[Any]) -> Lodger:
    """
    @param record: what L{cameRecord} made, without its name.
    """
    host, port, boundHost, boundPort, guard, identity, network, username = record
    outside: Address = host, port
    return Lodger(outside, (boundHost, boundPort), (guard, identity), network, username)


def spentRecords(spent: list[Spent]) -> Iterator[tuple[str, list[Spent]]]:
    """
    @return: what others are told of what was passed here.
    """
    for at in range(0, len(spent), SPENT):
        yield "spent", spent[at : at + SPENT]


def spentOf(record: Sequence[Any]) -> list[Spent]:
    """
    @param record: what is in such a record, the lists of JSON for what they were.
    """
    return [
        (name, tuple(whose) if isinstance(whose, list) else whose, packets, size)
        for name, whose, packets, size in record
    ]
