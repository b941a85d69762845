"""
What is not the peer's does nothing to QUIC.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from punchd.session.events import StreamData
from punchd.session.packet import destination, isInitial
from punchd.session.quic import VIRTUAL, QuicCore
from tests.drawn import examples

from .pair import BACKENDS, LISTENER, STRANGER
from .two import Two

both = pytest.mark.parametrize("backend", ["qh3", "aioquic"])


@both
def test_forgedFirstDatagrams(backend: str) -> None:
    """
    Initial datagrams of others do not keep the dialler out, and no more than a
    few have a place.
    """
    two = Two(backend, backend)
    for _ in range(3):
        other = QuicCore.client(BACKENDS[backend]())
        other.start(two.now)
        for datagram in other.takeDatagrams():
            two.server.datagramReceived(datagram.data, VIRTUAL, VIRTUAL, two.now)
    two.drain(two.server)
    two.connected()
    assert len(two.server._halfOpen) == 0
    full = QuicCore.server(LISTENER, BACKENDS[backend]())
    for _ in range(50):
        other = QuicCore.client(BACKENDS[backend]())
        other.start(two.now)
        for datagram in other.takeDatagrams():
            full.datagramReceived(datagram.data, VIRTUAL, VIRTUAL, two.now)
    assert len(full._halfOpen) == 4
    assert full.counters["stray"] >= 46


@both
def test_foreignPackets(backend: str) -> None:
    """
    Replayed and damaged packets, and those of another connection, change
    nothing, in either direction.
    """
    two = Two(backend, backend).connected()
    stranger = Two(backend, backend, STRANGER).connected()
    stranger.client.ping()
    foreign = stranger.drain(stranger.client)
    id = two.client.openStream()
    two.client.sendStream(id, b"once", True)
    sent = two.drain(two.client)
    damaged = [data[:-1] + bytes((data[-1] ^ 1,)) for data in sent]
    for batch in (foreign, damaged, sent, sent, foreign, damaged, sent):
        two.server.datagramsReceived(batch, two.now)
        two.events[two.server] += two.server.takeEvents()
    assert two.events[two.server] == [StreamData(id, b"once", True)]
    two.exchange()
    assert two.events[two.server] == [StreamData(id, b"once", True)]


@settings(max_examples=examples(60))
@given(st.lists(st.binary(max_size=1300), min_size=1, max_size=10))
def test_garbage(datagrams: list[bytes]) -> None:
    """
    Arbitrary datagrams do nothing to a server that waits, and raise nothing.
    """
    server = QuicCore.server(LISTENER)
    server.datagramsReceived(datagrams, 1.0)
    assert server.takeDatagrams() == []
    assert server.takeEvents() == []


_shared = {name: Two(name, name).connected() for name in BACKENDS}


@settings(max_examples=examples(60))
@given(st.binary(min_size=1, max_size=1), st.binary(max_size=1300))
def test_garbageWithOurConnectionId(first: bytes, rest: bytes) -> None:
    """
    Arbitrary bytes around the right connection id do nothing to a connection.
    """
    for two in _shared.values():
        two.client.ping()
        (genuine, *_) = two.drain(two.client)
        two.server.datagramsReceived([first + genuine[1:9] + rest], two.now)
        assert two.server.takeEvents() == []
        two.server.datagramsReceived([genuine], two.now)
        two.exchange(2)


def test_headers() -> None:
    """
    Destination connection ids are found in long and short headers.
    """
    long = b"\xc0\x00\x00\x00\x01\x03abc\x00"
    assert destination(long) == b"abc"
    assert destination(long[:7]) is None
    assert destination(b"\xc0\x00\x00\x00\x01\x15" + bytes(30)) is None
    assert destination(b"\x40abcdefgh") == b"abcdefgh"
    assert destination(b"\x40abc") is None
    assert not isInitial(long)
    assert isInitial(long + bytes(1200))
    assert not isInitial(b"\xe0" + long[1:] + bytes(1200))
    assert not isInitial(long[:4] + b"\x02" + long[5:] + bytes(1200))
