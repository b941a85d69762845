"""
Tests for L{punchd.net.outlet}.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IPushProducer
from zope.interface.verify import verifyClass

from punchd.net.outlet import (
    CHUNK,
    DEAD,
    FALL,
    LEAST,
    PATIENCE,
    STALE,
    Budget,
    Outlet,
    joined,
)
from punchd.stun.stream import FrameSplitter

FRAME = b"\x40\0\3\xfc" + bytes(1020)
REQUEST = b"\0\4" + bytes(18)
SEND = b"\0\x16" + bytes(18)
MOST = 512 << 10


class Connection:
    """
    A connection with an outlet that takes what it is let.

    @ivar taken: frames that it got.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.now = 0.0
        self.taken: list[bytes] = []
        self.dropped = 0
        self.aborted = False
        self.producer: Any = None
        self.room: float = 0
        self.outlet = Outlet(self, self.take, self.seconds, MOST, self.drop, budget)
        self.outlet.open()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """
        As a transport does.
        """
        assert streaming
        self.producer = producer

    def take(self, frames: Any) -> None:
        """
        Take them, and ask for a pause when there is no more room.
        """
        self.taken += frames
        self.room -= sum(map(len, frames))
        if self.room <= 0:
            self.producer.pauseProducing()

    def goOn(self, room: float) -> None:
        """
        Take so many bytes more.
        """
        self.room = room
        self.producer.resumeProducing()

    def seconds(self) -> float:
        """
        The time.
        """
        return self.now

    def drop(self, count: int) -> None:
        """
        Count.
        """
        self.dropped += count

    def abortConnection(self) -> None:
        """
        As a transport does.
        """
        self.aborted = True


def test_interface() -> None:
    """
    A transport may pause it.
    """
    assert verifyClass(IPushProducer, Outlet)


def test_tail() -> None:
    """
    What does not fit is dropped at the tail, and no more than that; what waits
    leaves in order, and requests before it.
    """
    there = Connection()
    first = [FRAME[:-1] + bytes([n]) for n in range(100)]
    there.outlet.send([FRAME])
    there.outlet.send(first)
    assert there.taken == [FRAME]
    there.outlet.send([FRAME] * (2 * MOST // len(FRAME) - 100))
    assert there.outlet.size <= MOST
    assert there.dropped == MOST // len(FRAME)
    there.outlet.send([SEND])
    there.goOn(1)
    assert len(there.taken) - 1 == -(-CHUNK // len(FRAME))
    assert there.taken[1:65] == first[:64]
    # There is room for what comes now, though not all has left.
    dropped = there.dropped
    there.outlet.send([FRAME] * (CHUNK // len(FRAME)) + [REQUEST])
    assert there.dropped == dropped + 1
    there.goOn(1)
    there.outlet.send([REQUEST])
    there.goOn(float("inf"))
    assert there.taken[129] == REQUEST
    assert there.outlet.size == 0


@pytest.mark.parametrize("rate", [100_000, 1_000_000, 100_000_000])
def test_slow(rate: int) -> None:
    """
    However slow the connection is, what leaves has not waited for much longer than
    the limits say; and a fast one gets all.
    """
    there = Connection()
    there.outlet.pauseProducing()
    longest = 0.0
    sent = 0
    while there.now < 10.0 and sent < 20_000:
        # Twice as much as leaves, or all of it.
        stamped = [FRAME[:4] + int(1e6 * there.now).to_bytes(8, "big") + FRAME[12:]]
        there.outlet.send(stamped * (2 if rate < 10**8 else 1))
        sent += 1
        before = len(there.taken)
        there.now += len(FRAME) / rate
        if there.now - (there.outlet._since) >= CHUNK / rate:
            there.goOn(1)
        for each in there.taken[before:]:
            longest = max(longest, there.now - int.from_bytes(each[4:12], "big") / 1e6)
    bound = PATIENCE + (LEAST + 2 * CHUNK) / rate
    assert 0 < longest < (2 * bound if rate < 10**6 else 2 * PATIENCE + bound)
    if rate == 10**8:
        assert there.dropped == 0
    else:
        assert 0 < there.dropped < 1.1 * sent


def test_stale() -> None:
    """
    When nothing at all is taken for long, what waits is of no use any more.
    """
    there = Connection()
    there.outlet.send([FRAME])
    there.outlet.send([FRAME] * 10)
    there.now += STALE + 0.1
    there.outlet.send([REQUEST])
    assert there.dropped == 10
    there.goOn(1)
    assert there.taken == [FRAME, REQUEST]


def test_budget() -> None:
    """
    When too much waits for all together, what waits for those is dropped that have
    taken nothing for the longest time; if that is not enough, and they have been
    dead for long, they are ended.
    """
    budget = Budget(10 * CHUNK)
    slow, _dead, fast = crowd = [Connection(budget) for _ in range(3)]
    for each in crowd:
        each.outlet.send([FRAME])
        each.outlet.send([FRAME] * 100)
    assert budget.size == 3 * CHUNK + 300 * len(FRAME)
    for each in crowd:
        each.now = PATIENCE
    for each in (fast, slow):
        each.goOn(1)
    # 364 KiB of 640 wait now.
    fast.outlet.send([FRAME] * 300)
    assert [each.dropped for each in crowd] == [0, 100, 0]
    assert budget.size <= budget.most
    for each in crowd:
        each.now += DEAD + 1
    for each in (fast, slow):
        each.goOn(1)
    other = Connection(budget)
    other.now = slow.now
    other.outlet.send([FRAME])
    other.outlet.send([FRAME] * 200)
    assert [each.aborted for each in (*crowd, other)] == [False, True, False, False]
    assert other.outlet.size == 200 * len(FRAME)
    assert budget.size <= budget.most
    for each in (*crowd, other):
        each.outlet.closed()
    assert budget.size == len(budget) == 0


def test_crowd() -> None:
    """
    However many do not read, no more waits for all of them than the budget has, as
    long as none has to be ended for it; afterwards nothing is left.
    """
    budget = Budget(100 * CHUNK)
    crowd = [Connection(budget) for _ in range(80)]
    for _ in range(50):
        for each in crowd:
            each.outlet.send([FRAME] * 20)
            assert budget.size <= budget.most
    assert sum(each.outlet.size for each in crowd) <= 20 * CHUNK
    assert not any(each.aborted for each in crowd)
    for each in crowd:
        each.goOn(float("inf"))
    assert budget.size == len(budget) == 0


@pytest.mark.parametrize("way", ["taken", "dropped", "closed"])
def test_freed(way: str) -> None:
    """
    When much less waits than has waited, that is told, wherever it has gone; it is
    not told again, and what goes on at one level is not.
    """
    told: list[int] = []
    budget = Budget()
    budget.onFreed = told.append
    crowd = [Connection(budget) for _ in range(20)]
    for each in crowd:
        each.outlet.send([FRAME])
        each.outlet.send([FRAME] * 300)
    most = budget.size
    for _ in range(10):
        crowd[0].goOn(100)
        crowd[0].outlet.send([FRAME] * 100)
    assert told == []
    for each in crowd:
        if way == "taken":
            each.goOn(float("inf"))
        elif way == "dropped":
            each.now += STALE + 1
            each.outlet.send([REQUEST])
        else:
            each.outlet.closed()
    left = budget.size
    assert left < most / 4
    assert most - left - FALL < sum(told) <= most - left + CHUNK
    assert min(told) >= FALL


def test_gone() -> None:
    """
    What is sent to a connection that is gone goes nowhere.
    """
    there = Connection()
    there.outlet.closed()
    there.outlet.send([FRAME])
    there.outlet.resumeProducing()
    assert there.taken == []


def test_joined() -> None:
    """
    What is joined is cut into the same frames again.
    """
    frames = [b"\x40\1" + n.to_bytes(2, "big") + bytes(n) for n in (0, 1, 2, 3, 4, 4)]
    assert FrameSplitter().dataReceived(joined(frames)) == frames
