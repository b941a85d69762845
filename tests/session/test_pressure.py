"""
Back-pressure: what a slow reader or a stalled path makes either end keep.
"""

from __future__ import annotations

import random

import pytest
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from punchd.errors import ProtocolViolation
from punchd.session.backend import DATAGRAM_SIZE
from punchd.session.credit import INITIAL_WINDOW, MAX_WINDOW
from punchd.session.flow import HIGH_WATER
from punchd.session.stream import Stream
from punchd.session.turns import BUFFER

from .pair import Pair, Recorder

MB = 1_000_000

pytestmark = pytest.mark.parametrize("backend", ["qh3", "aioquic"])


@implementer(IPushProducer)
class Pusher:
    """
    Writes as fast as it may.
    """

    def __init__(self, stream: Stream, left: int, chunk: int = 65536) -> None:
        self.stream = stream
        self.left = left
        self.chunk = random.Random(3).randbytes(chunk)
        self.paused = False
        self.stopped = False
        stream.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """
        Write until paused.
        """
        self.paused = False
        while self.left > 0 and not self.paused:
            data = self.chunk[: self.left]
            self.left -= len(data)
            self.stream.write(data)
        if self.left == 0:
            self.left = -1
            self.stream.unregisterProducer()
            self.stream.loseConnection()

    def pauseProducing(self) -> None:
        """
        Wait.
        """
        self.paused = True

    def stopProducing(self) -> None:
        """
        Give up.
        """
        self.stopped = True
        self.left = -1


def unsent(pair: Pair, stream: Stream) -> int:
    """
    What the sender keeps that QUIC has not put on the wire once.
    """
    return stream.outgoing.size + pair.a.core.sendBufferSize()


def test_slowReader(backend: str) -> None:
    """
    A reader that stops for a minute, with 200 MB to come: the receiver holds
    one window, the sender what a producer may be ahead; then all arrives.
    """
    size = 200 * MB if backend == "qh3" else 8 * MB
    pair = Pair(backend).connect()
    stream, recorder = pair.open()
    pair.until(lambda: bool(pair.b.incoming))
    theirs = pair.b.incoming[0]
    theirs.pauseProducing()
    Pusher(stream, size)
    most = ahead = 0
    for _ in range(60):
        pair.run(1.0)
        most = max(most, theirs.incoming.size)
        ahead = max(ahead, unsent(pair, stream))
    assert 0.9 * INITIAL_WINDOW < most <= INITIAL_WINDOW
    assert ahead <= HIGH_WATER + 65536 + BUFFER
    there = theirs.protocol
    assert there.data == b""
    # Not on to the end in virtual time: what matters is that it goes on.
    theirs.resumeProducing()
    wanted = min(size, 20 * MB)
    pair.until(lambda: len(there.data) >= wanted, 30)
    if there.reason is None:
        stream.abortConnection()
    pair.run(2.0)
    assert pair.b.streams.count == 0
    assert stream.disconnected and recorder.reason is not None


def test_senderWithoutRegardForCredit(backend: str) -> None:
    """
    A peer that ignores credit loses the stream once it has more under way than
    any honest one could have; other streams do not notice.
    """
    pair = Pair(backend).connect()
    stream, recorder = pair.open()
    other, _ = pair.open()
    other.write(b"before")
    pair.until(lambda: len(pair.b.incoming) == 2)
    theirs = pair.b.incoming[0]
    there = theirs.protocol
    theirs.pauseProducing()
    stream.outgoing.credit.window = 1 << 40
    stream.write(bytes(MAX_WINDOW + MB))
    pair.until(lambda: recorder.reason is not None and there.reason is not None)
    assert isinstance(there.reason, ProtocolViolation)
    assert pair.b.streams._table.held == 0
    other.write(b" and after")
    pair.run(1.0)
    assert bytes(pair.b.incoming[1].protocol.data) == b"before and after"


def test_allStreamsTogether(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    So does the session when all streams together hold too much.
    """
    monkeypatch.setattr("punchd.session.table.MAX_HELD", 3 * MB)
    pair = Pair(backend).connect()
    for _ in range(5):
        stream, _ = pair.open()
        stream.write(bytes(MB))
    pair.until(lambda: len(pair.b.incoming) == 5)
    for theirs in pair.b.incoming:
        theirs.pauseProducing()
    pair.until(lambda: bool(pair.b.told("Lost")))
    assert isinstance(pair.b.told("Lost")[0], ProtocolViolation)


def test_readerOfDrops(backend: str) -> None:
    """
    A reader that takes a little each second is never given more than a window
    ahead, and the window does not grow for it.
    """
    pair = Pair(backend).connect()
    stream, _ = pair.open()
    pair.until(lambda: bool(pair.b.incoming))
    theirs = pair.b.incoming[0]
    there = theirs.protocol
    pusher = Pusher(stream, 100 * MB)

    def pauseAgain(data: bytes) -> None:
        Recorder.dataReceived(there, data)
        if len(there.data) > limit:
            theirs.pauseProducing()

    there.dataReceived = pauseAgain
    limit = 0
    for _ in range(20):
        limit += 100_000
        theirs.resumeProducing()
        pair.run(1.0)
        assert theirs.incoming.size <= INITIAL_WINDOW
    assert stream.outgoing.credit.window == INITIAL_WINDOW
    assert pusher.paused
    stream.abortConnection()
    pair.run(0.1)
    assert pusher.stopped


def test_windowGrowsWithThePath(backend: str) -> None:
    """
    On a long fast path the window grows beyond its beginning, not beyond its
    limit.
    """
    size = 60 * MB if backend == "qh3" else 20 * MB
    pair = Pair(backend).configure(delay=0.125).connect()
    stream, _ = pair.open()
    Pusher(stream, size)
    pair.until(lambda: stream.disconnected)
    pair.run(1.0)
    # After the end the window is given back.
    assert stream.outgoing.credit.window == INITIAL_WINDOW
    assert pair.a.streams.bytesSent > size
    again, _ = pair.open()
    Pusher(again, size)
    pair.until(lambda: again.outgoing.credit.window > INITIAL_WINDOW)
    assert again.outgoing.credit.window <= MAX_WINDOW
    again.abortConnection()
    pair.run(1.0)


def test_stalledPath(backend: str) -> None:
    """
    While no path works the sender keeps little, and goes on at once when the
    path comes back and it is told so.
    """
    pair = Pair(backend).connect()
    stream, _ = pair.open()
    Pusher(stream, 20 * MB if backend == "qh3" else 3 * MB)
    pair.run(0.1)
    there = pair.b.incoming[0].protocol
    pair.configure(down=True)
    pair.run(20.0)
    got = len(there.data)
    assert unsent(pair, stream) <= HIGH_WATER + 65536 + BUFFER
    assert there.reason is None
    pair.configure(down=False)
    for end in (pair.a, pair.b):
        end.streams.pathChanged(pair.clock.seconds())
    pair.run(0.2)
    assert len(there.data) > got
    pair.until(lambda: there.reason is not None)


def test_pathChangesWhileItRuns(backend: str) -> None:
    """
    Twenty times another path, each with its own delay and with the datagrams
    under way lost: nothing is lost or changed of the stream.
    """
    size = 20 * MB if backend == "qh3" else 2 * MB
    pair = Pair(backend).connect()
    data = random.Random(5).randbytes(size)
    stream, _ = pair.open()
    stream.write(data)
    stream.loseWriteConnection()
    pair.until(lambda: bool(pair.b.incoming))
    there = pair.b.incoming[0].protocol
    for i in range(20):
        pair.configure(down=True)
        pair.run(0.02)
        pair.configure(down=False, delay=0.005 * (1 + i % 5))
        for end in (pair.a, pair.b):
            end.streams.pathChanged(pair.clock.seconds())
        pair.run(0.1)
    pair.until(lambda: there.reason is not None, 600)
    assert bytes(there.data) == data


@implementer(IPullProducer)
class Puller:
    """
    Writes when it is asked to.
    """

    def __init__(self, stream: Stream, pieces: int) -> None:
        self.stream = stream
        self.pieces = pieces
        self.asked = 0

    def resumeProducing(self) -> None:
        """
        Write one piece.
        """
        self.asked += 1
        if self.pieces:
            self.pieces -= 1
            self.stream.write(b"p" * 1000)
        else:
            self.stream.unregisterProducer()
            self.stream.loseConnection()

    def stopProducing(self) -> None:
        """
        Never wanted.
        """
        raise AssertionError


def test_pullProducer(backend: str) -> None:
    """
    A pull producer is asked again whenever its last piece has left.
    """
    pair = Pair(backend).connect()
    stream, recorder = pair.open()
    puller = Puller(stream, 50)
    stream.registerProducer(puller, False)
    with pytest.raises(RuntimeError, match="never unregistered"):
        stream.registerProducer(puller, False)
    pair.until(lambda: recorder.reason is not None)
    assert puller.asked == 51
    assert pair.b.streams.bytesReceived == 50000 + len(b"\x00\x06\x01\x04echo")


def test_loseConnectionWaitsForTheProducer(backend: str) -> None:
    """
    As on TCP, a paused producer is let finish after C{loseConnection}.
    """
    pair = Pair(backend).connect()
    stream, recorder = pair.open()
    Pusher(stream, 2 * MB)
    stream.loseConnection()
    pair.until(lambda: recorder.reason is not None)
    assert pair.b.streams.bytesReceived > 2 * MB


def test_othersAreNotStarved(backend: str) -> None:
    """
    A stream whose reader stopped and one that fills the path leave a third its
    turn: its byte arrives within a few round trips.
    """
    pair = Pair(backend).configure(rate=1_250_000.0).connect()
    stuck, _ = pair.open()
    busy, _ = pair.open()
    Pusher(stuck, 50 * MB)
    pair.until(lambda: len(pair.b.incoming) == 2)
    pair.b.incoming[0].pauseProducing()
    Pusher(busy, 50 * MB)
    pair.run(3.0)
    third, recorder = pair.open()
    began = pair.clock.seconds()
    third.write(b"!")
    pair.until(lambda: len(pair.b.incoming) == 3)
    queue = 1.0  # the link's own
    assert pair.clock.seconds() - began < queue + 0.3
    assert max(pair.links[0].sizes) <= DATAGRAM_SIZE
    for stream in (stuck, busy, third):
        stream.abortConnection()
    pair.run(3.0)
    assert recorder.reason is not None
