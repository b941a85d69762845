"""
Simulated TCP connections, seen from above Twisted's transports.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectBindError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
    UserError,
)
from twisted.internet.tcp import makeBinding

from punchd.net.congestion import RTO_MAX_MS
from punchd.testing.host import Host
from punchd.testing.link import Link
from punchd.testing.network import Network
from punchd.testing.streams import USER_TIMEOUT
from tests.testing.helpers import HalfClosing, Keeping, Recorder

A, B = "198.51.100.1", "203.0.113.10"


class Wire:
    """
    Two hosts on the internet and connections between them.
    """

    def __init__(self, link: Link | None = None, seed: int = 0) -> None:
        self.network = Network(seed, link or Link(0.025))
        self.one = self.network.addHost("one", A, "2001:db8::1")
        self.two = self.network.addHost("two", B, "2001:db8::2")
        self.server = Keeping()
        self.client = Keeping()

    def listen(self, port: int = 80, interface: str = "") -> Any:
        return self.two.reactor.listenTCP(port, self.server, interface=interface)  # type: ignore[arg-type]

    def connecting(
        self, host: str = B, port: int = 80, machine: Host | None = None, **options: Any
    ) -> Deferred[Any]:
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        reactor = (machine or self.one).reactor
        return kind(reactor, host, port, **options).connect(self.client)

    def connect(self, *args: Any, **options: Any) -> tuple[Any, Any]:
        """
        @return: both protocols of a new connection.
        """
        if not self.network.clock.getDelayedCalls() and not self.two.boundStreams:
            self.listen()
        client = self.network.runUntil(self.connecting(*args, **options))
        self.network.runUntil(lambda: len(self.server.made) == len(self.client.made))
        return client, self.server.made[-1]

    def settle(self, seconds: float = 1.0) -> None:
        self.network.advance(seconds)


def testConnectTakesOneRoundTrip() -> None:
    """SYN there, SYN and ACK back."""
    wire = Wire()
    wire.listen()
    wire.network.runUntil(wire.connecting())
    assert wire.network.clock.seconds() == 0.05


@pytest.mark.parametrize(
    ("host", "form"), [(B, IPv4Address), ("2001:db8::2", IPv6Address)]
)
def testAddresses(host: str, form: type) -> None:
    """Both ends know themselves and each other."""
    wire = Wire()
    port = wire.listen(0, "::" if ":" in host else "")
    number = port.getHost().port
    assert port.getHost() == form("TCP", "::" if ":" in host else "0.0.0.0", number)
    client, server = wire.connect(host, number)
    assert client.transport.getPeer() == form("TCP", host, number)
    assert client.transport.getPeer() == server.transport.getHost()
    assert client.transport.getHost() == server.transport.getPeer()
    assert type(client.transport.getHost()) is form


def testBytesArriveInOrder() -> None:
    """A stream is a stream, both ways."""
    wire = Wire()
    client, server = wire.connect()
    sent = bytes(range(256)) * 4000
    client.transport.write(sent)
    server.transport.writeSequence([b"answer ", b"back"])
    wire.settle()
    assert server.data == sent
    assert client.data == b"answer back"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "link",
    [
        Link(0.025, loss=0.1),
        Link(0.025, duplication=0.2),
        Link(0.025, reordering=0.2, jitter=0.02),
        Link(0.025, loss=0.05, duplication=0.05, reordering=0.05, jitter=0.05),
    ],
    ids=["loss", "duplication", "reordering", "all"],
)
def testStreamSurvivesTheLink(link: Link, seed: int) -> None:
    """Loss, duplication and reordering only cost time."""
    wire = Wire(link, seed)
    client, server = wire.connect()
    sent = bytes(range(256)) * 2000
    client.transport.write(sent)
    server.transport.write(sent[::-1])
    wire.network.runUntil(lambda: len(client.data) == len(sent), timeout=120)
    client.transport.loseConnection()
    wire.network.runUntil(lambda: server.reason, timeout=120)
    assert server.reason.check(ConnectionDone)
    assert server.data == sent
    assert client.data == sent[::-1]


def testRefused() -> None:
    """Nobody listens: refused after one round trip."""
    wire = Wire()
    with pytest.raises(ConnectionRefusedError):
        wire.network.runUntil(wire.connecting())
    assert wire.network.clock.seconds() == 0.05


def testConnectTimesOut() -> None:
    """Nobody answers: the time-out that was asked for."""
    wire = Wire()
    wire.two.powerOff()
    with pytest.raises(TimeoutError):
        wire.network.runUntil(wire.connecting(timeout=7))
    assert wire.network.clock.seconds() == 7.0


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({}, (4.0, True)),
        ({RTO_MAX_MS: 1000}, (1.0, True)),
        ({RTO_MAX_MS: 1000, USER_TIMEOUT: 300_000}, (1.0, True)),
        ({RTO_MAX_MS: 1000, USER_TIMEOUT: 8_000}, (0.0, False)),
    ],
)
def testInsistence(options: dict[int, int], ends: tuple[float, bool]) -> None:
    """
    After an outage of 12 s, data come as soon as TCP asks again, which is as the
    options say, for a connection that was accepted, too; or it has given up.
    """
    late, lives = ends
    wire = Wire()
    listening = wire.listen()
    for option, value in options.items():
        listening.socket.setsockopt(socket.IPPROTO_TCP, option, value)
    client, made = wire.connect()
    link = wire.network.internet.link
    wire.network.internet.link = replace(link, loss=1.0)
    made.transport.write(b"late")
    wire.settle(12.0)
    wire.network.internet.link = link
    wire.settle(1.1)
    assert (client.data == b"late") is (lives and late <= 1.0)
    wire.settle(late)
    assert (client.data == b"late") is lives
    assert (made.reason is None) is lives


def testNoRouteForFamily() -> None:
    """A host without IPv6 cannot connect by it."""
    wire = Wire()
    wire.one.detach("2001:db8::1")
    with pytest.raises(NoRouteError):
        wire.network.runUntil(wire.connecting("2001:db8::2"))


def testCancelledConnect() -> None:
    """Cancelling an attempt ends it, and nothing is left of it."""
    wire = Wire()
    wire.two.powerOff()
    attempt = wire.connecting()
    wire.settle(0.1)
    attempt.cancel()
    attempt.addErrback(lambda failure: failure.trap(UserError, Exception) and None)
    assert wire.one.streams() == []
    assert wire.network.clock.getDelayedCalls() == []


def testListenCollision() -> None:
    """Two cannot listen on one port, unless at different addresses."""
    wire = Wire()
    wire.listen(80, B)
    with pytest.raises(CannotListenError):
        wire.listen(80, B)
    with pytest.raises(CannotListenError):
        wire.listen(80)
    with pytest.raises(CannotListenError):
        wire.listen(81, A)
    assert wire.listen(80, "127.0.0.1").getHost().port == 80


def testStopListening() -> None:
    """A port that is closed refuses, and can be opened again."""
    wire = Wire()
    port = wire.listen()
    wire.network.runUntil(port.stopListening())
    with pytest.raises(ConnectionRefusedError):
        wire.network.runUntil(wire.connecting())
    wire.listen()
    assert wire.network.runUntil(wire.connecting())


@pytest.mark.parametrize("bind", [(A, 5555), makeBinding(A, 5555, True, True)])
def testBindAddress(bind: Any) -> None:
    """A client may choose its address and port."""
    wire = Wire()
    client, server = wire.connect(bindAddress=bind)
    assert server.transport.getPeer() == IPv4Address("TCP", A, 5555)
    assert client.transport.getHost().port == 5555


def testBindToForeignAddress() -> None:
    """But only one of its own."""
    wire = Wire()
    with pytest.raises(ConnectBindError):
        wire.network.runUntil(wire.connecting(bindAddress=(B, 0)))


def testLoseConnection() -> None:
    """What was written before comes first; both ends are done cleanly."""
    wire = Wire()
    client, server = wire.connect()
    client.transport.write(b"x" * 1_000_000)
    client.transport.loseConnection()
    wire.settle()
    assert len(server.data) == 1_000_000
    assert server.reason.check(ConnectionDone)
    assert client.reason.check(ConnectionDone)
    assert wire.one.streams() == []
    assert len(wire.two.streams()) == 1


def testAbort() -> None:
    """An aborted connection is lost for the other side."""
    wire = Wire()
    client, server = wire.connect()
    client.transport.abortConnection()
    wire.settle()
    assert client.reason.check(ConnectionAborted)
    assert server.reason.check(ConnectionLost)


def testHalfClose() -> None:
    """One direction may end while the other goes on."""
    wire = Wire()
    wire.server.kind = wire.client.kind = HalfClosing
    client, server = wire.connect()
    client.transport.write(b"question")
    client.transport.loseWriteConnection()
    wire.settle()
    assert server.events == ["made", "read lost"]
    assert client.events == ["made", "write lost"]
    server.transport.write(b"answer")
    wire.settle()
    assert (server.data, client.data) == (b"question", b"answer")
    server.transport.loseConnection()
    wire.settle()
    assert client.events == ["made", "write lost", "read lost"]
    client.transport.loseConnection()
    wire.settle()
    assert client.events[-1] == server.events[-1] == "lost"
    assert wire.one.streams() == []


def testRaisingProtocolIsDisconnected(hygiene: Any) -> None:
    """As on a reactor, an error in dataReceived ends the connection."""

    class Broken(Recorder):
        def dataReceived(self, data: bytes) -> None:
            raise KeyError("broken")

    wire = Wire()
    wire.server.kind = Broken
    client, server = wire.connect()
    client.transport.write(b"x")
    wire.settle()
    assert server.reason.check(KeyError)
    assert client.reason is not None
    assert len(hygiene.flush(KeyError)) == 1


def testFactoryMayRefuse() -> None:
    """A factory that builds no protocol closes the connection."""
    wire = Wire()
    wire.listen()
    wire.server.buildProtocol = lambda addr: None  # type: ignore[assignment,method-assign,return-value]
    client = wire.network.runUntil(wire.connecting())
    wire.settle()
    assert client.reason.check(ConnectionDone)


def testWithinOneHost() -> None:
    """A host reaches its own services, by loopback too, in no time."""
    wire = Wire()
    wire.listen()
    for host in ("127.0.0.1", B):
        client, server = wire.connect(host, machine=wire.two)
        client.transport.write(b"x" * 200_000)
        wire.network.advance(0)
        assert len(server.data) == 200_000
        assert server.transport.getPeer().host == host
    assert wire.network.clock.seconds() == 0.0
