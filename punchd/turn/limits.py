"""
How much of everything: a user, a network and all users together.

Packets are not counted one by one against three limits.  Each allocation
counts what it has passed, and from time to time, at the latest after
L{INTERVAL} packets, that is charged to the accounts that the allocation belongs
to; who is in debt then waits until it is paid off.  So a limit may be exceeded
for a moment, and holds in the long run.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final

from punchd.errors import InvalidOption

from .allocation import Allocation

#: Packets that an allocation may pass before it is charged for them.
INTERVAL: Final = 32

#: The seconds that L{Quota.total} is for.
DAY: Final = 86400.0

#: Seconds between two times that other processes are told what was passed, at least.
TELL: Final = 1.0

#: What was passed: the name of the account, whose it is, packets, and bytes in them.
Spent = tuple[str, Any, int, int]

#: Accounts that are remembered although nothing is allocated under them, because
#: of the day's total.
REMEMBERED: Final = 65536


@dataclass(frozen=True, slots=True)
class Quota:
    """
    What one user, network, or all users may do.  0 is no limit.

    @ivar allocations: relayed addresses at a time.
    @ivar packets: relayed packets a second, in both directions.
    @ivar bytes: bytes in them a second.
    @ivar total: bytes in them a day.
    """

    allocations: float = 0
    packets: float = 0
    bytes: float = 0
    total: float = 0

    @property
    def meters(self) -> bool:
        """
        Whether packets have to be counted.
        """
        return bool(self.packets or self.bytes or self.total)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much of everything.

    @ivar user: of one user, renewed credentials counting as one.
    @ivar network: of one network, /24 or /56: keys are free.
    @ivar all: altogether.
    @ivar permissions: hosts an allocation.
    @ivar channels: channels an allocation.
    """

    user: Quota = field(default_factory=lambda: Quota(allocations=8))
    network: Quota = field(default_factory=lambda: Quota(allocations=256))
    all: Quota = field(default_factory=lambda: Quota(allocations=10000))
    permissions: int = 64
    channels: int = 64


_SUFFIXES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_WHOSE: Final = ("user", "network", "all")
_WHAT: Final = ("allocations", "packets", "bytes", "total")
_EACH: Final = ("permissions", "channels")


def parseLimit(value: str) -> tuple[str, float]:
    """
    @param value: such as C{user.bytes=2M}.

    @return: a name for L{limitsOf}, and the number.

    @raise InvalidOption: it is none.
    """
    name, _, number = value.partition("=")
    names = [*_EACH, *(f"{whose}.{what}" for whose in _WHOSE for what in _WHAT)]
    found = re.fullmatch(r"(\d{1,15})([kMGT]?)", number, re.ASCII)
    if name not in names or found is None:
        raise InvalidOption(
            f"--relay-limit={value}: expected NAME=NUMBER, the number with k, M, G or "
            f"T behind it or not, and one of the names {', '.join(names)}."
        )
    if name in _EACH and not int(found[1]):
        raise InvalidOption(f"--relay-limit={value}: expected at least 1.")
    return name, int(found[1]) * _SUFFIXES[found[2]]


def limitsOf(changes: Mapping[str, float]) -> Limits:
    """
    @param changes: numbers by the names that L{parseLimit} knows.

    @return: the limits, everything else as it is by default.
    """
    limits = Limits()
    for name, number in changes.items():
        whose, _, what = name.partition(".")
        value: Any = number
        if what:
            value = replace(getattr(limits, whose), **{what: number})
        limits = replace(limits, **{whose: value})
    return limits


class Account:
    """
    What is counted together.

    @ivar name: C{"user"}, C{"network"} or C{"all"}.
    @ivar key: of whom.
    @ivar allocations: how many there are.
    """

    __slots__ = (
        "_at",
        "_bytes",
        "_packets",
        "_since",
        "_used",
        "allocations",
        "key",
        "name",
        "quota",
    )

    def __init__(self, name: str, key: object, quota: Quota, now: float) -> None:
        self.name = name
        self.key: Any = key
        self.quota = quota
        self.allocations = 0
        self._packets = max(quota.packets, INTERVAL)
        self._bytes = quota.bytes
        self._at = self._since = now
        self._used = 0

    def charge(self, packets: int, size: int, now: float) -> bool:
        """
        @return: whether more may be passed now.
        """
        quota, elapsed = self.quota, now - self._at
        self._at = now
        if quota.packets:
            room = max(quota.packets, INTERVAL)
            left = self._packets + elapsed * quota.packets
            self._packets = min(left, room) - packets
        if quota.bytes:
            self._bytes = min(self._bytes + elapsed * quota.bytes, quota.bytes) - size
        if quota.total:
            if now - self._since >= DAY:
                self._since, self._used = now, 0
            self._used += size
        return not (
            (quota.packets and self._packets <= 0)
            or (quota.bytes and self._bytes <= 0)
            or self.exhausted(now)
        )

    def exhausted(self, now: float) -> bool:
        """
        @return: whether the day's total is used up.
        """
        total = self.quota.total
        return bool(total and self._used >= total and now - self._since < DAY)

    def idle(self, now: float) -> bool:
        """
        @return: whether nothing would be lost if this were forgotten.
        """
        return not self.allocations and (not self._used or now - self._since >= DAY)


class Meter:
    """
    I keep the accounts.

    @ivar elsewhere: how many allocations there are in other processes that share
        our port, by the key of the account.
    @ivar told: called with each allocation when it comes (true) and goes.
    @ivar spent: called with what was passed here and counts elsewhere as well.
    """

    def __init__(self, limits: Limits, counters: Counter[str]) -> None:
        """
        @param counters: what was refused or dropped, by reason.
        """
        self._limits = limits
        self._counters = counters
        self.elsewhere: Mapping[object, int] = {}
        self.told: Callable[[Allocation, bool], None] | None = None
        self.spent: Callable[[list[Spent]], None] | None = None
        self._untold: dict[Account, tuple[int, int]] = {}
        self._toldAt = -TELL
        self._all = Account("all", None, limits.all, 0.0)
        self._accounts: dict[object, Account] = {}
        # Those without allocations, the longest forgotten first.
        self._resting: OrderedDict[object, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def use(self, limits: Limits) -> None:
        """
        From now on these limits hold.  Users with a quota of their own keep it until
        they allocate again.
        """
        before, self._limits = self._limits, limits
        self._all.quota = limits.all
        for account in self._accounts.values():
            if account.name == "network":
                account.quota = limits.network
            elif account.quota == before.user:
                account.quota = limits.user

    def accountsOf(
        self,
        owner: tuple[str, str],
        network: str,
        own: Mapping[str, float],
        now: float,
    ) -> tuple[Account, ...]:
        """
        @param owner: the guard's name and the user's identity.
        @param own: parts of the user's L{Quota} that are not everybody's.

        @return: what an allocation would be counted for.
        """
        quota = replace(self._limits.user, **own) if own else self._limits.user
        user = self._account("user", owner, quota, now)
        others = self._account("network", network, self._limits.network, now)
        return user, others, self._all

    def refusal(
        self, accounts: tuple[Account, ...], now: float, more: int = 1
    ) -> int | None:
        """
        @param more: how many allocations are wanted.

        @return: the error code for more allocations, if they are too many
            (RFC 8656, 7.2).
        """
        for account in accounts:
            most = account.quota.allocations
            wanted = account.allocations + more + self.elsewhere.get(account.key, 0)
            if (most and wanted > most) or account.exhausted(now):
                code = 508 if account is self._all else 486
                self._counters[f"{code} by {account.name}"] += 1
                self.release(accounts, now)
                return code
        return None

    def opened(self, allocation: Allocation) -> None:
        """
        An allocation was made; C{accounts} of it are known.
        """
        for account in allocation.accounts:
            account.allocations += 1
            if account.quota.meters:
                allocation.sentDue = allocation.receivedDue = 0
        if self.told is not None:
            self.told(allocation, True)

    def closed(self, allocation: Allocation, now: float) -> None:
        """
        An allocation is no more.
        """
        self._charge(allocation, now)
        for account in allocation.accounts:
            account.allocations -= 1
        self.release(allocation.accounts, now)
        if self.told is not None:
            self.told(allocation, False)

    def release(self, accounts: tuple[Account, ...], now: float) -> None:
        """
        Forget those of the accounts that nothing is allocated under, at once or
        when their day is over.
        """
        for account in accounts[:2]:
            if account.allocations:
                continue
            if account.idle(now):
                self._resting.pop(account.key, None)
                self._accounts.pop(account.key, None)
            else:
                self._resting[account.key] = None
                self._resting.move_to_end(account.key)
        while len(self._resting) > REMEMBERED:
            self._accounts.pop(self._resting.popitem(last=False)[0])

    def passes(self, allocation: Allocation, now: float) -> bool:
        """
        Charge for what an allocation has passed since that was done last.

        @return: whether it may pass more now.
        """
        account = self._charge(allocation, now)
        if account is not None:
            self._counters[f"dropped by {account.name}"] += 1
            allocation.sentDue = allocation.receivedDue = 0
            return False
        allocation.sentDue = allocation.sentPackets + INTERVAL
        allocation.receivedDue = allocation.receivedPackets + INTERVAL
        return True

    def _charge(self, allocation: Allocation, now: float) -> Account | None:
        """
        @return: an account in debt, if there is any.
        """
        packets = allocation.sentPackets + allocation.receivedPackets
        size = allocation.sentBytes + allocation.receivedBytes
        newPackets = packets - allocation.chargedPackets
        newSize = size - allocation.chargedBytes
        allocation.chargedPackets, allocation.chargedBytes = packets, size
        found = None
        for account in allocation.accounts:
            if not account.quota.meters:
                continue
            if not account.charge(newPackets, newSize, now):
                found = found or account
            if newPackets and self._countsElsewhere(account):
                before = self._untold.get(account, (0, 0))
                self._untold[account] = before[0] + newPackets, before[1] + newSize
        if self._untold and now - self._toldAt >= TELL and self.spent is not None:
            self._toldAt = now
            untold, self._untold = self._untold, {}
            self.spent([(*each.key, *sums) for each, sums in untold.items()])
        return found

    def _countsElsewhere(self, account: Account) -> bool:
        if self.spent is None or account is self._all:
            return False
        return bool(account.quota.total or self.elsewhere.get(account.key))

    def spentElsewhere(self, spent: Iterable[Spent], now: float) -> None:
        """
        Charge for what other processes have passed.
        """
        for name, whose, packets, size in spent:
            account = self._accounts.get((name, whose))
            if account is None:
                # It may come here when it has used up its day elsewhere.
                account = self._account(name, whose, Quota(total=inf), now)
            account.charge(packets, size, now)
            self.release((account,), now)

    def _account(self, name: str, of: object, quota: Quota, now: float) -> Account:
        key = (name, of)
        self._resting.pop(key, None)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(name, key, quota, now)
        account.quota = quota
        return account
