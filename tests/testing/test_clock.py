"""
Virtual time.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from zope.interface.verify import verifyClass

from punchd.testing.clock import SimulationStuck, SimulationTimeout, VirtualClock
from punchd.testing.timedcall import TimedCall


def testInterfaces() -> None:
    """The clock and its calls provide what Twisted's do."""
    assert verifyClass(IReactorTime, VirtualClock)
    assert verifyClass(IDelayedCall, TimedCall)


def testCallsRunInOrderAtTheirOwnTimes() -> None:
    """Calls run by time, then by age, each seeing its own time."""
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []
    for name, delay in (("b", 2.0), ("a", 1.0), ("c", 2.0)):
        clock.callLater(delay, lambda n: seen.append((n, clock.seconds())), name)
    clock.advance(5)
    assert seen == [("a", 1.0), ("b", 2.0), ("c", 2.0)]
    assert clock.seconds() == 5.0
    assert clock.getDelayedCalls() == []


def testSelfReschedulingRunsEachTime() -> None:
    """Unlike with task.Clock, ten seconds hold ten one-second calls."""
    clock = VirtualClock()
    times: list[float] = []
    loop = LoopingCall(lambda: times.append(clock.seconds()))
    loop.clock = clock
    loop.start(1.0, now=False)
    clock.advance(10)
    loop.stop()
    assert times == [float(n) for n in range(1, 11)]


def testCancel() -> None:
    """A cancelled call does not run, and cannot be cancelled twice."""
    clock = VirtualClock()
    ran: list[int] = []
    call = clock.callLater(1, ran.append, 1)
    assert call.active()
    call.cancel()
    assert not call.active()
    clock.advance(2)
    assert ran == []
    with pytest.raises(AlreadyCancelled):
        call.cancel()


def testCalledCannotBeMoved() -> None:
    """A call that was made is over."""
    clock = VirtualClock()
    call = clock.callLater(1, lambda: None)
    clock.advance(1)
    with pytest.raises(AlreadyCalled):
        call.reset(1)
    with pytest.raises(AlreadyCalled):
        call.cancel()


@pytest.mark.parametrize("later", [0.5, 1.0, 7.0])
def testResetCountsFromNow(later: float) -> None:
    """reset() means from now, be that earlier or later than before."""
    clock = VirtualClock()
    times: list[float] = []
    call = clock.callLater(3, lambda: times.append(clock.seconds()))
    clock.advance(1)
    call.reset(later)
    assert call.getTime() == 1 + later
    clock.advance(20)
    assert times == [1 + later]


def testDelayAddsToWhatWas() -> None:
    """delay() means later than it was due."""
    clock = VirtualClock()
    times: list[float] = []
    call = clock.callLater(3, lambda: times.append(clock.seconds()))
    clock.advance(1)
    call.delay(2)
    clock.advance(20)
    assert times == [5]


def testNegativeDelayIsRefused() -> None:
    """As on a reactor, nothing can be called in the past."""
    with pytest.raises(AssertionError, match="is not a delay"):
        VirtualClock().callLater(-0.1, lambda: None)


def testManyCancelledCallsAreForgotten() -> None:
    """Cancelled calls do not stay in memory until their time comes."""
    clock = VirtualClock()
    for _ in range(10_000):
        clock.callLater(1000, lambda: None).cancel()
    clock.callLater(1, lambda: None)
    assert len(clock._heap) < 2500
    assert len(clock.getDelayedCalls()) == 1


def testAdvanceToNextFinishesOneInstant() -> None:
    """A step takes everything that is due at once, and what that schedules."""
    clock = VirtualClock()
    seen: list[str] = []
    clock.callLater(1, lambda: clock.callLater(0, seen.append, "chained"))
    clock.callLater(1, seen.append, "beside")
    clock.callLater(2, seen.append, "later")
    assert clock.advanceToNext()
    assert (seen, clock.seconds()) == (["beside", "chained"], 1.0)
    assert clock.advanceToNext()
    assert not clock.advanceToNext()
    assert seen[-1] == "later"


def testEndlessInstantIsNamed() -> None:
    """A call that reschedules itself with no delay ends in an error naming it."""
    clock = VirtualClock()
    clock.stepsPerInstant = 500

    def again() -> None:
        clock.callLater(0, again)

    again()
    with pytest.raises(SimulationStuck, match=r"500 calls at 0.0+ s.*again"):
        clock.advance(1)


def testRunUntilDeferred() -> None:
    """Time stops where the Deferred fires."""
    clock = VirtualClock()
    clock.callLater(3, lambda: None)
    assert clock.runUntil(deferLater(clock, 2, lambda: "it")) == "it"
    assert clock.seconds() == 2.0


def testRunUntilFailureRaises() -> None:
    """A failure comes out as the exception it is."""
    with pytest.raises(KeyError):
        VirtualClock().runUntil(fail(KeyError("it")))


def testRunUntilCoroutine() -> None:
    """A coroutine is waited for as a Deferred is."""
    clock = VirtualClock()

    async def twice() -> float:
        await deferLater(clock, 1)
        await deferLater(clock, 1)
        return clock.seconds()

    assert clock.runUntil(twice()) == 2.0


def testRunUntilPredicate() -> None:
    """A function is asked after every call, and its answer returned."""
    clock = VirtualClock()
    seen: list[int] = []
    for n in range(5):
        clock.callLater(n, seen.append, n)
    assert clock.runUntil(lambda: len(seen) == 3 and seen) == [0, 1, 2]
    assert clock.seconds() == 2.0


def testRunUntilGivesUp() -> None:
    """The error names what was still to come."""
    clock = VirtualClock()
    loop = LoopingCall(lambda: None)
    loop.clock = clock
    loop.start(1.0)
    with pytest.raises(
        SimulationTimeout, match=r"(?s)not within 5 s.*LoopingCall"
    ) as info:
        clock.runUntil(Deferred(), timeout=5)
    assert "at 5.0" in str(info.value)
    loop.stop()


def testRunUntilNothingLeft() -> None:
    """With nothing scheduled there is nothing to wait for."""
    with pytest.raises(SimulationTimeout, match="nothing is left"):
        VirtualClock().runUntil(Deferred())


def testRaisingCallIsLogged(hygiene: Any) -> None:
    """An exception does not stop time; it is logged, kept and reported."""
    clock = VirtualClock()
    clock.callLater(1, lambda: 1 // 0)
    with pytest.raises(SimulationTimeout, match="ZeroDivisionError"):
        clock.runUntil(Deferred())
    assert [failure.type for failure in clock.failures] == [ZeroDivisionError]
    assert len(hygiene.flush(ZeroDivisionError)) == 1
