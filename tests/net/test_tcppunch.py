"""
Tests for L{punchd.net.tcppunch}, on sockets of this machine.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ILoggingContext, IReadWriteDescriptor
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyClass

from punchd.core import Address, Datagram
from punchd.net.connecting import Connecting
from punchd.net.kernel import KernelNetwork
from punchd.net.tcppunch import StreamPort, canPunch
from punchd.stun.attributes import Attribute
from punchd.stun.message import parse, success

LOOPBACK = {4: "127.0.0.1", 6: "::1"}


class Owner:
    """
    I am the listener of a port, and the receiver; I keep what I am told.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.received: list[bytes] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def streamLocated(self, base: Address, server: Address, mapped: Any) -> None:
        self._tell("located", server, mapped)

    def streamMade(self, base: Address, remote: Address) -> None:
        self._tell("made", remote)

    def streamFailed(self, base: Address, remote: Address, reason: str) -> None:
        self._tell("failed", remote, reason)

    def streamLost(self, base: Address, remote: Address, reason: str) -> None:
        self._tell("lost", remote)

    def runsReceived(self, runs: Any) -> None:
        for payloads, _, _ in runs:
            self.received += payloads
        self._look()

    def _tell(self, *event: Any) -> None:
        self.told.append(event)
        self._look()

    def _look(self) -> None:
        for each in list(self._waiting):
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(None)

    def whenTold(self, *event: Any) -> Deferred[None]:
        """
        Wait for an event.
        """
        return self._when(lambda: event in self.told)

    def whenReceived(self, count: int) -> Deferred[None]:
        """
        Wait for datagrams.
        """
        return self._when(lambda: len(self.received) >= count)

    def _when(self, true: Callable[[], bool]) -> Deferred[None]:
        d: Deferred[None] = Deferred()
        self._waiting.append((true, d))
        self._look()
        return d


Opened = tuple[StreamPort, Owner]


@pytest.fixture
def opened() -> Generator[Callable[..., Opened], None, None]:
    """
    Open ports on the reactor, and close them afterwards.
    """
    from twisted.internet import reactor

    ports: list[StreamPort] = []

    def make(family: int = 4) -> Opened:
        owner = Owner()
        network = KernelNetwork(reactor)
        assert canPunch(network)
        ports.append(StreamPort(network, owner, owner, LOOPBACK[family]))
        return ports[-1], owner

    yield make
    for port in ports:
        port.close()


def test_interface() -> None:
    """
    A socket that connects is what reactors want.
    """
    assert verifyClass(IReadWriteDescriptor, Connecting)
    assert verifyClass(ILoggingContext, Connecting)


@pytest.mark.parametrize("family", [4, 6])
@pytest_twisted.inlineCallbacks
def test_simultaneous(opened: Callable[..., Opened], family: int) -> Any:
    """
    Two SYNs that meet make one connection (RFC 9293, 3.5): on one machine, those of
    one port to itself, though it listens, too.
    """
    port, owner = opened(family)
    assert port.connect(port.base)
    yield owner.whenTold("made", port.base)
    port.send([Datagram(b"hello", port.base, port.base)])
    yield owner.whenReceived(1)
    assert owner.received == [b"hello"]


@pytest_twisted.inlineCallbacks
def test_plain(opened: Callable[..., Opened]) -> Any:
    """
    Who is expected is let in; datagrams go both ways, bounded by their frames.
    """
    (a, ownerA), (b, ownerB) = opened(), opened()
    b.expect("127.0.0.1")
    assert a.connect(b.base)
    assert not a.connect(b.base)
    yield ownerA.whenTold("made", b.base)
    yield ownerB.whenTold("made", a.base)
    assert not b.connect(a.base)
    a.send([Datagram(b"one", a.base, b.base), Datagram(bytes(1200), a.base, b.base)])
    b.send([Datagram(b"three", b.base, a.base), Datagram(b"lost", b.base, ("x", 1))])
    yield ownerA.whenReceived(1)
    yield ownerB.whenReceived(2)
    assert (ownerA.received, ownerB.received) == ([b"three"], [b"one", bytes(1200)])
    assert a.remotes == [b.base]
    # Neither listens any more, and what there is goes on.
    a.settle()
    b.settle()
    a.send([Datagram(b"on", a.base, b.base)])
    yield ownerB.whenReceived(3)
    a.close()
    yield ownerB.whenTold("lost", a.base)
    assert ("lost", b.base) not in ownerA.told
    assert b.remotes == []


@pytest_twisted.inlineCallbacks
def test_stranger(opened: Callable[..., Opened]) -> Any:
    """
    A host to which nothing was tried is not let in.
    """
    (a, ownerA), (b, ownerB) = opened(), opened()
    assert a.connect(b.base)
    yield ownerA.whenTold("lost", b.base)
    assert ownerB.told == []


@pytest_twisted.inlineCallbacks
def test_refused(opened: Callable[..., Opened]) -> Any:
    """
    A refused connection is told of as such, and may be tried again.
    """
    port, owner = opened()
    # Bound, so that nobody else gets it, and not listening.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        remote: Address = bound.getsockname()
        assert port.connect(remote)
        yield owner.whenTold("failed", remote, "refused")
        assert port.connect(remote)
        port.settle()
        assert port.connect(remote)


class _Server(Protocol):
    """
    I answer a Binding request, or anything with garbage.
    """

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        if not self.factory.honest:
            transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        peer = transport.getPeer()
        answer = success(
            parse(data), (Attribute.XOR_MAPPED_ADDRESS, (peer.host, peer.port))
        )
        transport.write(answer.serialize())


@pytest.mark.parametrize("honest", [True, False])
@pytest_twisted.inlineCallbacks
def test_locate(opened: Callable[..., Opened], honest: bool) -> Any:
    """
    A server tells where it sees the port; one that talks nonsense tells nothing.
    """
    from twisted.internet import reactor

    anyReactor: Any = reactor
    factory = Factory.forProtocol(_Server)
    factory.honest = honest  # type: ignore[attr-defined]
    listening = anyReactor.listenTCP(0, factory, interface="127.0.0.1")
    server: Address = ("127.0.0.1", listening.getHost().port)
    port, owner = opened()
    port.locate(server)
    yield owner.whenTold("located", server, port.base if honest else None)
    port.close()
    yield listening.stopListening()


@pytest_twisted.inlineCallbacks
def test_noServer(opened: Callable[..., Opened]) -> Any:
    """
    Nor does one that is not there.
    """
    port, owner = opened()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server: Address = bound.getsockname()
        port.locate(server)
        yield owner.whenTold("located", server, None)
