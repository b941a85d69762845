"""
QUIC as a core object, without streams of ours above it.
"""

from __future__ import annotations

from typing import cast

import pytest

from punchd.core import Core
from punchd.errors import DatagramTooLarge
from punchd.session.backend import DATAGRAM_SIZE
from punchd.session.events import (
    DatagramReceived,
    HandshakeCompleted,
    PingAcknowledged,
    StreamData,
    StreamReset,
    StreamStopped,
    Terminated,
)
from punchd.session.quic import MAX_DATAGRAM, VIRTUAL, QuicCore
from punchd.session.sent import LATEST

from .pair import BACKENDS, LISTENER, Pair
from .two import Two

both = pytest.mark.parametrize("backend", ["qh3", "aioquic"])
mixed = pytest.mark.parametrize(
    ("here", "there"),
    # A qh3 2.1 server fails at aioquic's shorter ClientHello: "packet builder
    # capacity exhausted", with any size of datagrams.
    [("qh3", "qh3"), ("aioquic", "aioquic"), ("qh3", "aioquic")],
)


@mixed
def test_handshake(here: str, there: str) -> None:
    """
    Any two of the libraries shake hands; the client sees the server's key.
    """
    two = Two(here, there)
    two.client.start(two.now)
    two.exchange()
    assert two.events[two.client] == [HandshakeCompleted(LISTENER.spki)]
    assert two.events[two.server] == [HandshakeCompleted(None)]


@both
def test_isACore(backend: str) -> None:
    """
    Draining before anything has happened gives nothing, on either side.
    """
    for core in (
        QuicCore.client(BACKENDS[backend]()),
        QuicCore.server(LISTENER, BACKENDS[backend]()),
    ):
        checked: Core = core
        assert checked.takeDatagrams() == []
        assert checked.takeEvents() == []
        assert checked.deadline() is None


@both
def test_deadlineIsNowWhileDatagramsWait(backend: str) -> None:
    """
    The core wants to be drained at once after a command.
    """
    two = Two(backend, backend).connected()
    two.now += 10
    two.client.note(two.now)
    two.client.ping()
    assert two.client.deadline() == two.now
    two.drain(two.client)
    deadline = two.client.deadline()
    assert deadline is not None and deadline > two.now


@both
def test_handshakeDatagramsAreFull(backend: str) -> None:
    """
    The first flight proves paths of full size, and fits in an offer.
    """
    two = Two(backend, backend)
    two.client.start(two.now)
    flight = two.drain(two.client)
    assert {len(data) for data in flight} == {DATAGRAM_SIZE}
    assert len(flight) <= 2
    assert two.client.sent.lastFullSize in flight
    two.server.datagramsReceived(flight, two.now)
    answer = two.drain(two.server)
    assert sum(map(len, answer)) <= 4 * DATAGRAM_SIZE
    assert two.server.sent.lastFullSize is not None


@both
def test_noDatagramIsLarger(backend: str) -> None:
    """
    Nothing ever probes for more than the smallest size.
    """
    two = Two(backend, backend).connected()
    id = two.client.openStream()
    two.client.sendStream(id, bytes(500000), True)
    largest = 0
    for _ in range(300):
        sent = two.drain(two.client)
        largest = max([largest, *map(len, sent)])
        two.server.datagramsReceived(sent, two.now)
        two.client.datagramsReceived(two.drain(two.server), two.now)
        two.now += 0.01
    assert MAX_DATAGRAM < largest <= DATAGRAM_SIZE
    assert len(two.client.sent.lastFullSize or b"") == DATAGRAM_SIZE


@mixed
def test_streams(here: str, there: str) -> None:
    """
    Data, ends, resets and stops arrive as events.
    """
    two = Two(here, there).connected()
    first, second = two.client.openStream(), two.client.openStream()
    control = two.client.openControl()
    assert (first, second, control) == (0, 4, 2)
    two.client.sendStream(first, b"one")
    two.client.sendStream(first, b"two", True)
    two.client.sendStream(second, b"x")
    two.client.sendStream(control, b"c")
    two.exchange(3)
    got = cast(list[StreamData], two.events[two.server])
    assert {(e.id, bytes(e.data), e.end) for e in got} == {
        (first, b"onetwo", True),
        (second, b"x", False),
        (control, b"c", False),
    }
    two.events[two.server].clear()
    two.client.resetStream(second, 7)
    two.client.stopStream(second, 8)
    two.exchange(3)
    assert set(two.events[two.server]) == {
        StreamReset(second, 7),
        StreamStopped(second, 8),
    }
    assert two.server.sendStream(second, b"too late") in (False, True)


@both
def test_streamThatIsOver(backend: str) -> None:
    """
    What is asked of a stream that the peer has ended does no harm.
    """
    two = Two(backend, backend).connected()
    id = two.client.openStream()
    two.client.sendStream(id, b"x", True)
    two.exchange(3)
    two.server.stopStream(id, 1)
    two.server.sendStream(id, b"", True)
    two.exchange(3)
    for core in (two.client, two.server):
        core.resetStream(id, 1)
        core.stopStream(id, 1)
        core.sendStream(id, b"more")
        core.stopStream(4000, 1)
    two.exchange(3)
    assert not any(isinstance(e, Terminated) for e in two.events[two.client])


@mixed
def test_datagrams(here: str, there: str) -> None:
    """
    DATAGRAM frames up to the limit arrive; longer ones are not even tried.
    """
    two = Two(here, there).connected()
    for size in (0, 1, MAX_DATAGRAM):
        two.client.sendDatagram(bytes(size))
    two.server.sendDatagram(b"back")
    with pytest.raises(DatagramTooLarge, match="1170"):
        two.client.sendDatagram(bytes(MAX_DATAGRAM + 1))
    two.exchange(5)
    assert two.events[two.server] == [
        DatagramReceived(b""),
        DatagramReceived(b"\0"),
        DatagramReceived(bytes(MAX_DATAGRAM)),
    ]
    assert two.events[two.client] == [DatagramReceived(b"back")]


@mixed
def test_pings(here: str, there: str) -> None:
    """
    A ping is acknowledged by its number.
    """
    two = Two(here, there).connected()
    one, other = two.client.ping(), two.client.ping()
    two.exchange(5)
    assert two.events[two.client] == [PingAcknowledged(one), PingAcknowledged(other)]


@both
def test_resend(backend: str) -> None:
    """
    After a path change the last datagrams go again, with a ping; the peer
    drops them and nothing arrives twice.
    """
    two = Two(backend, backend).connected()
    id = two.client.openStream()
    two.client.sendStream(id, b"d" * 20000)
    two.exchange()
    before = len(two.events[two.server])
    two.client.sendStream(id, b"lost")
    lost = two.drain(two.client)
    two.now += 3.0
    two.client.resend(two.now)
    again = two.drain(two.client)
    assert lost[-1] in again
    assert len(lost) < len(again) <= LATEST + 4
    two.server.datagramsReceived(again, two.now)
    two.events[two.server] += two.server.takeEvents()
    assert two.events[two.server][before:] == [StreamData(id, b"lost", False)]


@mixed
def test_close(here: str, there: str) -> None:
    """
    Both ends terminate, with code and reason; then there is no deadline left.
    """
    two = Two(here, there).connected()
    two.client.close(0x1234, "enough", two.now)
    two.exchange(600)
    for core in (two.client, two.server):
        assert two.events[core] == [Terminated(0x1234, "enough")]
        assert core.deadline() is None
        core.ping()
        core.sendStream(0, b"x")
        core.close(0, "again", two.now)
        assert two.drain(core) == []


@both
@pytest.mark.parametrize("seed", range(20))
def test_handshakeUnderLoss(backend: str, seed: int) -> None:
    """
    A handshake over a network that loses three of ten datagrams does not stand
    still for long.
    """
    pair = Pair(backend, seed=seed).configure(loss=0.3, delay=0.025).connect()
    assert pair.clock.seconds() < 1000.0 + 10.0


def test_firstFlightIsNotPaced() -> None:
    """
    What is said right after the handshake goes at once: neither datagrams that
    could have been one nor idle drains have used up what QUIC may send in a burst.
    """
    two = Two()
    two.client.start(two.now)
    two.now += 0.025
    two.server.datagramsReceived(two.drain(two.client), two.now)
    answer = two.drain(two.server)
    two.now += 0.025
    two.client.datagramsReceived(answer, two.now)
    assert two.client.takeDatagrams() == []
    assert HandshakeCompleted in map(type, two.client.takeEvents())
    two.drain(two.client)
    for _ in range(5):
        assert two.drain(two.client) == []
    for _ in range(2):
        two.client.sendStream(two.client.openStream(), b"hello")
        assert len(two.drain(two.client)) == 1


@both
def test_earlyDatagrams(backend: str) -> None:
    """
    A client that has not begun counts what comes and does nothing.
    """
    client = QuicCore.client(BACKENDS[backend]())
    client.datagramReceived(bytes(1200), VIRTUAL, VIRTUAL, 1.0)
    assert client.counters["early"] == 1
    assert client.takeDatagrams() == []


@both
def test_silenceForMinutes(backend: str) -> None:
    """
    Ten minutes without a word from the other side do not end the connection.
    """
    two = Two(backend, backend).connected()
    id = two.client.openStream()
    two.client.sendStream(id, b"into the void")
    end = two.now + 600
    while two.now < end:
        two.drain(two.client)
        deadline = two.client.deadline()
        assert deadline is not None
        two.now = max(two.now, deadline)
        two.client.timeReached(two.now)
    two.client.resend(two.now)
    two.exchange()
    assert StreamData(id, b"into the void", False) in two.events[two.server]
