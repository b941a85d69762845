"""
The search for the lifetime of bindings, and the keepalive that follows from it.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.core import Datagram
from punchd.nat.keepalive import Keepalive, Lifetime, keepaliveFor
from punchd.nat.lifetime import (
    BindingTested,
    LifetimeEnded,
    LifetimeSearch,
    SocketDone,
    SocketsWanted,
)
from punchd.net.driver import Driver
from punchd.stun.message import failure
from punchd.testing.router import Lifetimes

from .field import OTHER, SERVER, Field


class Search:
    """
    A search that runs in the simulator, with the sockets that it wants.
    """

    def __init__(self, field: Field, sockets: int = 99, **options: Any) -> None:
        self.field = field
        self.sockets = sockets
        self.tested: list[BindingTested] = []
        self.opened = 0
        self.closed = 0
        self.ended: LifetimeEnded | None = None
        self.core = LifetimeSearch(
            SERVER, field.socket(), field.host.entropy, **options
        )
        self.driver = Driver(self.core, field.send, self.told, field.clock)
        field.drivers.append(self.driver)
        self.driver.call(self.core.start)

    def told(self, event: object) -> None:
        """
        Something happened.
        """
        if isinstance(event, SocketsWanted):
            count = min(event.count, self.sockets)
            self.opened += count
            self.driver.call(self.core.addSockets, self.field.sockets(count))
        elif isinstance(event, SocketDone):
            self.closed += 1
        elif isinstance(event, BindingTested):
            self.tested.append(event)
        elif isinstance(event, LifetimeEnded):
            self.ended = event

    def run(self) -> LifetimeEnded:
        """
        Let time pass until the end.
        """
        self.field.network.runUntil(lambda: self.ended, 3600.0)
        assert self.ended is not None
        return self.ended


def field(kind: str, udp: tuple[float, float], **more: Any) -> Field:
    """
    A NAT that keeps bindings for so many seconds.
    """
    return Field(kind, optionsA={"lifetimes": Lifetimes(udp=udp)}, **more)


@pytest.mark.parametrize("kind", ["portrestricted", "symmetric", "sequential"])
@pytest.mark.parametrize("udp", [(30.5, 121.0), (12.0, 40.0), (70.0, 170.0)])
def test_bothLifetimes(kind: str, udp: tuple[float, float]) -> None:
    """Both are found to a quarter, whatever the mapping is."""
    search = Search(field(kind, udp))
    found = search.run()
    assert found.reason == ""
    for measured, true in ((found.oneWay, udp[0]), (found.twoWay, udp[1])):
        assert measured is not None
        assert measured.high is not None
        assert measured.low <= true <= measured.high + 1.0
        assert measured.high <= 1.26 * measured.low
    assert search.closed == search.opened <= 40


def test_longerThanAll() -> None:
    """What outlives 300 s is long enough, and known after 301 s."""
    it = field("portrestricted", (400.0, 500.0))
    found = Search(it).run()
    assert found.twoWay == found.oneWay == Lifetime(300.0, None)
    assert it.clock.seconds() < 305


def test_shortIsFoundSoon() -> None:
    """The first round is over when the shortest binding is gone."""
    it = field("portrestricted", (8.0, 14.0))
    found = Search(it).run()
    assert found.oneWay is not None
    assert found.oneWay.low <= 8.0 <= (found.oneWay.high or 0)
    assert it.clock.seconds() < 60


def test_resumed() -> None:
    """A cached result is confirmed with two sockets each."""
    search = Search(
        field("portrestricted", (33.0, 130.0)),
        twoWay=Lifetime(120.0, 140.0),
        oneWay=Lifetime(30.0, 35.0),
    )
    found = search.run()
    assert found.twoWay == Lifetime(120.0, 140.0)
    assert found.oneWay == Lifetime(30.0, 35.0)
    assert search.opened == 4


def test_resumedElsewhere() -> None:
    """A cached result of another network is corrected."""
    search = Search(
        field("portrestricted", (33.0, 65.0)),
        ways=(False,),
        twoWay=Lifetime(120.0, 140.0),
    )
    found = search.run()
    assert found.oneWay is None
    assert found.twoWay is not None
    assert found.twoWay.low <= 65.0 <= (found.twoWay.high or 0)


@pytest.mark.parametrize("seed", range(5))
def test_loss(seed: int) -> None:
    """One packet in ten may be lost."""
    it = field("portrestricted", (30.5, 121.0), seed=seed, loss=0.1)
    found = Search(it).run()
    assert found.twoWay is not None
    assert found.twoWay.low <= 121.0 <= (found.twoWay.high or 0) + 1


def test_fewSockets() -> None:
    """With few sockets the shortest times are tested first."""
    search = Search(field("portrestricted", (30.5, 121.0)), sockets=3, ways=(False,))
    found = search.run()
    assert found.twoWay is not None
    assert found.twoWay.low >= 60.0


def test_serverGone() -> None:
    """A server that falls silent proves nothing about bindings."""
    it = field("portrestricted", (30.5, 121.0))
    search = Search(it, ways=(False,))
    it.network.advance(5.0)
    it.scenario.rendezvous.up = False
    found = search.run()
    assert found.reason == "the server does not answer"
    assert found.twoWay is None


def test_serverWithoutResponsePort() -> None:
    """A server that does not know RESPONSE-PORT ends the search."""
    it = field("portrestricted", (30.5, 121.0))
    search = Search(it, cliffs=(10.0,), ways=(False,))
    it.network.advance(5.0)
    handle = it.server.binding.handle

    def refuse(message, data, local, remote, now):
        if message.get(0x0027) is None:
            return handle(message, data, local, remote, now)
        answer = failure(message, 420, "", (0x000A, [0x0027]))
        return [Datagram(answer.serialize(), local, remote)]

    it.server.binding.handle = refuse  # type: ignore[method-assign]
    assert "another port" in search.run().reason


def test_stopped() -> None:
    """What was found until then is kept."""
    it = field("portrestricted", (30.5, 121.0))
    search = Search(it)
    it.network.advance(50.0)
    search.driver.call(search.core.stop)
    assert search.ended is not None
    assert search.ended.reason == "stopped"
    assert search.core.known[False] == Lifetime(45.0, None)
    assert search.core.known[True].low == 30.0
    assert search.core.deadline() is None


def test_garbage() -> None:
    """What is not the server's answer is ignored."""
    core = LifetimeSearch(SERVER, ("0.0.0.0", 5000), bytes)
    core.start(0.0)
    core.addSockets([("0.0.0.0", 5002)], 0.0)
    (sent,) = core.takeDatagrams()
    for remote in (OTHER, SERVER):
        for data in (b"", sent.data, b"\1" * 40):
            core.datagramReceived(data, ("192.168.1.2", 5000), remote, 0.1)
    assert [type(event) for event in core.takeEvents()] == [SocketsWanted]
    core.addSockets([], 0.2)
    assert isinstance(core.takeEvents()[-1], LifetimeEnded)


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [(None, 15.0), (30.0, 19.5), (120.0, 78.0), (4.0, 5.0), (300.0, 120.0)],
)
def test_keepalive(lifetime: float | None, expected: float) -> None:
    """0.65 of the lifetime, within bounds."""
    assert keepaliveFor(lifetime) == pytest.approx(expected)


def test_movedMapping() -> None:
    """A mapping that moves halves the interval, for good."""
    keepalive = Keepalive(120.0)
    assert keepalive.packetsAnHour() == pytest.approx(46.2, abs=0.1)
    assert keepalive.mappingMoved() == 39.0
    # It had been silent for much longer, as in sleep: that proves nothing.
    assert keepalive.mappingMoved(silence=600.0) == 39.0
    assert keepalive.measured(120.0) == 39.0
    assert keepalive.measured(30.0) == 19.5
    assert keepalive.moves == 2


def test_cache() -> None:
    """Lifetimes are kept as JSON, and nothing else is taken for one."""
    for each in (Lifetime(), Lifetime(30.0, 45.0), Lifetime(300.0)):
        assert Lifetime.fromList(each.toList()) == each
    for bad in (None, [], [1], ["1", 2], [5, 3], [True, None], [-1, None]):
        with pytest.raises(ValueError):
            Lifetime.fromList(bad)
