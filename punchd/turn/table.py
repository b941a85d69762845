"""
Where the relay looks up allocations, and how many there may be.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from punchd.core import Address
from punchd.stun.address import prefixOf

from .allocation import Allocation
from .guards import Guard
from .transport import withoutTransport

_NEVER: Final = math.inf

_Key = TypeVar("_Key")


class RelayPorts(Protocol):
    """
    Where relayed addresses come from: the shell's sockets.
    """

    def open(self, family: int, even: bool = False) -> Address | None:
        """
        Open a UDP port whose datagrams come to the server with this address
        as C{local}.

        @param family: 4 or 6.
        @param even: whether the port's number has to be even.

        @return: the bound address, with a host that is no wildcard; L{None}
            when there is no port to be had.
        """

    def close(self, address: Address) -> None:
        """
        Close a port that was opened.
        """


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much of everything.

    @ivar allocations: altogether.
    @ivar perUser: allocations a user, renewed credentials counting as one.
    @ivar perPrefix: allocations of one network, /24 or /56: keys are free.
    @ivar permissions: hosts an allocation.
    @ivar channels: channels an allocation.
    """

    allocations: int = 10000
    perUser: int = 8
    perPrefix: int = 256
    permissions: int = 64
    channels: int = 64


class AllocationTable:
    """
    I keep the allocations.

    @ivar clients: by listening address and transport, then by client.
    @ivar relays: by the relayed address as it is bound.
    @ivar outside: by the relayed address as peers see it.
    @ivar outsideHosts: the hosts in C{outside}, counted.
    @ivar ownHosts: the hosts of this machine that have been heard of.
    @ivar due: when L{takeExpired} will have something; infinite if never.
    """

    def __init__(
        self,
        ports: RelayPorts,
        limits: Limits,
        external: Mapping[str, str],
        ownHosts: Iterable[str] = (),
    ) -> None:
        """
        @param external: the public host of each local one that differs.
        """
        self._ports = ports
        self._limits = limits
        self._external = dict(external)
        self.ownHosts = {*ownHosts, *external, *external.values()}
        self.clients: dict[Address, dict[Address, Allocation]] = {}
        self.relays: dict[Address, Allocation] = {}
        self.outside: dict[Address, Allocation] = {}
        self.outsideHosts: Counter[str] = Counter()
        self._users: Counter[tuple[str, str]] = Counter()
        self._prefixes: Counter[str] = Counter()
        # Allocations by the second they expire in, and those seconds.
        self._wheel: dict[int, dict[Allocation, None]] = {}
        self._seconds: list[int] = []
        self.due = _NEVER

    def __len__(self) -> int:
        return len(self.relays)

    def find(self, local: Address, client: Address) -> Allocation | None:
        """
        @return: the allocation of that 5-tuple.
        """
        clients = self.clients.get(local)
        return None if clients is None else clients.get(client)

    def refusal(self, guard: Guard, username: str, client: Address) -> int | None:
        """
        @return: the error code for one more allocation, if it is too many
            (RFC 8656, 7.2).
        """
        if self._users[_owner(guard, username)] >= self._limits.perUser:
            return 486
        if self._prefixes[prefixOf(client[0])] >= self._limits.perPrefix:
            return 486
        if len(self.relays) >= self._limits.allocations:
            return 508
        return None

    def open(
        self,
        guard: Guard,
        username: str,
        key: bytes,
        local: Address,
        client: Address,
        family: int,
        even: bool,
        transactionId: bytes,
    ) -> Allocation | None:
        """
        Make an allocation that has expired already: L{extend} it.

        @return: the allocation, or L{None} when there is no port.
        """
        relayed = self._ports.open(family, even)
        if relayed is None:
            return None
        outside = (self._external.get(relayed[0], relayed[0]), relayed[1])
        allocation = Allocation(
            guard, username, key, local, client, relayed, outside, family, transactionId
        )
        self.clients.setdefault(local, {})[client] = allocation
        self.relays[relayed] = allocation
        self.outside[outside] = allocation
        self.outsideHosts[outside[0]] += 1
        self.ownHosts.update((withoutTransport(local)[0], relayed[0], outside[0]))
        self._users[_owner(guard, username)] += 1
        self._prefixes[prefixOf(client[0])] += 1
        return allocation

    def extend(self, allocation: Allocation, expires: float) -> None:
        """
        Let an allocation live until C{expires}.
        """
        self._forget(allocation)
        allocation.expires = expires
        second = math.ceil(expires)
        bucket = self._wheel.get(second)
        if bucket is None:
            bucket = self._wheel[second] = {}
            heapq.heappush(self._seconds, second)
            self.due = self._seconds[0]
        bucket[allocation] = None

    def remove(self, allocation: Allocation) -> None:
        """
        Take an allocation out and close its port.
        """
        self._forget(allocation)
        clients = self.clients[allocation.local]
        del clients[allocation.client]
        if not clients:
            del self.clients[allocation.local]
        del self.relays[allocation.relayed]
        del self.outside[allocation.outside]
        _lessen(self.outsideHosts, allocation.outside[0])
        _lessen(self._users, _owner(allocation.guard, allocation.username))
        _lessen(self._prefixes, prefixOf(allocation.client[0]))
        self._ports.close(allocation.relayed)

    def takeExpired(self, now: float) -> list[Allocation]:
        """
        @return: the allocations whose time is over; they are to be removed.
        """
        found: list[Allocation] = []
        while self._seconds and self._seconds[0] <= now:
            found.extend(self._wheel.pop(heapq.heappop(self._seconds)))
        self.due = self._seconds[0] if self._seconds else _NEVER
        return found

    def _forget(self, allocation: Allocation) -> None:
        # An emptied second stays until it comes; there are only so many.
        bucket = self._wheel.get(math.ceil(allocation.expires))
        if bucket is not None:
            bucket.pop(allocation, None)


def _owner(guard: Guard, username: str) -> tuple[str, str]:
    """
    @return: whom limits are counted for: equal names of two guards are two.
    """
    return guard.name, guard.identityOf(username)


def _lessen(counter: Counter[_Key], key: _Key) -> None:
    """
    Count down, and keep no zeros.
    """
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
