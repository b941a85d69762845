"""
Back-pressure, and connections that are cut.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from punchd.testing.link import Link
from punchd.testing.transmission import BUFFER
from tests.testing.helpers import Recorder
from tests.testing.test_tcp import B, Wire


@implementer(IPushProducer)
class Push:
    """
    Writes as long as it may.
    """

    def __init__(self, transport: Any, total: int) -> None:
        self.transport = transport
        self.total = total
        self.written = 0
        self.paused = False
        self.pauses = 0
        self.stopped = False

    def start(self) -> None:
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.written < self.total:
            self.written += 10_000
            self.transport.write(b"x" * 10_000)
        if self.written >= self.total and not self.paused:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def stopProducing(self) -> None:
        self.stopped = self.paused = True


@implementer(IPullProducer)
class Pull:
    """
    Writes a chunk when it is asked for one.
    """

    def __init__(self, transport: Any, chunks: int) -> None:
        self.transport = transport
        self.chunks = chunks

    def resumeProducing(self) -> None:
        if self.chunks:
            self.chunks -= 1
            self.transport.write(b"x" * 1000)
        else:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        self.chunks = 0


def testPushProducerIsPaused() -> None:
    """A reader that stops makes the writer's producer stop, within bounds."""
    wire = Wire()
    client, server = wire.connect()
    server.transport.pauseProducing()
    push = Push(client.transport, 5_000_000)
    push.start()
    wire.settle(60)
    # Twisted's buffer, our send buffer, the other side's receive buffer.
    assert push.written < 2 * BUFFER + 200_000
    assert push.paused
    assert server.data == b""
    server.transport.resumeProducing()
    wire.network.runUntil(lambda: server.reason, timeout=600)
    assert len(server.data) == push.written == 5_000_000
    assert push.pauses > 3


def testPullProducer() -> None:
    """A pull producer is asked as the connection takes data."""
    wire = Wire()
    client, server = wire.connect()
    client.transport.registerProducer(Pull(client.transport, 700), False)
    wire.network.runUntil(lambda: server.reason)
    assert len(server.data) == 700_000


def testWindowUpdateMayBeLost() -> None:
    """A writer before a closed window asks again until it opens."""
    wire = Wire()
    client, server = wire.connect()
    server.transport.pauseProducing()
    client.transport.write(b"x" * (3 * BUFFER))
    wire.settle(5)
    wire.network.internet.link = Link(0.025, loss=1.0)
    server.transport.resumeProducing()
    wire.settle(0.5)
    wire.network.internet.link = Link(0.025)
    wire.network.runUntil(lambda: len(server.data) == 3 * BUFFER, timeout=120)
    assert server.reason is None


def testProducerIsStoppedWithTheConnection() -> None:
    """A producer of a connection that is lost is told to stop."""
    wire = Wire()
    client, server = wire.connect()
    server.transport.pauseProducing()
    push = Push(client.transport, 5_000_000)
    push.start()
    wire.settle()
    server.transport.abortConnection()
    wire.settle()
    assert push.stopped
    assert client.reason.check(ConnectionLost)


def testThroughputIsWindowOverRoundTrip() -> None:
    """The window in flight is bounded, so bandwidth is window over RTT."""
    wire = Wire(Link(0.05))
    client, server = wire.connect()
    started = wire.network.clock.seconds()
    client.transport.write(b"x" * 5_000_000)
    wire.network.runUntil(lambda: len(server.data) == 5_000_000)
    took = wire.network.clock.seconds() - started
    assert took == pytest.approx(5_000_000 / BUFFER * 0.1, rel=0.2)


def testKilledProgramEndsItsConnections() -> None:
    """The kernel of a killed program tells the other side; it hears nothing."""
    wire = Wire()
    client, server = wire.connect()
    wire.network.kill(wire.one)
    wire.settle()
    assert server.reason.check(ConnectionDone)
    assert client.reason is None


def testKilledWithUnreadDataResets() -> None:
    """With data unread, the other side's connection is reset."""
    wire = Wire()
    client, server = wire.connect()
    client.transport.pauseProducing()
    server.transport.write(b"unread")
    wire.settle()
    wire.network.kill(wire.one)
    wire.settle()
    assert server.reason.check(ConnectionLost)


def testPowerFailureIsSilent() -> None:
    """An idle connection to a machine without power stays as it is."""
    wire = Wire()
    _, server = wire.connect()
    wire.network.kill(wire.one, silently=True)
    wire.settle(10_000)
    assert server.reason is None


def testWritingIntoTheVoidTimesOut() -> None:
    """Data that nobody acknowledges ends the connection, after a quarter hour."""
    wire = Wire()
    _, server = wire.connect()
    wire.network.kill(wire.one, silently=True)
    server.transport.write(b"hello?")
    wire.network.runUntil(lambda: server.reason, timeout=3600)
    assert server.reason.check(ConnectionLost)
    assert 600 < wire.network.clock.seconds() < 1500


def testRestartedMachineResets() -> None:
    """A machine that was restarted knows nothing of its old connections."""
    wire = Wire()
    _, server = wire.connect()
    wire.network.kill(wire.one, silently=True)
    wire.one.powerOn()
    server.transport.write(b"hello?")
    wire.settle()
    assert server.reason.check(ConnectionLost)


def testNewConnectionFromTheSamePort() -> None:
    """A restarted client on its old port gets a new connection, the old one ends."""
    wire = Wire()
    _, server = wire.connect(bindAddress=("", 5000))
    wire.network.kill(wire.one, silently=True)
    wire.one.powerOn()
    again, server2 = wire.connect(bindAddress=("", 5000))
    assert server.reason.check(ConnectionLost)
    again.transport.write(b"new")
    wire.settle()
    assert server2.data == b"new"


def testShortOutageIsSurvived() -> None:
    """A connection outlives 30 s without a network."""
    wire = Wire()
    client, server = wire.connect()
    good = wire.network.internet.link
    wire.network.internet.link = Link(0.025, loss=1.0)
    client.transport.write(b"held")
    wire.settle(30)
    assert server.data == b""
    wire.network.internet.link = good
    wire.network.runUntil(lambda: server.data == b"held", timeout=60)
    assert client.reason is None


@pytest.mark.parametrize("seed", range(5))
def testLossCostsLittle(seed: int) -> None:
    """With a tenth lost, a megabyte takes seconds and not minutes."""
    wire = Wire(Link(0.025, loss=0.1), seed)
    client, server = wire.connect()
    started = wire.network.clock.seconds()
    client.transport.write(b"x" * 1_000_000)
    wire.network.runUntil(lambda: len(server.data) == 1_000_000, timeout=120)
    assert wire.network.clock.seconds() - started < 7.0


def testOrphanIsGivenUp() -> None:
    """A kernel gives up to finish a closed connection after a minute."""
    wire = Wire()
    client, _ = wire.connect()
    wire.network.kill(wire.two, silently=True)
    client.transport.loseConnection()
    wire.settle(59)
    assert len(wire.one.streams()) == 1
    wire.settle(2)
    assert wire.one.streams() == []


def testDataAfterCloseResets() -> None:
    """Who has closed does not read any more, and says so."""
    wire = Wire()
    client, server = wire.connect()
    server.transport.loseConnection()
    client.transport.write(b"too late")
    wire.settle()
    assert client.reason is not None
    assert wire.one.streams() == []
    assert len(wire.two.streams()) == 1


def testBacklog() -> None:
    """Connections wait to be accepted, so many and no more."""
    wire = Wire()
    wire.two.reactor.listenTCP(80, wire.server, backlog=3)  # type: ignore[arg-type]
    attempts = [wire.connecting(B) for _ in range(3)]
    for attempt in attempts:
        assert isinstance(wire.network.runUntil(attempt), Recorder)
