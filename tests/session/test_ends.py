"""
The end of a stream, told without a byte, that is lost with what came before it.
"""

from __future__ import annotations

import pytest

from punchd.session.control import Credit, Ends, Frame, Parser, pack
from punchd.session.quic import QuicCore
from punchd.session.stream import Stream
from punchd.session.table import ENDLESS

from .pair import HalfCloser, Pair


def _opened(pair: Pair) -> tuple[Stream, HalfCloser]:
    """
    @return: a stream of the dialler's, and what the listener hears on it.
    """
    heard = HalfCloser()
    pair.b.streams.onIncoming = lambda service, stream: stream.accept(heard)
    stream, _ = pair.open()
    pair.until(lambda: stream.accepted)
    pair.run(1.0)
    return stream, heard


def _endInVain(pair: Pair, stream: Stream, data: bytes, gap: float) -> None:
    """
    Send the last bytes and, a bit later, the end; all of it is lost.
    """
    there, _ = pair.links
    there.down = True
    stream.write(data)
    pair.run(gap)
    stream.loseWriteConnection()
    pair.run(gap)
    there.down = False


@pytest.mark.parametrize("gap", [0.0001, 0.001, 0.02])
@pytest.mark.parametrize("size", [1, 1000, 5000, 100_000])
def test_endIsLostWithData(size: int, gap: float) -> None:
    """
    The bytes arrive, and so does the end.
    """
    pair = Pair().connect()
    stream, heard = _opened(pair)
    data = bytes(range(250)) * (size // 250) + b"x" * (size % 250)
    _endInVain(pair, stream, data, gap)
    pair.until(lambda: bool(heard.halves))
    assert heard.halves == ["read"]
    assert bytes(heard.data) == data


def test_endIsLostInTheMiddleOfMuch() -> None:
    """
    A transfer of which whole bursts are lost, the last one too, comes to its end.
    """
    pair = Pair().connect()
    stream, heard = _opened(pair)
    there, _ = pair.links
    data = b"0123456789" * 200_000
    stream.write(data)
    for _ in range(5):
        pair.run(0.02)
        there.down = True
        pair.run(0.005)
        there.down = False
    pair.until(lambda: not stream.outgoing.size)
    there.down = True
    stream.loseWriteConnection()
    pair.run(0.01)
    there.down = False
    pair.until(lambda: bool(heard.halves))
    assert bytes(heard.data) == data


def test_lengthBeforeTheStream() -> None:
    """
    What tells the length may come before all else of the stream; the end then comes
    with the last byte, and QUIC's own changes nothing.
    """
    pair = Pair().connect()
    heard = HalfCloser()
    pair.b.streams.onIncoming = lambda service, stream: stream.accept(heard)
    stream, _ = pair.open("echo")
    pair.a.streams._table.openWaiting()
    assert stream.id is not None
    outgoing = stream.outgoing
    length = outgoing.credit.sent + outgoing.size + 10
    pair.b.streams._table.ended(Ends(((stream.id, length),)))
    stream.write(b"0123456789")
    pair.until(lambda: bool(heard.halves))
    assert (bytes(heard.data), heard.halves) == (b"0123456789", ["read"])
    stream.loseWriteConnection()
    pair.run(1.0)
    assert heard.halves == ["read"]


def test_lostEndsDoNotUseUpStreams() -> None:
    """
    However many ends are lost, there is room for new streams.
    """
    pair = Pair().connect()
    limits = []
    for _ in range(4):
        stream, heard = _opened(pair)
        _endInVain(pair, stream, b"x" * 5000, 0.001)
        pair.until(lambda heard=heard: bool(heard.halves))  # type: ignore[misc]
        assert heard.transport is not None
        heard.transport.loseConnection()
        pair.run(ENDLESS + 1)
        limits.append(_limit(pair.a.core))
    assert limits[-1] - limits[0] == 3


def _limit(core: QuicCore) -> int:
    """
    @return: how many streams the peer has let us open since the beginning.
    """
    connection = core._connection
    assert connection is not None
    return core._backend.streamLimit(connection)


def test_frameOfEnds() -> None:
    """
    The frame comes back as it was packed.
    """
    frames: list[Frame] = [Ends(((4, 20_000_008), (8, 1))), Credit(((0, 1),))]
    assert Parser().feed(b"".join(map(pack, frames))) == frames
