"""
Tests for L{punchd.net.stream}.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyClass

from punchd.net.stream import (
    BATCH,
    LARGEST,
    LEAST_WAITING,
    MOST_WAITING,
    PATIENCE,
    DatagramStream,
    Deframer,
    framed,
)
from punchd.stun.message import Method, request

CHECK = request(Method.BINDING, bytes(12)).serialize(fingerprint=True)


class Transport(StringTransport):
    """
    A transport in memory with what TCP has besides.
    """

    bufferSize = 0

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.noDelay = enabled


def made(
    seconds: Callable[[], float] = lambda: 0.0,
) -> tuple[DatagramStream, Transport, list[bytes], list[str]]:
    """
    A connected stream, its transport, what it received and why it was lost.
    """
    received: list[bytes] = []
    lost: list[str] = []
    stream = DatagramStream(received.extend, lost.append, seconds)
    transport = Transport()
    stream.makeConnection(transport)
    return stream, transport, received, lost


@given(st.lists(st.binary(min_size=1, max_size=300)), st.data())
def test_roundTrip(datagrams: list[bytes], data: st.DataObject) -> None:
    """
    However a stream is cut, the datagrams come out as they went in.
    """
    stream = framed(datagrams)
    deframer, found = Deframer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += deframer.dataReceived(stream[:size])
        stream = stream[size:]
    assert found == datagrams
    assert deframer.pending == 0


@given(st.lists(st.binary()))
def test_garbage(chunks: list[bytes]) -> None:
    """
    Whatever comes, at most one datagram is kept, and none is empty.
    """
    deframer = Deframer()
    for chunk in chunks:
        assert all(deframer.dataReceived(chunk))
        assert deframer.pending < 2 + LARGEST


def test_largest() -> None:
    """
    Datagrams of 65,535 bytes fit; those of none are skipped.
    """
    largest = bytes(LARGEST)
    found = Deframer().dataReceived(framed([b"", largest, b"", b"x"]))
    assert found == [largest, b"x"]


def test_interface() -> None:
    """
    A transport may pause it.
    """
    assert verifyClass(IPushProducer, DatagramStream)


def test_sends() -> None:
    """
    Datagrams leave at once, small ones too.
    """
    stream, transport, received, lost = made()
    stream.sendDatagrams([b"one", b"three"])
    assert transport.value() == b"\0\3one\0\5three"
    assert transport.noDelay
    stream.dataReceived(b"\0\3one\0\5th")
    assert received == [b"one"]
    assert stream.counters == {"sent": 2, "received": 1}
    assert lost == []


def test_bounded() -> None:
    """
    While the transport has enough, so many bytes wait, and checks first; what comes
    on top is dropped and counted.
    """
    stream, transport, _, _ = made()
    stream.pauseProducing()
    stream.sendDatagrams([b"a" * 1000, b"b" * 1000, CHECK])
    stream.sendDatagrams([bytes(1000)] * 3000)
    assert transport.value() == b""
    assert MOST_WAITING - 1000 < stream.waiting <= MOST_WAITING
    waiting = (stream.waiting - len(CHECK)) // 1000
    assert stream.counters["dropped"] == 3002 - waiting
    stream.resumeProducing()
    first = framed([CHECK, b"a" * 1000, b"b" * 1000])
    assert transport.value().startswith(first)
    assert stream.waiting == 0


@pytest.mark.parametrize("rate", [100_000, 1_000_000, 100_000_000])
def test_slow(rate: int) -> None:
    """
    However fast the transport is, nothing waits for much longer than half a second,
    and nothing is dropped without need.
    """
    now = [0.0]
    stream, transport, _, _ = made(lambda: now[0])
    write = transport.write

    def taking(data: bytes) -> None:
        write(data)
        stream.pauseProducing()
        now[0] += len(data) / rate

    transport.write = taking  # type: ignore[method-assign]
    longest = 0.0
    stream.pauseProducing()
    while now[0] < 10.0 and stream.counters["sent"] < 20_000:
        # Twice as much as leaves.
        stream.sendDatagrams([bytes(1200)] * (2 * BATCH // 1200))
        longest = max(longest, stream.waiting / rate)
        stream.resumeProducing()
        transport.clear()
    assert longest < 2.5 * PATIENCE + LEAST_WAITING / rate
    assert longest > min(0.9 * PATIENCE, 0.9 * MOST_WAITING / rate)
    assert stream.counters["dropped"] > 0.3 * stream.counters["sent"]


def test_pausedAgain() -> None:
    """
    A transport that has enough again gets no more.
    """
    stream, transport, _, _ = made()
    stream.pauseProducing()
    stream.sendDatagrams([bytes(1200)] * 40)
    write = transport.write

    def pausing(data: bytes) -> None:
        write(data)
        stream.pauseProducing()

    transport.write = pausing  # type: ignore[method-assign]
    stream.resumeProducing()
    sent = len(transport.value())
    assert 0 < sent < 40_000
    assert stream.waiting == 40 * 1200 - sent // 1202 * 1200


def test_lost() -> None:
    """
    The end is told once, and nothing is sent after it.
    """
    from twisted.internet.error import ConnectionLost
    from twisted.python.failure import Failure

    stream, transport, received, lost = made()
    stream.connectionLost(Failure(ConnectionLost()))
    stream.sendDatagrams([b"late"])
    stream.dataReceived(b"\0\4late")
    assert transport.value() == b""
    assert received == []
    assert len(lost) == 1


def test_close() -> None:
    """
    Who closes it is not told; what waits is not waited for.
    """
    stream, transport, received, lost = made()
    stream.close()
    stream.dataReceived(b"\0\4late")
    assert transport.disconnecting
    assert (received, lost) == ([], [])
    stream, transport, _, _ = made()
    stream.pauseProducing()
    stream.sendDatagrams([b"waits"])
    stream.close()
    assert transport.disconnected
