"""
The one loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from punchd.core import Address, Datagram
from punchd.interfaces import IBatchReceiver
from punchd.net.driver import Driver

HERE = ("192.0.2.1", 1)
THERE = ("192.0.2.2", 2)


class Script:
    """
    A core that records how it is called and gives what it is told to.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.datagrams: list[Datagram] = []
        self.events: list[object] = []
        self.due: float | None = None
        self.onTime: Callable[[float], None] = lambda now: None

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        self.calls.append(("datagram", data, local, remote, now))
        if data == b"bad":
            raise RuntimeError("bad")
        self.events.append(data)

    def timeReached(self, now: float) -> None:
        self.calls.append(("time", now))
        self.onTime(now)

    def say(self, word: bytes, now: float) -> str:
        self.calls.append(("say", word, now))
        self.datagrams.append(Datagram(word, HERE, THERE))
        return word.decode()

    def takeDatagrams(self) -> list[Datagram]:
        taken, self.datagrams = self.datagrams, []
        return taken

    def takeEvents(self) -> list[object]:
        taken, self.events = self.events, []
        return taken

    def deadline(self) -> float | None:
        return self.due


class World:
    """
    A driven script, and what came out of it.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.core = Script()
        self.log: list[object] = []
        self.handle: Callable[[Any], None] = lambda event: None
        self.driver = Driver(self.core, self.send, self.deliver, self.clock)

    def send(self, datagrams: Any) -> None:
        self.log.append(("sent", *[d.data for d in datagrams]))

    def deliver(self, event: object) -> None:
        self.log.append(event)
        self.handle(event)

    def due(self) -> list[float]:
        return [call.getTime() for call in self.clock.getDelayedCalls()]


@pytest.fixture
def world() -> World:
    """
    A driver over a script.
    """
    return World()


def test_provides(world: World) -> None:
    """
    A driver can be given to a port as its receiver.
    """
    assert verifyObject(IBatchReceiver, world.driver)


def test_datagram(world: World) -> None:
    """
    A datagram reaches the core with the time; its event comes out.
    """
    world.clock.advance(3)
    world.driver.datagramReceived(b"x", HERE, THERE)
    assert world.core.calls == [("datagram", b"x", HERE, THERE, 3)]
    assert world.log == [b"x"]


def test_batchDrainsOnce(world: World) -> None:
    """
    A batch is fed whole before anything is delivered.
    """
    world.handle = lambda event: world.log.append(len(world.core.calls))
    world.driver.datagramsReceived([(b"a", HERE, THERE), (b"b", HERE, THERE)])
    assert world.log == [b"a", 2, b"b", 2]


def test_call(world: World) -> None:
    """
    A command gets the time last, its result comes back, its datagrams go out.
    """
    assert world.driver.call(world.core.say, b"hi") == "hi"
    assert world.core.calls == [("say", b"hi", 0)]
    assert world.log == [("sent", b"hi")]


def test_callRaises(world: World) -> None:
    """
    A command that raises tells its caller, and the core is drained.
    """

    def refuse(now: float) -> None:
        world.core.events.append("told")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        world.driver.call(refuse)
    assert world.log == ["told"]


def test_reentrantCallQueues(world: World) -> None:
    """
    A command called by an event handler does not drain: its output comes after
    the events that are being delivered.
    """

    def handle(event: object) -> None:
        if event == b"a":
            world.driver.call(world.core.say, b"re")
            world.driver.datagramReceived(b"c", HERE, THERE)
            world.driver.wake()
            world.log.append("handled")

    world.handle = handle
    world.driver.datagramsReceived([(b"a", HERE, THERE), (b"b", HERE, THERE)])
    assert world.log == [b"a", "handled", b"b", ("sent", b"re"), b"c"]


def test_failingHandler(
    world: World, flushLoggedErrors: Callable[..., list[Any]]
) -> None:
    """
    What an event handler raises is logged; the next event is delivered and the
    deadline is armed.
    """

    def handle(event: object) -> None:
        if event == b"a":
            raise KeyError(event)

    world.handle = handle
    world.core.due = 5
    world.driver.datagramsReceived([(b"a", HERE, THERE), (b"b", HERE, THERE)])
    assert world.log == [b"a", b"b"]
    assert world.due() == [5]
    assert len(flushLoggedErrors(KeyError)) == 1


def test_failingCore(world: World, flushLoggedErrors: Callable[..., list[Any]]) -> None:
    """
    A datagram that the core chokes on is logged, the rest of the batch is fed.
    """
    world.driver.datagramsReceived([(b"bad", HERE, THERE), (b"b", HERE, THERE)])
    world.driver.datagramReceived(b"bad", HERE, THERE)
    assert world.log == [b"b"]
    assert len(flushLoggedErrors(RuntimeError)) == 2


def test_failingSend(flushLoggedErrors: Callable[..., list[Any]]) -> None:
    """
    What sending raises does not keep events from being delivered.
    """
    core = Script()
    events: list[object] = []

    def send(datagrams: object) -> None:
        raise OSError("no")

    driver = Driver(core, send, events.append, Clock())
    core.events.append("e")
    driver.call(core.say, b"x")
    assert events == ["e"]
    assert len(flushLoggedErrors(OSError)) == 1


def test_deadline(world: World) -> None:
    """
    The core is told when its deadline has come, exactly, and not before.
    """
    world.core.due = 2.5

    def onTime(now: float) -> None:
        world.core.due = None
        world.core.events.append("late")

    world.core.onTime = onTime
    world.driver.wake()
    world.clock.advance(2.4)
    assert world.core.calls == []
    world.clock.advance(0.1)
    assert world.core.calls == [("time", 2.5)]
    assert world.log == ["late"]
    assert world.due() == []


def test_oneCall(world: World) -> None:
    """
    An earlier deadline moves the one call, a later one leaves it alone, and it
    arms itself anew; no deadline cancels it.
    """
    world.core.due = 5
    world.driver.wake()
    world.core.due = 3
    world.driver.wake()
    assert world.due() == [3]
    world.core.due = 10
    world.driver.wake()
    assert world.due() == [3]
    world.clock.advance(3)
    assert world.due() == [10]
    assert world.core.calls == []
    world.core.due = None
    world.driver.wake()
    assert world.due() == []


def test_roundedDeadline(world: World) -> None:
    """
    A call that comes early by a rounding error still counts, with the time of
    the deadline.
    """
    world.core.due = 1.0 + 5e-7
    world.core.onTime = lambda now: setattr(world.core, "due", None)
    world.driver.wake()
    (call,) = world.clock.getDelayedCalls()
    call.reset(1.0)
    world.clock.advance(1.0)
    assert world.core.calls == [("time", 1.0 + 5e-7)]
    assert world.driver.now() == 1.0 + 5e-7


def test_failingDeadline(
    world: World, flushLoggedErrors: Callable[..., list[Any]]
) -> None:
    """
    A core that fails at its deadline is asked again after a second, not at once.
    """

    def onTime(now: float) -> None:
        raise RuntimeError("late")

    world.core.onTime = onTime
    world.core.due = 1
    world.driver.wake()
    world.clock.advance(1)
    world.clock.advance(0.5)
    assert world.core.calls == [("time", 1)]
    world.clock.advance(0.5)
    assert world.core.calls == [("time", 1), ("time", 2)]
    assert len(flushLoggedErrors(RuntimeError)) == 2
    world.driver.stop()


def test_failingDrain(
    world: World, flushLoggedErrors: Callable[..., list[Any]]
) -> None:
    """
    A core that fails when it is drained does not take its caller along; it is
    asked again after a second, and stopped in any case.
    """

    def takeEvents() -> list[object]:
        raise RuntimeError("drain")

    drain, world.core.takeEvents = world.core.takeEvents, takeEvents  # type: ignore[method-assign]
    world.core.due = 0.0
    world.driver.datagramReceived(b"x", HERE, THERE)
    assert world.due() == [1]
    world.clock.advance(0.5)
    assert len(flushLoggedErrors(RuntimeError)) == 1
    world.core.takeEvents = drain  # type: ignore[method-assign]
    world.core.onTime = lambda now: setattr(world.core, "due", 50.0)
    world.clock.advance(0.5)
    assert world.log == [b"x"]
    assert world.due() == [50]

    def takeDatagrams() -> list[Datagram]:
        raise RuntimeError("end")

    world.core.takeDatagrams = takeDatagrams  # type: ignore[method-assign]
    world.driver.stop()
    assert world.due() == []
    assert len(flushLoggedErrors(RuntimeError)) == 1


def test_timeNeverGoesBack(world: World) -> None:
    """
    A clock that is set back does not take the core with it.
    """
    world.clock.advance(100)
    assert world.driver.now() == 100
    world.clock.rightNow = 40.0
    assert world.driver.now() == 100
    world.clock.rightNow = 101.0
    assert world.driver.now() == 101


def test_stop(world: World) -> None:
    """
    Stopping sends what is ready and nothing afterwards.
    """
    world.core.due = 9
    world.driver.wake()
    world.core.say(b"bye", 0)
    world.core.events.append("never")
    world.driver.stop()
    world.driver.stop()
    world.driver.datagramReceived(b"x", HERE, THERE)
    world.driver.datagramsReceived([(b"y", HERE, THERE)])
    world.driver.call(world.core.say, b"z")
    assert world.log == [("sent", b"bye")]
    assert world.due() == []


def test_stopInHandler(world: World) -> None:
    """
    A handler that says goodbye and stops gets its goodbye sent; the events
    after it are not delivered and no call is armed.
    """

    def handle(event: object) -> None:
        world.driver.call(world.core.say, b"bye")
        world.driver.stop()

    world.handle = handle
    world.core.due = 9
    world.driver.datagramsReceived([(b"a", HERE, THERE), (b"b", HERE, THERE)])
    assert world.log == [b"a", ("sent", b"bye")]
    assert world.due() == []
