"""
Datagrams beside the streams of a session.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import DatagramTooLarge
from punchd.session.datagrams import (
    EARLY,
    MAX_AGE,
    MAX_PAYLOAD,
    MAX_QUEUED,
    Datagrams,
    _pack,
    _unpack,
)
from punchd.session.pace import FIRST
from punchd.session.stream import Stream

from .pair import Pair


class Both:
    """
    A pair with a stream for datagrams, whose ends keep what comes.
    """

    def __init__(self, **settings: float) -> None:
        self.pair = Pair().configure(delay=0.01, **settings).connect()
        self.here = self.pair.a.streams.openStream("game", datagrams=True)
        self.came: list[bytes] = []
        self.back: list[bytes] = []
        self.here.receiveDatagrams(self.back.append)
        self.pair.b.streams.onIncoming = self._incoming

    def _incoming(self, service: str, stream: Stream) -> None:
        self.there = stream
        stream.accept()
        stream.receiveDatagrams(self.came.append)

    def datagrams(self, end: str) -> Datagrams:
        """
        Those of one end.
        """
        return getattr(self.pair, end).streams._table.datagrams


def test_bothWays() -> None:
    """
    Datagrams of any size that fits go both ways, and tell what they are for.
    """
    both = Both()
    sent = [b"", b"x", bytes(MAX_PAYLOAD)]
    for data in sent:
        both.here.sendDatagram(data)
    both.pair.run(1.0)
    assert both.came == sent
    assert both.there.datagrams
    both.there.sendDatagram(b"back")
    both.pair.run(1.0)
    assert both.back == [b"back"]


def test_tooLarge() -> None:
    """
    One byte more than fits is refused before QUIC sees it.
    """
    with pytest.raises(DatagramTooLarge, match=str(MAX_PAYLOAD)):
        Both().here.sendDatagram(bytes(MAX_PAYLOAD + 1))


def test_aheadOfTheirStream() -> None:
    """
    Datagrams that are there before anybody takes them wait, a few of them.
    """
    both = Both()
    kept: list[Stream] = []
    both.pair.b.streams.onIncoming = lambda service, stream: kept.append(stream)
    for number in range(EARLY + 3):
        both.here.sendDatagram(b"%d" % number)
    both.pair.run(1.0)
    kept[0].accept()
    kept[0].receiveDatagrams(both.came.append)
    assert both.came == [b"%d" % number for number in range(3, EARLY + 3)]
    assert both.datagrams("b").dropped == {"no stream": 3}


def test_theOldestMakeRoom() -> None:
    """
    Who sends more than the path takes loses the oldest; nothing piles up.
    """
    both = Both()
    both.pair.run(1.0)
    count = 5 * MAX_QUEUED // 1000
    for number in range(count):
        both.here.sendDatagram(b"%1000d" % number)
    mine = both.datagrams("a")
    assert mine._size <= MAX_QUEUED
    both.pair.run(2.0)
    lost = mine.dropped["the queue is full"]
    assert lost > MAX_QUEUED // 1000
    assert len(both.came) == count - lost
    assert both.came[-1] == b"%1000d" % (count - 1)


def test_evenPace() -> None:
    """
    They do not leave as one burst, whatever the program does.
    """
    both = Both()
    both.pair.run(1.0)
    for _ in range(200):
        both.here.sendDatagram(bytes(1000))
    both.pair.run(0.02)
    assert 20 < both.datagrams("a").sent < 0.03 * FIRST / 1000 + 40
    both.pair.run(1.0)
    assert len(both.came) == 200


def test_fasterAndSlower() -> None:
    """
    As long as the round trip stays small the pace grows; a queue slows it down.
    """
    both = Both()
    both.pair.run(1.0)
    pace = both.datagrams("a").pace

    def flood(seconds: float) -> None:
        for _ in range(round(100 * seconds)):
            for _ in range(100):
                both.here.sendDatagram(bytes(1000))
            both.pair.run(0.01)

    flood(6.0)
    faster = pace.rate
    assert faster > 2 * FIRST
    both.pair.configure(delay=0.2)
    flood(6.0)
    assert pace.rate < faster / 2


def test_nobodyWaitsForOldOnes() -> None:
    """
    What could not be sent for a while is not sent any more.
    """
    both = Both()
    both.pair.run(1.0)
    mine = both.datagrams("a")
    mine.pace.rate = 1000.0
    for number in range(100):
        both.here.sendDatagram(b"%1000d" % number)
    both.pair.run(MAX_AGE + 20.0)
    both.here.sendDatagram(b"new")
    both.pair.run(20.0)
    assert both.came[-1] == b"new"
    assert mine.dropped["too late"] == 101 - len(both.came) > 50


def test_streamsGoOn() -> None:
    """
    A flood of datagrams does not keep a stream from going on.
    """
    both = Both()
    stream, recorder = both.pair.open()
    both.pair.run(1.0)
    stream.write(bytes(200_000))
    for _ in range(400):
        for _ in range(20):
            both.here.sendDatagram(bytes(1000))
        both.pair.run(0.01)
    echo = both.pair.b
    assert echo.streams.bytesReceived >= 200_000
    assert len(both.came) > 200
    assert recorder.reason is None


def test_closedStream() -> None:
    """
    A stream that is over sends none, and those under way are dropped.
    """
    both = Both()
    both.pair.run(1.0)
    both.there.abortConnection()
    both.pair.run(1.0)
    both.here.sendDatagram(b"late")
    both.pair.run(1.0)
    assert both.came == []


@given(st.integers(0, (1 << 31) - 1), st.binary(max_size=20))
def test_numbers(number: int, data: bytes) -> None:
    """
    The number of a bidirectional stream survives, in at most four bytes.
    """
    id = number >> 1 << 2 | number & 1
    if id >> 2 << 1 | id & 1 < 1 << 30:
        packed = _pack(id) if number < 1 << 30 else None
        if packed is not None:
            assert len(packed) <= 4
            assert _unpack(packed + data) == (id, data)


@given(st.binary(max_size=12))
def test_garbage(data: bytes) -> None:
    """
    Whatever comes is a number and a payload, or nothing.
    """
    found = _unpack(data)
    assert found is None or data.endswith(found[1])
