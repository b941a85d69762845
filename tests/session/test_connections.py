"""
Tests for L{punchd.session.connections}, on sockets of this machine.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from punchd.core import Address, Datagram
from punchd.net.demux import Demux
from punchd.net.kernel import KernelNetwork
from punchd.net.punching import PunchingSocket
from punchd.session.connections import Connections
from punchd.testing.reactor import HostReactor
from punchd.testing.scenario import Scenario
from punchd.traversal.events import Connect, StreamFailed, StreamMade


class Loopback(KernelNetwork):
    """
    A machine that others reach at its loopback address.
    """

    def localHosts(self) -> list[tuple[str, str]]:
        return [("127.0.0.1", "lo")]


class Agent:
    """
    I am told what an ICE agent is told.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def shoot(self, local: Any, remote: Address, ttl: Any) -> None:
        self.told.append(("shoot", local.base, local.transport, remote))

    def removeLocalCandidate(self, candidate: Any) -> None:
        self.told.append(("remove", candidate.base))

    def pairOf(self, local: Address, remote: Address) -> Any:
        return (local, remote)

    def probe(self, pair: Any) -> None:
        self.told.append(("probe", pair))


class Side:
    """
    I am a session as far as its connections see it.
    """

    def __init__(self, network: Any) -> None:
        self.agent = Agent()
        self.pairs: list[Any] = []
        self.context = SimpleNamespace(socket=PunchingSocket(network, Demux()))
        self.context.socket.open(0)
        self.carrier = self
        self.events: list[object] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self.connections = Connections(self, self._happened)  # type: ignore[arg-type]

    def ice(self, command: Callable[..., None], *args: Any) -> None:
        command(*args)
        self._look()

    def _happened(self, event: object) -> None:
        self.events.append(event)
        self._look()

    def _look(self) -> None:
        for each in list(self._waiting):
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(None)

    def when(self, true: Callable[[], bool]) -> Deferred[None]:
        """
        Wait until something is true, which the events or the agent bring about.
        """
        d: Deferred[None] = Deferred()
        self._waiting.append((true, d))
        self._look()
        return d

    def open(self) -> Address:
        """
        @return: the base of a new port.
        """
        base = self.connections.open(4)
        assert base is not None
        return base


@pytest.fixture
def sides() -> Generator[tuple[Side, Side], None, None]:
    """
    Two sessions on this machine.
    """
    from twisted.internet import reactor

    found = Side(Loopback(reactor)), Side(Loopback(reactor))
    yield found
    for side in found:
        side.connections.closeAll()
        side.context.socket.close()


def joined(a: Side, b: Side) -> tuple[Address, Address, Deferred[None]]:
    """
    @return: the bases of two ports, and what fires when they are connected.
    """
    one, other = a.open(), b.open()
    b.connections.ports[other].expect("127.0.0.1")
    a.connections.act(Connect(one, other))
    d = a.when(lambda: ("shoot", one, "tcp", other) in a.agent.told)
    shot = ("shoot", other, "tcp", one)
    return one, other, d.addCallback(lambda _: b.when(lambda: shot in b.agent.told))


@pytest_twisted.inlineCallbacks
def test_connection(sides: tuple[Side, Side]) -> Any:
    """
    What is connected is checked from both ends, and is a way for the punching
    socket, that is no relay; when it ends so do its pairs.
    """
    a, b = sides
    one, other, connected = joined(a, b)
    yield connected
    assert a.events == [StreamMade(one, other)]
    punching = a.context.socket
    assert not punching.isRelay(one)
    received: list[Any] = []

    def came(runs: list[Any]) -> None:
        received.extend(runs)
        b._look()

    b.connections.ports[other]._receiver = SimpleNamespace(runsReceived=came)
    punching.send([Datagram(b"data", one, other)])
    yield b.when(lambda: bool(received))
    assert received == [([b"data"], other, one)]
    b.connections.close(other)
    assert b.agent.told[-1] == ("remove", other)
    yield a.when(lambda: a.agent.told[-1] == ("remove", one))
    assert a.connections.ports == {}
    # It is known no more: not even to be sent from.
    assert not punching.isRelay(one)
    assert one not in punching._relays


@pytest_twisted.inlineCallbacks
def test_settle(sides: tuple[Side, Side]) -> Any:
    """
    Once a path is found, ports without a working pair are closed.
    """
    a, b = sides
    one, _, connected = joined(a, b)
    idle = a.open()
    yield connected
    a.pairs = [SimpleNamespace(valid=True, local=SimpleNamespace(base=one))]
    a.connections.settle()
    assert list(a.connections.ports) == [one]
    assert a.connections.open(4) not in (None, idle, one)


@pytest_twisted.inlineCallbacks
def test_failure(sides: tuple[Side, Side]) -> Any:
    """
    What cannot be connected is told.
    """
    a, _ = sides
    base = a.open()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed: Address = free.getsockname()
    a.connections.act(Connect(base, closed))
    yield a.when(lambda: bool(a.events))
    assert a.events == [StreamFailed(base, closed, "refused")]
    # Of ports that are gone nothing is wanted any more.
    a.connections.act(Connect(closed, base))


def test_notHere(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without an address of a family there is no port, nor where the reactor cannot
    adopt it.
    """
    scenario = Scenario("open", "open")
    side = Side(scenario.hostA)
    assert side.connections.open(6) is None
    assert side.connections.open(4) is not None
    side.connections.closeAll()
    monkeypatch.delattr(HostReactor, "adoptStreamConnection")
    assert side.connections.open(4) is None
    side.context.socket.close()
