"""
Limits that hold for several processes together.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from punchd.core import Address
from punchd.stun.attributes import Attribute
from punchd.turn.channeldata import channelData
from punchd.turn.limits import INTERVAL, Limits, Quota, Spent
from punchd.turn.neighbours import Lodger, NeighbouredServer, Neighbours
from tests.turn.link import PEER, Link, Raw

_CHANNEL = 0x4000
_FREE = Quota()


class Processes:
    """
    Two relays that share a port, and hear at once what the other one tells.

    @ivar told: how often anything was told of what was passed.
    """

    def __init__(self, user: Quota = _FREE, network: Quota = _FREE) -> None:
        self.told = 0
        self.known = [Neighbours(), Neighbours()]
        limits = Limits(user=user, network=network)
        self.links = [self._make(number, limits) for number in (0, 1)]

    def _make(self, number: int, limits: Limits) -> Link:
        neighbours = self.known[1 - number]

        def told(allocation: Any, came: bool) -> None:
            if came:
                neighbours.came(Lodger.of(allocation))
            else:
                neighbours.went(allocation.outside)

        def spent(spent: list[Spent]) -> None:
            self.told += 1
            other: Any = self.links[1 - number]
            other.server.spentElsewhere(spent, other.now)

        make = partial(NeighbouredServer, self.known[number], told, None, spent)
        return Link(make=make, limits=limits, nonceKey=bytes(32))

    def client(self, number: int, address: Address) -> Raw:
        """
        @return: a client of that process, with a channel.
        """
        raw = Raw(self.links[number], address)
        assert raw.allocate().get(Attribute.ERROR_CODE) is None
        assert raw.bind(_CHANNEL, PEER) == 0
        return raw

    def wait(self, seconds: float) -> None:
        """
        Let time pass.
        """
        for each in self.links:
            each.now += seconds


def _passed(raw: Raw, count: int, size: int = 10) -> int:
    return sum(len(raw.send(channelData(_CHANNEL, bytes(size)))) for _ in range(count))


@pytest.mark.parametrize("whose", ["user", "network"])
@pytest.mark.parametrize(
    ("quota", "size"), [(Quota(packets=100), 10), (Quota(bytes=10000), 100)]
)
def test_rates(whose: str, quota: Quota, size: int) -> None:
    """
    Who sends through both processes has one rate, in the long run; and all of it
    through one of them, when the other one is quiet.
    """
    processes = Processes(**{whose: quota})
    raws = [processes.client(n, ("198.51.100.7", 1000 + n)) for n in (0, 1)]
    total = 0
    for _ in range(120):
        total += sum(_passed(each, 20, size) for each in raws)
        processes.wait(0.1)
    # 12 s; the burst of the beginning was had in both, until the first one told.
    assert 1200 - 2 * INTERVAL <= total <= 1200 + 3 * 100 + 4 * INTERVAL
    late = 0
    for _ in range(100):
        late += sum(_passed(each, 20, size) for each in raws)
        processes.wait(0.1)
    assert 1000 - 150 <= late <= 1000 + 150
    assert processes.told <= 50
    processes.wait(5)
    alone = 0
    for _ in range(100):
        alone += _passed(raws[0], 20, size)
        processes.wait(0.1)
    assert alone >= 900


def test_day() -> None:
    """
    Who has used up his day in one process gets nothing in the other one, even if he
    was never there.
    """
    processes = Processes(user=Quota(total=10000))
    first = processes.client(0, ("198.51.100.7", 1))
    for _ in range(40):
        _passed(first, INTERVAL, 100)
        processes.wait(1)
    assert first.code(4, (Attribute.LIFETIME, 0)) == 0
    other = Raw(processes.links[1], ("198.51.100.8", 2))
    assert other.allocate().get(Attribute.ERROR_CODE)[0] == 486
    processes.wait(86400)
    assert (
        Raw(processes.links[1], ("198.51.100.8", 3))
        .allocate()
        .get(Attribute.ERROR_CODE)
        is None
    )


def test_nothingIsTold() -> None:
    """
    Nothing is told of who is in one process only, or has no limits.
    """
    processes = Processes(user=Quota(packets=100))
    raw = processes.client(0, ("198.51.100.7", 1))
    _passed(raw, 500)
    assert processes.told == 0
    free = Processes()
    for number in (0, 1):
        _passed(free.client(number, ("198.51.100.7", number + 1)), 500)
    assert free.told == 0
