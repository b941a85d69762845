"""
The service that asks for ports, over sources that do what the test says.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyClass

from punchd.core import Address
from punchd.interfaces import ICandidateSearch, ICandidateSource
from punchd.portmap.gateway import Gateway
from punchd.portmap.mapper import PortMapper

BASE = ("192.168.1.2", 40000)
BASE6 = ("2001:db8:a:1::2", 40000)
OUTSIDE = ("198.51.100.10", 40000)


@implementer(ICandidateSearch)
class Search:
    """
    A search that waits for the test.
    """

    def __init__(self, seeker: Any) -> None:
        self.seeker = seeker
        self.asked = 0
        self.stopped: Deferred[None] | None = None

    def map(self) -> None:
        self.asked += 1

    def stop(self) -> Deferred[None]:
        self.stopped = Deferred()
        return self.stopped

    def done(self) -> None:
        assert self.stopped is not None
        self.stopped.callback(None)


@implementer(ICandidateSource)
class Source:
    """
    A source that makes such searches.
    """

    def __init__(self, name: str, preference: int, families: Any = (4,)) -> None:
        self.name = name
        self.preference = preference
        self.families = families
        self.searches: list[Search] = []
        self.broken = False

    def seek(self, network: Any, base: Any, gateway: Any, seeker: Any) -> Search:
        if self.broken:
            raise OSError("no socket")
        self.searches.append(Search(seeker))
        return self.searches[-1]

    @property
    def search(self) -> Search:
        return self.searches[-1]


class World:
    """
    A mapper, and all that it needs: also network, socket, gathering and gateways.
    """

    def __init__(self) -> None:
        self.reactor = Clock()
        self.hosts = [("10.0.0.2", "eth1"), (BASE[0], "eth0"), (BASE6[0], "eth0")]
        self.routes = {4: Gateway("192.168.1.1", "eth0")}
        self.offered: dict[Address, Address] = {}
        self.good = Source("good", 30, (4, 6))
        self.fair = Source("fair", 20)
        self.mapper = PortMapper(
            self,  # type: ignore[arg-type]
            self,
            self,
            [self.fair, self.good],
            self,
        )

    def localHosts(self) -> list[tuple[str, str]]:
        return self.hosts

    def bases(self) -> list[Address]:
        return [(host, 40000) for host, _ in self.hosts]

    def families(self) -> list[int]:
        return [4, 6]

    def defaultGateway(self, family: int) -> Gateway | None:
        return self.routes.get(family)

    def mappedPortLearned(self, address: Address, base: Address) -> None:
        self.offered[address] = base

    def mappedPortWithdrawn(self, address: Address) -> None:
        del self.offered[address]

    def start(self) -> None:
        self.mapper.startService()
        self.reactor.advance(0)

    def states(self) -> dict[str, str]:
        return {each["service"]: each["state"] for each in self.mapper.describe()}


@pytest.fixture
def world() -> Any:
    """A started mapper."""
    made = World()
    made.start()
    return made


def testFakes() -> None:
    """The fakes are what they stand for."""
    verifyClass(ICandidateSearch, Search)
    verifyClass(ICandidateSource, Source, tentative=True)


def testNothingWaits() -> None:
    """The start of the service asks nobody yet."""
    world = World()
    world.mapper.startService()
    assert world.good.searches == []
    world.mapper.stopService()
    assert world.reactor.getDelayedCalls() == []


def testBest(world: World) -> None:
    """The best that answers opens the port, and only that."""
    world.fair.search.seeker.available("198.51.100.10")
    assert world.fair.search.asked == 0
    world.reactor.advance(0.1)
    world.good.search.seeker.available(None)
    assert (world.good.search.asked, world.fair.search.asked) == (1, 0)
    world.good.search.seeker.mapped(OUTSIDE)
    assert world.offered == {OUTSIDE: BASE}
    world.reactor.advance(10)
    assert world.states() == {"good": "mapped", "fair": "available"}
    assert world.fair.search.asked == 0
    assert world.reactor.getDelayedCalls() == []


def testHeadStart(world: World) -> None:
    """The first to answer waits a quarter of a second for better ones."""
    world.fair.search.seeker.available(None)
    world.reactor.advance(0.24)
    assert world.fair.search.asked == 0
    world.reactor.advance(0.02)
    assert world.fair.search.asked == 1
    world.fair.search.seeker.mapped(OUTSIDE)
    world.good.search.seeker.available(None)
    assert world.good.search.asked == 0


def testBetterFailed(world: World) -> None:
    """There is nothing to wait for when better ones have failed."""
    world.good.search.seeker.failed("no")
    world.fair.search.seeker.available(None)
    assert world.fair.search.asked == 1


def testNext(world: World) -> None:
    """When the best fails to open a port, the next one tries."""
    world.fair.search.seeker.available(None)
    world.good.search.seeker.available(None)
    world.good.search.seeker.failed("the router does not allow it")
    assert world.fair.search.asked == 1
    assert world.good.search.stopped is not None
    assert world.mapper.describe()[0]["reason"] == "the router does not allow it"


def testNewAddress(world: World) -> None:
    """An address that replaces another takes its place."""
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(OUTSIDE)
    world.good.search.seeker.mapped(("198.51.100.11", 40000))
    assert world.offered == {("198.51.100.11", 40000): BASE}


@pytest.mark.parametrize("host", ["100.64.1.10", "10.0.0.1", "192.168.0.7", "junk", ""])
def testDoubleNat(world: World, host: str) -> None:
    """An address outside that is not public is given back, and noted."""
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped((host, 40000))
    assert world.offered == {}
    assert world.good.search.stopped is not None
    (told, _) = world.mapper.describe()
    assert (told["state"], told["doubleNat"]) == ("failed", True)
    assert host in told["reason"]


def testDoubleNatForetold(world: World) -> None:
    """A router that tells such an address first is not asked for a port."""
    world.good.search.seeker.failed("no")
    world.fair.search.seeker.available("100.64.1.10")
    assert world.fair.search.asked == 0
    assert world.states()["fair"] == "failed"


def testLost(world: World) -> None:
    """A port that was closed is offered no more, and all is asked again in a minute."""
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(OUTSIDE)
    world.good.search.seeker.failed("the router did not renew the mapping")
    assert world.offered == {}
    world.good.search.done()
    world.reactor.advance(60)
    assert [len(each.searches) for each in (world.good, world.fair)] == [2, 2]


def testBrokenSource() -> None:
    """A source that cannot even begin is a source that failed."""
    world = World()
    world.good.broken = True
    world.start()
    assert world.states() == {"good": "failed", "fair": "asking"}
    assert world.mapper.describe()[0]["reason"] == "no socket"


def testStop(world: World) -> None:
    """The end closes the port, and waits until that is done."""
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(OUTSIDE)
    ended = world.mapper.stopService()
    assert world.offered == {}
    for source in (world.good, world.fair):
        assert not ended.called
        source.search.done()
    assert ended.called
    assert world.reactor.getDelayedCalls() == []


def testStopInVain(world: World) -> None:
    """A router that does not answer holds nobody up for more than a second."""
    ended = world.mapper.stopService()
    world.reactor.advance(0.9)
    assert not ended.called
    world.reactor.advance(0.2)
    assert ended.called


def testLateAnswer(world: World) -> None:
    """What a source tells after the end changes nothing."""
    world.mapper.stopService()
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(OUTSIDE)
    assert (world.good.search.asked, world.offered) == (0, {})
    world.reactor.advance(2)


def testOtherNetwork(world: World) -> None:
    """In another network, the old port is given back and the new router asked."""
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(OUTSIDE)
    old = world.good.search
    world.hosts = [("10.1.1.2", "wlan0")]
    world.routes = {4: Gateway("10.1.1.1", "wlan0")}
    world.mapper.networkChanged()
    world.reactor.advance(0)
    assert old.stopped is not None
    assert world.offered == {}
    assert world.good.search is not old
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(OUTSIDE)
    assert world.offered == {OUTSIDE: ("10.1.1.2", 40000)}
    world.reactor.advance(2)


def testSameNetwork(world: World) -> None:
    """Where only time has passed, the port that is open is renewed."""
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(OUTSIDE)
    world.mapper.networkChanged()
    world.reactor.advance(0)
    assert (len(world.good.searches), world.good.search.asked) == (1, 2)
    assert world.offered == {OUTSIDE: BASE}


def testNoNetwork(world: World) -> None:
    """Without a default route nobody is asked."""
    world.routes = {}
    world.mapper.networkChanged()
    world.reactor.advance(2)
    assert world.mapper.describe() == []


def testLateRoute() -> None:
    """A route that comes after the addresses is found, and not waited for for ever."""
    world = World()
    routes, world.routes = world.routes, {}
    world.start()
    world.reactor.advance(4)
    world.routes = routes
    world.reactor.advance(1)
    assert world.states() == {"good": "asking", "fair": "asking"}
    assert world.reactor.getDelayedCalls() == []
    world.routes = {}
    world.mapper.networkChanged()
    for _ in range(5):
        world.reactor.advance(5)
    assert world.reactor.getDelayedCalls() == []


def testPublicHost() -> None:
    """A public address of IPv4 needs no port."""
    world = World()
    world.hosts = [("198.51.100.130", "eth0")]
    world.start()
    assert world.mapper.describe() == []


def testIPv6() -> None:
    """A pinhole is asked for, by who can, for a public address of IPv6 only."""
    world = World()
    world.routes = {6: Gateway("fe80::1", "eth0")}
    world.hosts = [("fd00::2", "eth0"), (BASE6[0], "eth0")]
    world.start()
    assert world.fair.searches == []
    world.good.search.seeker.available(None)
    world.good.search.seeker.mapped(BASE6)
    assert world.offered == {BASE6: BASE6}
