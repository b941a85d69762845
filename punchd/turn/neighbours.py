"""
A relay of several processes that share a port.

Each has its own clients and their relayed addresses, and is told of those of the
others: how many count for whom, and where they are bound.  What is sent to a
relayed address of another process goes there through the kernel.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from punchd.core import Address, Burst, Datagram
from punchd.stun.address import family, prefixOf

from .allocation import Allocation, Channel
from .claims import Claim, Claims, Reserved
from .limits import Limits, Quota, Spent
from .runs import Bursts, RunServer
from .unheard import Early, Unheard


@dataclass(frozen=True, slots=True)
class Lodger:
    """
    A relayed address of some process.

    @ivar outside: as peers see it.
    @ivar bound: as its socket is bound.
    @ivar owner: the guard's name and the user's identity.
    @ivar network: that it is counted for.
    @ivar username: whose it is.
    """

    outside: Address
    bound: Address
    owner: tuple[str, str]
    network: str
    username: str

    @classmethod
    def of(cls, allocation: Allocation) -> Lodger:
        """
        @return: what the other processes have to know.
        """
        guard, username = allocation.guard, allocation.username
        return cls(
            allocation.outside,
            allocation.relayed,
            (guard.name, guard.identityOf(username)),
            prefixOf(allocation.client[0]),
            username,
        )

    @property
    def accounts(self) -> tuple[object, ...]:
        """
        The keys of what it is counted for.
        """
        return ("user", self.owner), ("network", self.network), None


class Neighbours:
    """
    I know what the other processes have.

    @ivar live: where their relayed addresses are bound, by what peers see.
    @ivar counts: how many there are by account.
    """

    def __init__(self) -> None:
        self.live: dict[Address, Address] = {}
        self.counts: Counter[object] = Counter()
        self._lodgers: dict[Address, Lodger] = {}

    def came(self, lodger: Lodger) -> None:
        """
        There is one more.
        """
        self.went(lodger.outside)
        self._lodgers[lodger.outside] = lodger
        self.live[lodger.outside] = lodger.bound
        self.counts.update(lodger.accounts)

    def went(self, outside: Address) -> Lodger | None:
        """
        One is no more.

        @return: what it was, if it was known.
        """
        lodger = self._lodgers.pop(outside, None)
        if lodger is None:
            return None
        del self.live[outside]
        for account in lodger.accounts:
            self.counts[account] -= 1
            if not self.counts[account]:
                del self.counts[account]
        return lodger


class NeighbouredServer(RunServer):
    """
    I am the relay of one process out of several.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        told: Callable[[Allocation, bool], None],
        claims: Claims | None = None,
        spent: Callable[[list[Spent]], None] | None = None,
        **options: Any,
    ) -> None:
        """
        @param told: called with each allocation when it comes (true) and goes.
        @param claims: brings what another process has reserved.
        @param spent: called now and then with what others have to charge, too.
        """
        super().__init__(**options)
        self._live = self._table.elsewhere = neighbours.live
        self._meter.elsewhere = neighbours.counts
        self._meter.told = told
        self._meter.spent = spent
        self._claims = self._allocating.claims = claims
        self._unheard = self._methods.unheard = Unheard()

    def came(self, outside: Address, now: float) -> None:
        """
        Another process has told of a relayed address.
        """
        self._resume(self._unheard.heard(outside), now)

    def timeReached(self, now: float) -> None:
        """
        @see: L{Server.timeReached}.
        """
        super().timeReached(now)
        if self._unheard.due <= now:
            self._unheard.late = True
            self._resume(self._unheard.overdue(now), now)
            self._unheard.late = False

    def deadline(self) -> float | None:
        """
        @see: L{Server.deadline}.
        """
        due = min(self._table.due, self._unheard.due)
        return None if due == math.inf else due

    def _resume(self, requests: list[Early], now: float) -> None:
        for each in requests:
            self.messageReceived(each.request, each.local, each.remote, now)

    def spentElsewhere(self, spent: list[Spent], now: float) -> None:
        """
        Another process has passed so much.
        """
        self._meter.spentElsewhere(spent, now)

    def cede(self, claim: Claim, now: float) -> Reserved | None:
        """
        Another process was shown a token of ours.

        @return: what was reserved for that user; it is closed here.
        """
        reserved = self._table.reservation(claim.token)
        if reserved is None or claim[1:] != (reserved.guard.name, reserved.username):
            return None
        self._table.remove(reserved, now)
        seconds = max(0.0, reserved.expires - now)
        return Reserved(reserved.family, reserved.relayed[1], seconds)

    def ceded(self, claim: Claim, found: Reserved | None, now: float) -> None:
        """
        The owner of a token has answered: so do we.
        """
        if self._claims is None:
            return
        waiting = self._claims.take(claim)
        if waiting and found is not None:
            self._allocating.keep(found, waiting[0], now)
        for each in waiting:
            self.messageReceived(each.request, each.local, each.remote, now)
        self._claims.settle()

    def disconnected(self, local: Address, client: Address, now: float) -> None:
        """
        @see: L{Server.disconnected}.
        """
        if self._claims is not None:
            self._claims.forget(local, client)
        self._unheard.forget(local, client)
        super().disconnected(local, client, now)

    def _deliver(
        self, sender: Allocation, data: bytes, peer: Address, now: float
    ) -> None:
        bound = self._live.get(peer)
        origin = None if bound is None else sender.of(family(peer))
        if bound is None or origin is None:
            super()._deliver(sender, data, peer, now)
        else:
            self._datagrams.append(Datagram(data, origin.relayed, bound))

    def _pass(
        self,
        allocation: Allocation,
        channel: Channel,
        payloads: list[bytes],
        now: float,
        bursts: Bursts,
    ) -> None:
        bound = self._live.get(channel.peer) if channel.own else None
        if bound is None:
            super()._pass(allocation, channel, payloads, now, bursts)
        else:
            self._datagrams.append(Burst(payloads, channel.relayed, bound))


def shareOf(limits: Limits, processes: int) -> Limits:
    """
    @return: what one process may let pass so that all of them keep the limits for
        everybody.  Allocations are counted together, so their number stays.
    """
    every = limits.all
    return replace(
        limits,
        all=Quota(
            every.allocations,
            every.packets / processes,
            every.bytes / processes,
            every.total / processes,
        ),
    )
