"""
UPnP over a client that does what the test says, without threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.portmap.gateway import Gateway
from punchd.portmap.upnp import UPnPSearch

BASE = ("192.168.1.2", 40000)
GATEWAY = Gateway("192.168.1.1", "eth0")
OUTSIDE = "198.51.100.10"


class Client:
    """
    As miniupnpc's.
    """

    def __init__(self) -> None:
        self.devices = 1
        self.outside = OUTSIDE
        self.errors: list[str] = []
        self.calls: list[tuple[Any, ...]] = []

    def discover(self) -> int:
        if not self.devices:
            raise Exception("Success")
        return self.devices

    def selectigd(self) -> str:
        return "http://192.168.1.1:5000/ctl"

    def externalipaddress(self) -> str:
        return self.outside

    def addportmapping(self, *arguments: Any) -> bool:
        self.calls.append(arguments)
        if self.errors:
            raise Exception(self.errors.pop(0))
        return True

    def deleteportmapping(self, *arguments: Any) -> bool:
        self.calls.append(arguments)
        if self.errors:
            raise Exception(self.errors.pop(0))
        return True


@implementer(IReactorThreads)
class Reactor(Clock):  # type: ignore[misc]
    """
    Also a pool of threads, which run at once, or when the test says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] | None = None

    def callFromThread(  # type: ignore[override]
        self, function: Any, *args: Any, **kwargs: Any
    ) -> None:
        function(*args, **kwargs)

    def callInThreadWithCallback(self, told: Any, function: Any, *args: Any) -> None:
        def run() -> None:
            try:
                result = function(*args)
            except Exception:
                told(False, Failure())
            else:
                told(True, result)

        if self.waiting is None:
            run()
        else:
            self.waiting.append(run)


class World:
    """
    Network and seeker of one search.
    """

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.client = Client()
        self.told: list[Any] = []

    def entropy(self, count: int) -> bytes:
        return bytes(count)

    def seek(self, makeClient: Any = None) -> UPnPSearch:
        make = makeClient or (lambda host: self.client)
        return UPnPSearch(
            self,  # type: ignore[arg-type]
            BASE,
            GATEWAY,
            self,  # type: ignore[arg-type]
            makeClient=make,
            pool=self.reactor,
        )

    def available(self, host: Any) -> None:
        self.told.append(("available", host))

    def mapped(self, address: Any) -> None:
        self.told.append(("mapped", address))

    def failed(self, reason: str) -> None:
        self.told.append(("failed", reason))


@pytest.fixture
def world() -> World:
    """A world of its own."""
    return World()


def _add(port: int, lifetime: int = 7200) -> tuple[Any, ...]:
    return (port, "UDP", BASE[0], BASE[1], "punchd", "", lifetime)


def testCourse(world: World) -> None:
    """Found, mapped, renewed at half of the lease, and deleted."""
    search = world.seek()
    assert world.told == [("available", OUTSIDE)]
    assert world.client.calls == []
    search.map()
    assert world.told[1:] == [("mapped", (OUTSIDE, 40000))]
    world.reactor.advance(3600)
    assert world.client.calls == [_add(40000)] * 2
    stopped = search.stop()
    assert stopped.called
    assert world.client.calls[2:] == [(40000, "UDP", "")]
    assert world.reactor.getDelayedCalls() == []


def testPortTaken(world: World) -> None:
    """A port that belongs to somebody else is left alone."""
    search = world.seek()
    world.client.errors = ["ConflictInMappingEntry"]
    search.map()
    assert world.told[-1] == ("mapped", (OUTSIDE, 49152))
    world.reactor.advance(3600)
    assert world.client.calls == [_add(40000), _add(49152), _add(49152)]
    search.stop()


def testAllTaken(world: World) -> None:
    """After some attempts it is enough."""
    search = world.seek()
    world.client.errors = ["ConflictInMappingEntry"] * 9
    search.map()
    assert world.told[-1] == ("failed", "ConflictInMappingEntry")
    assert len(world.client.calls) == 4


def testPermanent(world: World) -> None:
    """A router that knows no leases gets one for ever, which we renew and delete."""
    search = world.seek()
    world.client.errors = ["OnlyPermanentLeasesSupported"]
    search.map()
    assert world.client.calls == [_add(40000), _add(40000, 0)]
    world.reactor.advance(3600)
    assert world.client.calls[2:] == [_add(40000, 0)]
    world.client.errors = ["NoSuchEntryInArray"]
    assert search.stop().called


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"devices": 0}, "no answer"),
        ({"outside": ""}, "the router has no address outside"),
    ],
)
def testNothingFound(world: World, odd: dict[str, Any], reason: str) -> None:
    """Without a device, or one with an address, the search is over."""
    vars(world.client).update(odd)
    search = world.seek()
    assert world.told == [("failed", reason)]
    assert search.stop().called


def testRenewalFails(world: World) -> None:
    """A router that does not renew has closed the port."""
    search = world.seek()
    search.map()
    world.client.errors = ["ActionFailed"]
    world.reactor.advance(3600)
    assert world.told[-1] == ("failed", "ActionFailed")
    assert world.reactor.getDelayedCalls() == []


def testStopWhileSearching(world: World) -> None:
    """A thread that is still at it is not waited for when the patience is over."""
    world.reactor.waiting = []
    search = world.seek()
    stopped = search.stop()
    assert not stopped.called
    stopped.addErrback(lambda _: None)
    stopped.cancel()
    world.reactor.waiting.pop()()
    world.reactor.waiting.pop()()
    assert world.told == []


def testNotInstalled(world: World) -> None:
    """Without miniupnpc the reason says what to install."""

    def makeClient(host: str) -> Any:
        raise ImportError

    with pytest.raises(LookupError, match=r"punchd\[portmap\]"):
        world.seek(makeClient)


def testNoThreads(world: World) -> None:
    """The simulator has no threads, and no UPnP."""
    world.reactor = Clock()  # type: ignore[assignment]
    with pytest.raises(LookupError, match="threads"):
        world.seek()
