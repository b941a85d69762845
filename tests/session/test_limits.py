"""
Many streams at once.
"""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionAborted

from punchd.session.stream import Stream
from punchd.session.table import MAX_STREAMS

from .pair import End, Pair, Recorder

pytestmark = pytest.mark.parametrize("backend", ["qh3", "aioquic"])


def test_opensWaitTheirTurn(backend: str) -> None:
    """
    A hundred streams are open at once; the next ones open in order as others
    end, and all are served.
    """
    pair = Pair(backend).connect()
    recorders = []
    opened: list[str] = []
    for i in range(250):
        stream, recorder = pair.open(f"s{i}")
        stream.write(b"%d" % i)
        stream.whenOpen().addCallback(lambda s: opened.append(s.service))
        recorders.append((stream, recorder))
    pair.run(2.0)
    assert len(pair.b.incoming) == len(opened) == MAX_STREAMS == 100
    assert pair.a.streams.count == 250
    for i in range(250):
        recorders[i][0].loseConnection()
        pair.run(0.2)
    pair.until(lambda: all(r.reason is not None for _, r in recorders))
    assert [s.service for s in pair.b.incoming] == [f"s{i}" for i in range(250)]
    pair.run(1.0)
    assert (pair.a.streams.count, pair.b.streams.count) == (0, 0)


def test_bothSidesOpenAHundred(backend: str) -> None:
    """
    The limit is one of each side.
    """
    pair = Pair(backend).connect()
    for i in range(100):
        pair.a.streams.openStream(f"a{i}", Recorder())
        pair.b.streams.openStream(f"b{i}", Recorder())
    pair.run(2.0)
    assert len(pair.a.incoming) == len(pair.b.incoming) == 100


def test_thousandInARow(backend: str) -> None:
    """
    Streams may come and go without end.
    """
    pair = Pair(backend).configure(delay=0.001).connect()
    for i in range(1000):
        stream, recorder = pair.open(f"s{i}")
        stream.write(b"x" * i)
        stream.loseConnection()
        pair.until(lambda r=recorder: r.reason is not None)  # type: ignore[misc]
    pair.run(1.0)
    assert pair.a.streams.count == pair.b.streams.count == 0
    assert [s.service for s in pair.b.incoming] == [f"s{i}" for i in range(1000)]


def test_waitingStreamsCanBeGivenUp(backend: str) -> None:
    """
    A stream that waits is aborted like any other; the peer never hears of it.
    """
    pair = Pair(backend).connect()
    streams = [pair.open(f"s{i}") for i in range(102)]
    streams[100][0].abortConnection()
    pair.run(1.0)
    assert isinstance(streams[100][1].reason, ConnectionAborted)
    streams[0][0].abortConnection()
    pair.run(1.0)
    services = [s.service for s in pair.b.incoming]
    assert services[-1] == "s101"
    assert "s100" not in services


def test_aborts(backend: str) -> None:
    """
    Streams aborted at either end at any time are gone at both, and their
    places are free again.
    """
    pair = Pair(backend, seed=3).configure(loss=0.1).connect()
    for i in range(300):
        stream, _ = pair.open(f"s{i}")
        stream.write(bytes(3000 * (i % 7)))
        pair.run(0.005 * (i % 9))
        stream.abortConnection()
        if i % 3 == 0 and pair.b.incoming:
            pair.b.incoming[-1].abortConnection()
    pair.run(20.0)
    assert (pair.a.streams.count, pair.b.streams.count) == (0, 0)
    stream, _ = pair.open("after")
    opened: list[Stream] = []
    stream.whenOpen().addCallback(opened.append)
    pair.until(lambda: bool(opened))


def test_threeHundredAtOnce(backend: str) -> None:
    """
    Three hundred opens at once over a narrow path, each with data for an echo: they
    are opened in order, those that are open share the path evenly, and nobody is
    overtaken by more than those who were open beside it.
    """
    pair = Pair(backend).configure(rate=2_500_000.0).connect()
    pair.b.streams.onIncoming = lambda service, stream: stream.accept(_Echo(pair.b))
    word = bytes(30_000 if backend == "qh3" else 12_000)
    recorders = []
    for i in range(300):
        stream, recorder = pair.open(f"s{i}")
        stream.write(word)
        recorders.append((stream, recorder))
    finished: list[int] = []
    evenness = []
    while len(finished) < 300:
        pair.run(0.02)
        got = [len(recorder.data) for _, recorder in recorders]
        for i, (stream, _) in enumerate(recorders):
            if got[i] == len(word) and i not in finished:
                if not finished:
                    evenness = got[:MAX_STREAMS]
                finished.append(i)
                stream.loseConnection()
    assert [s.service for s in pair.b.incoming] == [f"s{i}" for i in range(300)]
    # When the first has everything, nobody who began with it has much less.
    assert min(evenness) >= 0.3 * len(word)
    assert max(abs(place - i) for place, i in enumerate(finished)) <= MAX_STREAMS
    # There and back at the same time: nothing stood still.
    assert pair.clock.seconds() - 1000.0 < 2 * 300 * len(word) / 2_500_000.0


class _Echo(Recorder):
    """
    Sends back what comes.
    """

    def __init__(self, end: End) -> None:
        super().__init__()
        self._end = end

    def connectionMade(self) -> None:
        """
        Note whose I am.
        """
        self._end.incoming.append(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """
        Something came.
        """
        self.transport.write(data)
