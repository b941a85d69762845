"""
The ways to the relay, which of them wins, and what becomes of the others.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from punchd.core import Datagram
from punchd.net.legs import PATIENCE
from punchd.net.relay import IDLE, Relay
from punchd.net.streamleg import BUFFER, StreamLeg, _Stream
from punchd.net.ways import Reached, RelayCredentials, Way, waysToRendezvous
from punchd.testing.pair import Pair
from punchd.testing.scenario import Scenario

HOST = "203.0.113.10"
UDP, TCP, TLS = (
    Way("udp", (HOST, 3478)),
    Way("tcp", (HOST, 3478)),
    Way("tls", (HOST, 443), fingerprint="f"),
)


@contextmanager
def ready(kind: str) -> Generator[tuple[Pair, Relay], None, None]:
    """
    A client that knows its relay and has not used it.
    """
    pair = Pair(Scenario(kind, "open", 1))
    for client in (pair.a, pair.b):
        pair.network.runUntil(client.whenRegistered(), 10.0)
    pair.network.advance(2.0)
    relay = pair.a.context.relay
    assert relay is not None
    yield pair, relay
    pair.stop()
    assert pair.clock.getDelayedCalls() == []


def held(pair: Pair) -> int:
    """
    @return: how many allocations the rendezvous holds.
    """
    assert pair.rendezvous.relay is not None
    return len(list(pair.rendezvous.relay.allocations()))


def asked(pair: Pair, relay: Relay, seconds: float) -> tuple[Any, list[Any]]:
    """
    Ask the relay for an address.

    @return: the address or the failure, and what the client sends in that time.
    """
    capture = pair.network.capture("sent", matches=lambda r: r.where == "hostA")
    found: list[Any] = []
    relay.whenAllocated().addBoth(found.append)
    pair.network.advance(seconds)
    return found[0], list(capture.stop())


def test_order() -> None:
    """
    UDP, then the way of signaling, then the others; through the proxy at last.
    """

    def ways(port: int, proxied: bool = False, proxy: bool = False) -> list[str]:
        how = Reached(HOST, (3478, 443), "f", port, proxied)
        found = waysToRendezvous((HOST, 3478), how, proxy)
        return [f"{w.transport}{w.server[1]}{'p' * w.proxied}" for w in found]

    assert ways(3478) == ["udp3478", "tcp3478", "tls443"]
    assert ways(443) == ["udp3478", "tls443", "tcp3478"]
    assert ways(443, True, True) == [
        "udp3478",
        "tls443p",
        "tcp3478",
        "tls443",
        "tcp3478p",
    ]
    one = Reached(HOST, (5000,), None, 5000)
    assert [w.server[1] for w in waysToRendezvous(None, one, False)] == [5000, 5000]
    assert waysToRendezvous((HOST, 3478), None, True) == [UDP]


def test_quietWhereUDPWorks() -> None:
    """
    One round trip over UDP, and not a packet by another way, then or later.
    """
    with ready("portrestricted") as (pair, relay):
        address, packets = asked(pair, relay, 5.0)
        assert address == relay.relayed
        assert [p for p in packets if p.protocol == "tcp"] == []
        allocates = [p for p in packets if p.payload[:2] == b"\0\3"]
        assert len(allocates) == 1
        assert relay.way == UDP


@pytest.mark.parametrize(
    ("kind", "transport", "trips"), [("udpblocked", "tcp", 2), ("tcp443", "tls", 3)]
)
def test_withoutUDP(kind: str, transport: str, trips: int) -> None:
    """
    The way that signaling came by gives an address as soon as can be.  It is
    remembered: the next time nothing is tried over UDP.
    """
    with ready(kind) as (pair, relay):
        began = pair.clock.seconds()
        pair.network.runUntil(relay.whenAllocated(), 5.0)
        assert pair.clock.seconds() - began == pytest.approx(trips * 0.05, abs=0.01)
        assert relay.way is not None
        assert relay.way.transport == transport
        pair.network.advance(IDLE + 1.0)
        assert relay.relayed is None
        assert held(pair) == 0
        address, packets = asked(pair, relay, 0.2)
        assert address == relay.relayed
        assert {p.payload[:2] for p in packets if p.protocol == "udp"} <= {b"\0\1"}
        assert held(pair) == 1


def test_loserIsReleased() -> None:
    """
    An allocation that came too late is given back.
    """
    with ready("portrestricted") as (pair, relay):
        tcp = next(way for way in relay.ways if way.transport == "tcp")
        relay.ways = [tcp, UDP]
        relay.chances.rtt = None
        # By the time that TCP has its answer, that over UDP is on its way.
        relay.chances.headStart = lambda way: 0.06  # type: ignore[method-assign]
        pair.network.runUntil(relay.whenAllocated(), 5.0)
        assert relay.way == tcp
        pair.network.advance(1.0)
        assert held(pair) == 1
        assert pair.a.socket.isRelay(relay.relayed)  # type: ignore[arg-type]


def test_idle() -> None:
    """
    Who wants to be reached keeps the allocation; it goes some time after that.
    """
    with ready("portrestricted") as (pair, relay):
        first = pair.network.runUntil(relay.whenAllocated(), 5.0)
        relay.permit("somebody", ["192.0.2.130"])
        pair.network.advance(3 * IDLE)
        assert relay.relayed == first
        relay.forget("somebody")
        pair.network.advance(IDLE / 2)
        assert relay.relayed == first
        pair.network.runUntil(relay.whenAllocated(), 5.0)
        pair.network.advance(IDLE - 1.0)
        assert relay.relayed == first
        pair.network.advance(2.0)
        assert relay.relayed is None
        assert pair.a.gathering.relayed is None
        assert held(pair) == 0


def test_credentialsAreRenewed() -> None:
    """
    New credentials come in time, and change nothing about what is allocated.
    """
    with ready("portrestricted") as (pair, relay):
        relay.permit("somebody", ["192.0.2.130"])
        first = pair.network.runUntil(relay.whenAllocated(), 5.0)
        before = relay.chances.credentials
        assert pair.rendezvous.relay is not None
        (allocation,) = pair.rendezvous.relay.allocations()
        pair.network.advance(13 * 3600.0)
        assert relay.chances.credentials != before
        assert relay.relayed == first
        assert list(pair.rendezvous.relay.allocations()) == [allocation]


def test_connectionLost() -> None:
    """
    A relay that is started anew is asked for another address, if one is wanted.
    """
    with ready("udpblocked") as (pair, relay):
        first = pair.network.runUntil(relay.whenAllocated(), 5.0)
        relay.permit("somebody", ["192.0.2.130"])
        pair.network.kill(pair.scenario.rendezvous)
        pair.rendezvous = pair.startRendezvous()
        pair.network.advance(15.0)
        assert relay.relayed not in (None, first)
        assert held(pair) == 1


def test_nowhere() -> None:
    """
    Where nothing answers, each way is named with what became of it.
    """
    with ready("udpblocked") as (pair, relay):
        relay.ways = [Way("tcp", (HOST, 1)), Way("tcp", ("203.0.113.99", 2))]
        failures: list[Any] = []
        relay.whenAllocated().addErrback(failures.append)
        pair.network.advance(PATIENCE + 1.0)
        assert str(failures[0].value) == (
            f"TCP to {HOST}:1: connection was refused by other side; "
            "TCP to 203.0.113.99:2: no answer"
        )


def test_refused() -> None:
    """
    A server that does not want us is not asked by its other ways, but another
    server is.
    """
    with ready("udpblocked") as (pair, relay):
        wrong = RelayCredentials("nobody", "secret")
        own = list(relay.ways)
        foreign = [Way("tcp", (HOST, port), credentials=wrong) for port in (3478, 443)]
        relay.ways = foreign
        failure, packets = asked(pair, relay, 2.0)
        assert failure.value.code == 401
        assert len({p.source for p in packets if p.protocol == "tcp"}) == 1
        relay.ways = [*foreign, *own]
        pair.network.runUntil(relay.whenAllocated(), 5.0)
        assert relay.way in own


class Transport:
    """
    Where a stream writes to.
    """

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.written += data


class Time:
    """
    A clock that stands still.
    """

    now = 0.0

    def seconds(self) -> float:
        """
        @return: the time.
        """
        return self.now


def test_backPressure() -> None:
    """
    What a connection does not take is kept to a limit, then dropped and counted.
    """
    clock: Any = Time()
    leg = StreamLeg(("h", 1), None, clock)  # type: ignore[arg-type]
    leg._stream = stream = _Stream(leg, False)
    transport: Any = Transport()
    stream._outlet = outlet = stream.outlet(transport)

    def send(data: bytes) -> None:
        leg.send([Datagram(data, None, ("h", 1))])

    send(b"\x40\0\0\1a")
    assert transport.written == b"\x40\0\0\1a\0\0\0"
    outlet.pauseProducing()
    frame = b"\x40\0\3\xfc" + bytes(1020)
    for _ in range(2 * BUFFER // len(frame)):
        send(frame)
    assert leg.counters["no room"] == BUFFER // len(frame)
    before = len(transport.written)
    outlet.resumeProducing()
    assert len(transport.written) - before == BUFFER


def test_UDPIsBlockedNow() -> None:
    """
    Where the machine is now, UDP does not pass: the relay is reached by TCP, and
    the allocation that cannot be kept up is forgotten.  It stays while it answers,
    and while nothing else does better.
    """
    with ready("portrestricted") as (pair, relay):
        first = pair.network.runUntil(relay.whenAllocated(), 5.0)
        relay.permit("somebody", ["192.0.2.130"])
        router: Any = pair.scenario.sideA.routers[0]
        relay.check()
        pair.network.advance(10.0)
        assert relay.relayed == first
        router.blockUdp = True
        relay.chances.networkChanged()
        relay.check()
        pair.network.advance(5.0)
        assert relay.relayed not in (None, first)
        assert relay.way is not None
        assert relay.way.transport == "tcp"
        assert pair.a.gathering.relayed == relay.relayed
