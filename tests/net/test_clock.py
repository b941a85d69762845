"""
Time that does not jump.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from punchd.net import clock
from punchd.net.clock import SleepDetector, bootTime, makeMonotonic


class Times:
    """
    A wall clock and a monotonic clock.
    """

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.steady = 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    """
    The clocks that new reactors and L{makeMonotonic} see.
    """
    times = Times()
    monkeypatch.setattr(time, "monotonic", lambda: times.steady)
    monkeypatch.setattr(ReactorBase, "seconds", staticmethod(lambda: times.wall))
    return times


def test_plainReactorFreezes(times: Times) -> None:
    """
    What this module is for: a reactor's call waits longer when the wall clock
    is set back.
    """
    reactor = SelectReactor()
    ran: list[int] = []
    reactor.callLater(10, ran.append, 1)
    times.pass_(11)
    times.wall -= 3600
    reactor.runUntilCurrent()
    assert ran == []
    assert reactor.timeout() == pytest.approx(3599)
    closeReactor(reactor)


@pytest.mark.parametrize("step", [-3600, 3600])
def test_scheduledAfterwards(times: Times, step: float) -> None:
    """
    A call made with the monotonic clock is due after seconds that passed,
    however the wall clock is set; so is one that was reset or delayed.
    """
    reactor = makeMonotonic(SelectReactor())
    ran: list[int] = []
    reactor.callLater(10, ran.append, 1)
    reactor.callLater(1, ran.append, 2).reset(20)
    reactor.callLater(10, ran.append, 3).delay(20)
    times.wall += step
    times.pass_(9)
    reactor.runUntilCurrent()
    assert ran == []
    assert reactor.timeout() == pytest.approx(1)
    times.pass_(1)
    reactor.runUntilCurrent()
    assert ran == [1]
    times.pass_(10)
    reactor.runUntilCurrent()
    assert ran == [1, 2]
    times.pass_(10)
    reactor.runUntilCurrent()
    assert ran == [1, 2, 3]
    closeReactor(reactor)


def test_scheduledBefore(times: Times) -> None:
    """
    A call that was scheduled with the old clock stays due, and can be reset.
    """
    reactor = SelectReactor()
    ran: list[int] = []
    reactor.callLater(10, ran.append, 1)
    moved = reactor.callLater(10, ran.append, 2)
    makeMonotonic(reactor)
    times.wall -= 3600
    moved.reset(15)
    times.pass_(10)
    reactor.runUntilCurrent()
    assert ran == [1]
    times.pass_(5)
    reactor.runUntilCurrent()
    assert ran == [1, 2]
    closeReactor(reactor)


def test_startsAtTheWallClock(times: Times) -> None:
    """
    The new clock starts at the date, so that logs keep their meaning, and it is
    set up once.
    """
    reactor = makeMonotonic(SelectReactor())
    assert reactor.seconds() == times.wall
    times.wall += 99
    times.pass_(1)
    assert makeMonotonic(reactor) is reactor
    assert reactor.seconds() == times.wall - 99
    closeReactor(reactor)


def test_otherClocks() -> None:
    """
    A clock that is no reactor is left alone.
    """
    other = Clock()
    assert makeMonotonic(other) is other
    other.advance(5)
    assert other.seconds() == 5


def closeReactor(reactor: Any) -> None:
    """
    Close the descriptors of a reactor that never ran.
    """
    for reader in reactor.removeAll():
        reader.connectionLost(None)


def test_bootTime(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The clock that counts sleep is read.
    """
    monkeypatch.setattr(time, "clock_gettime", lambda which: 7.0 + which)
    assert bootTime() == 7.0 + clock._BOOT_CLOCK


def detector() -> tuple[Clock, dict[str, float], list[float], SleepDetector]:
    """
    A started detector, its clock, the time slept so far and what it told.
    """
    clock, slept = Clock(), {"seconds": 0.0}
    told: list[float] = []
    made = SleepDetector(
        clock,
        told.append,
        bootTime=lambda: clock.seconds() + 1000 + slept["seconds"],
        interval=5,
    )
    made.start()
    return clock, slept, told, made


def test_sleep() -> None:
    """
    A sleep is told once, with its length, at the next look.
    """
    clock, slept, told, made = detector()
    clock.pump([5, 5])
    slept["seconds"] += 600
    clock.pump([4.9])
    assert told == []
    clock.pump([0.1, 5, 5])
    assert told == [600]
    made.stop()
    assert clock.getDelayedCalls() == []


def test_sleepCheckedAtOnce() -> None:
    """
    A look can be had at once, before the next regular one.
    """
    clock, slept, told, made = detector()
    slept["seconds"] += 30
    assert made.check() == 30
    assert made.check() == 0
    clock.advance(5)
    assert told == [30]
    made.stop()
    slept["seconds"] += 30
    assert made.check() == 0
    assert told == [30]


def test_jitterIsNoSleep() -> None:
    """
    Small differences between the clocks are not taken for a sleep.
    """
    clock, slept, told, made = detector()
    for _ in range(5):
        slept["seconds"] += 0.9
        clock.advance(5)
    assert told == []
    made.stop()
