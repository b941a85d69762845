"""
Where the relay looks up allocations.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Protocol

from punchd.core import Address

from .allocation import Allocation
from .limits import Meter
from .transport import withoutTransport

_NEVER: Final = math.inf


class RelayPorts(Protocol):
    """
    Where relayed addresses come from: the shell's sockets.
    """

    @property
    def families(self) -> Collection[int]:
        """
        @return: of 4 and 6, those in which ports can be had.
        """

    def open(self, family: int, even: bool = False, number: int = 0) -> Address | None:
        """
        Open a UDP port whose datagrams come to the server with this address
        as C{local}.

        @param family: 4 or 6.
        @param even: whether the port's number has to be even.
        @param number: which one it has to be; 0 for any.

        @return: the bound address, with a host that is no wildcard; L{None}
            when there is no port to be had.
        """

    def close(self, address: Address) -> None:
        """
        Close a port that was opened.
        """


#: How often an even port is tried whose successor is taken.
_PAIRS: Final = 8


class AllocationTable:
    """
    I keep the allocations.

    @ivar clients: by listening address and transport, then by client.
    @ivar relays: by the relayed address as it is bound.
    @ivar outside: by the relayed address as peers see it.
    @ivar outsideHosts: the hosts in C{outside}, counted.
    @ivar ownHosts: the hosts of this machine that have been heard of.
    @ivar elsewhere: relayed addresses of other processes that share our port, as
        peers see them, with where they are bound.
    @ivar due: when L{takeExpired} will have something; infinite if never.
    """

    def __init__(
        self,
        ports: RelayPorts,
        meter: Meter,
        external: Mapping[str, str],
        ownHosts: Iterable[str] = (),
    ) -> None:
        """
        @param meter: told what comes and goes.
        @param external: the public host of each local one that differs.
        """
        self._ports = ports
        self._meter = meter
        self._external = dict(external)
        self.ownHosts = {*ownHosts, *external, *external.values()}
        self.clients: dict[Address, dict[Address, Allocation]] = {}
        self.relays: dict[Address, Allocation] = {}
        self.outside: dict[Address, Allocation] = {}
        self.outsideHosts: Counter[str] = Counter()
        self._reserved: dict[bytes, Allocation] = {}
        # Allocations by the second they expire in, and those seconds.
        self._wheel: dict[int, dict[Allocation, None]] = {}
        self._seconds: list[int] = []
        self.elsewhere: Mapping[Address, Address] = {}
        self.due = _NEVER

    def __len__(self) -> int:
        return len(self.relays)

    def find(self, local: Address, client: Address) -> Allocation | None:
        """
        @return: the allocation of that 5-tuple.
        """
        clients = self.clients.get(local)
        return None if clients is None else clients.get(client)

    def isLive(self, outside: Address) -> bool:
        """
        @return: whether that is a relayed address, here or in another process.
        """
        return outside in self.outside or outside in self.elsewhere

    @property
    def families(self) -> Collection[int]:
        """
        Of 4 and 6, those in which there are relayed addresses.
        """
        return self._ports.families

    def openPort(
        self, family: int, even: bool = False, number: int = 0
    ) -> Address | None:
        """
        @return: an address for L{add}, if there is one.
        """
        return self._ports.open(family, even, number)

    def openPair(self, family: int) -> tuple[Address, Address] | None:
        """
        @return: an address with an even port and the one after it.
        """
        for _ in range(_PAIRS):
            first = self._ports.open(family, True)
            if first is None:
                return None
            second = self._ports.open(family, number=first[1] + 1)
            if second is not None:
                return first, second
            self._ports.close(first)
        return None

    def outsideOf(self, relayed: Address) -> Address:
        """
        @return: how peers see that address.
        """
        return self._external.get(relayed[0], relayed[0]), relayed[1]

    def add(self, allocation: Allocation) -> None:
        """
        Take in an allocation that has expired already: L{extend} it.
        """
        local, outside = allocation.local, allocation.outside
        if not allocation.reserved:
            # Of twins, the first one is found here.
            clients = self.clients.setdefault(local, {})
            clients.setdefault(allocation.client, allocation)
        self.relays[allocation.relayed] = allocation
        self.outside[outside] = allocation
        self.outsideHosts[outside[0]] += 1
        for host in (withoutTransport(local)[0], allocation.relayed[0], outside[0]):
            self.ownHosts.add(host)
        self._meter.opened(allocation)

    def reserve(self, token: bytes, allocation: Allocation, expires: float) -> None:
        """
        Keep an address for who shows the token.
        """
        allocation.reserved, allocation.token = True, token
        self._reserved[token] = allocation
        self.add(allocation)
        self.extend(allocation, expires)

    def reservation(self, token: bytes) -> Allocation | None:
        """
        @return: what is reserved under the token.
        """
        return self._reserved.get(token)

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

    def remove(self, allocation: Allocation, now: float, keep: bool = False) -> None:
        """
        Take an allocation out.

        @param keep: whether its port stays open, for another one.
        """
        self._forget(allocation)
        allocation.endWays()
        twin = allocation.part()
        if allocation.reserved and allocation.token is not None:
            del self._reserved[allocation.token]
        else:
            clients = self.clients[allocation.local]
            if twin is not None:
                clients[allocation.client] = twin
            else:
                del clients[allocation.client]
                if not clients:
                    del self.clients[allocation.local]
        del self.relays[allocation.relayed]
        del self.outside[allocation.outside]
        _lessen(self.outsideHosts, allocation.outside[0])
        self._meter.closed(allocation, now)
        if not keep:
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


def _lessen(counter: Counter[str], key: str) -> None:
    """
    Count down, and keep no zeros.
    """
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
