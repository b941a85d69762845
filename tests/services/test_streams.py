"""
The relay over TCP and TLS.
"""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL

from punchd.net.outlet import CHUNK
from punchd.net.tls import TURN_TOGETHER
from punchd.services.streams import EARLY_FRAME, SILENCE, WAITING
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Method, parse, request
from punchd.stun.stream import pad
from punchd.turn.channeldata import channelData
from tests.services.meeting import Meeting
from tests.services.streamed import Anonymous, Streamed, connect, write

KINDS = pytest.mark.parametrize(
    "credentials",
    [
        None,
        Anonymous(),
        Anonymous(b"stun.turn"),
        Anonymous(b"http/1.1", newest=SSL.TLS1_2_VERSION),
    ],
    ids=["tcp", "tls", "alpn", "tls1.2"],
)


def binding() -> bytes:
    """
    @return: a Binding request.
    """
    return request(Method.BINDING, b"t" * 12).serialize()


def allocations(meeting: Meeting) -> int:
    """
    @return: how many there are.
    """
    assert meeting.rendezvous.relay is not None
    return len(meeting.rendezvous.relay.allocations())


@KINDS
@pytest.mark.parametrize("port", [3478, 443])
def test_relayed(meeting: Meeting, credentials: Any, port: int) -> None:
    """
    Datagrams of all sizes pass both ways, by indication and by channel, between
    one client over TCP or TLS and another.
    """
    alice, bob = meeting.join(1, 2)
    one = Streamed(meeting, alice, credentials, port)
    two = Streamed(meeting, bob, credentials, port)
    assert one.mapped[0] == alice.host.sourceFor("203.0.113.10")
    for each in (one, two):
        each.permit("203.0.113.10")
    sent = [bytes([size & 0xFF]) * size for size in (1, 2, 3, 4, 1200, 1500, 9000)]
    for data in sent:
        one.send(data, two.relayed)
        two.send(data, one.relayed)
        meeting.network.advance(0.3)
    assert one.received() == two.received() == sent
    assert one.core.counters == {}
    assert meeting.rendezvous.counters["stream: malformed"] == 0
    for each in (one, two):
        each.close()


@KINDS
def test_closed(meeting: Meeting, credentials: Any) -> None:
    """
    An allocation ends with its connection, at once.
    """
    (alice,) = meeting.join(1)
    one = Streamed(meeting, alice, credentials)
    assert allocations(meeting) == 1
    one.close()
    assert allocations(meeting) == 0
    assert len(meeting.rendezvous.datagrams.streams) == 0


@KINDS
def test_keptOpen(meeting: Meeting, credentials: Any) -> None:
    """
    Who has an allocation may be silent for as long as it lives, and is not
    among those who have proven nothing; released, the connection has a minute.
    """
    (alice,) = meeting.join(1)
    one = Streamed(meeting, alice, credentials)
    unsettled = meeting.rendezvous._entrance.unsettled
    assert len(unsettled) == 0
    meeting.network.advance(4 * SILENCE + 1)
    assert one.stranger.lost is None
    one.call(one.core.release)
    meeting.network.advance(1)
    assert allocations(meeting) == 0
    assert len(unsettled) == 1
    meeting.network.advance(2 * SILENCE)
    assert one.stranger.lost is not None
    assert len(unsettled) == 0
    assert meeting.rendezvous.counters["stream: silent"] == 1


@KINDS
def test_oneWrite(meeting: Meeting, credentials: Any) -> None:
    """
    What is read at once is answered at once; within TLS each frame is a record,
    since some clients look for one in each.
    """
    stranger = connect(meeting, credentials)
    capture = meeting.network.capture(matches=lambda r: r.protocol == "tcp")
    write(meeting, stranger, b"".join(binding() for _ in range(10)))
    writes = [each for each in capture.stop() if each.where == "rendezvous"]
    assert 0 < len(writes) <= 2
    assert len(stranger.pieces) == (1 if credentials is None else 10)
    assert len(stranger.received) % 10 == 0
    answer = stranger.received[: len(stranger.received) // 10]
    assert parse(answer).method == Method.BINDING
    meeting.network.advance(SILENCE)
    assert stranger.lost is not None


@KINDS
@pytest.mark.parametrize(
    "data",
    [
        binding() + b"\x40\0\xff\xff",
        b"\0\x03" + EARLY_FRAME.to_bytes(2, "big") + b"\x21\x12\xa4\x42",
        b"\0\x01\0\0\x21\x12\xa4\x43",
        binding() + b"\x80\0\0\0",
        b"\0\x01\0\x04\x21\x12\xa4\x42" + b"i" * 12 + b"\0\6\0\4",
    ],
    ids=["channel", "message", "cookie", "later", "attributes"],
)
def test_notAFrame(meeting: Meeting, credentials: Any, data: bytes) -> None:
    """
    A frame that is too large, or none, ends the connection and is counted.
    """
    stranger = connect(meeting, credentials)
    write(meeting, stranger, data)
    assert stranger.lost is not None
    assert meeting.rendezvous.counters["stream: malformed"] == 1


@KINDS
@pytest.mark.parametrize(
    "said", [b"\0", b"\0\x03\x01\0", binding()[:19]], ids=["byte", "head", "most"]
)
def test_slowLoris(meeting: Meeting, credentials: Any, said: bytes) -> None:
    """
    A byte now and then is no frame: ten seconds are for the first one, and a
    minute for each further one.
    """
    stranger = connect(meeting, credentials)
    for byte in said[:8]:
        write(meeting, stranger, bytes([byte]))
        meeting.network.advance(0.8)
    assert stranger.lost is None
    meeting.network.advance(10)
    assert stranger.lost is not None

    stranger = connect(meeting, credentials)
    write(meeting, stranger, binding())
    for byte in said[:8]:
        write(meeting, stranger, bytes([byte]))
        meeting.network.advance(6)
    assert stranger.lost is None
    meeting.network.advance(SILENCE)
    assert stranger.lost is not None
    counters = meeting.rendezvous.counters
    assert counters["stream: truncated"] == 2
    assert counters["stream: silent"] + counters["tcp: nothing said in time"] == 2


def test_largeFrames(meeting: Meeting) -> None:
    """
    Only who has an allocation may send frames that are large.
    """
    (alice,) = meeting.join(1)
    one = Streamed(meeting, alice)
    write(meeting, one.stranger, pad(channelData(0x4001, bytes(60000))))
    assert one.stranger.lost is None
    assert meeting.rendezvous.counters["relay: no channel"] == 1
    one.call(one.core.release)
    meeting.network.advance(1)
    write(meeting, one.stranger, pad(channelData(0x4001, bytes(60000))))
    assert one.stranger.lost is not None


def test_notRead(meeting: Meeting) -> None:
    """
    What a client does not read is dropped and counted once a buffer is full;
    when it reads again, what comes then arrives.
    """
    alice, bob = meeting.join(1, 2)
    one, two = Streamed(meeting, alice), Streamed(meeting, bob)
    for each in (one, two):
        each.permit("203.0.113.10")
    one.send(b"first", two.relayed)
    meeting.network.advance(0.2)
    transport: Any = two.stranger.transport
    transport.pauseProducing()
    size = 1000
    for _ in range(400):
        for _ in range(10):
            one.send(bytes(size), two.relayed)
        meeting.network.advance(0.01)
    streams = meeting.rendezvous.datagrams.streams
    stream = streams._streams[("tcp/203.0.113.10", 3478), two.mapped]
    held: Any = stream.transport
    assert len(held.dataBuffer) + sum(map(len, held._tempDataBuffer)) < 2 * CHUNK
    assert stream._outlet is not None
    assert stream._outlet.size <= WAITING
    assert streams.budget.size == stream._outlet.size + CHUNK
    transport.resumeProducing()
    meeting.network.advance(5)
    dropped = meeting.rendezvous.counters["stream: dropped: not read"]
    assert 1000 < dropped < 4000
    assert streams.budget.size == 0
    assert len(two.received()) == 4001 - dropped
    one.send(b"last", two.relayed)
    meeting.network.advance(0.5)
    assert two.received()[-1] == b"last"
    # It did not harm the one who sent.
    two.send(b"back", one.relayed)
    meeting.network.advance(0.5)
    assert one.received() == [b"back"]
    for each in (one, two):
        each.close()


def test_together(meeting: Meeting) -> None:
    """
    Who asks for that by ALPN gets many frames in one record of TLS.
    """
    stranger = connect(meeting, Anonymous(TURN_TOGETHER, b"stun.turn"))
    write(meeting, stranger, b"".join(binding() for _ in range(10)))
    assert len(stranger.pieces) == 1
    assert parse(stranger.received[: len(stranger.received) // 10]).method == (
        Method.BINDING
    )
    meeting.network.advance(SILENCE)


def test_stillRead(meeting: Meeting) -> None:
    """
    What a client sends that takes nothing passes on: its acknowledgements, say.
    """
    alice, bob = meeting.join(1, 2)
    one, two = Streamed(meeting, alice), Streamed(meeting, bob)
    for each in (one, two):
        each.permit("203.0.113.10")
    two.stranger.transport.pauseProducing()  # type: ignore[union-attr]
    for _ in range(200):
        for _ in range(10):
            one.send(bytes(1000), two.relayed)
        meeting.network.advance(0.01)
    streams = meeting.rendezvous.datagrams.streams
    outlet = streams._streams[("tcp/203.0.113.10", 3478), two.mapped]._outlet
    assert outlet is not None
    assert outlet.paused
    two.send(b"back", one.relayed)
    meeting.network.advance(0.5)
    assert one.received() == [b"back"]
    for each in (one, two):
        each.close()


def test_makesRoom(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When there are too many who have proven nothing, the oldest makes room; who
    has an allocation stays.
    """
    monkeypatch.setattr("punchd.services.entrance.MAX_UNSETTLED_TOTAL", 4)
    (alice,) = meeting.join(1)
    one = Streamed(meeting, alice)
    strangers = []
    for _ in range(6):
        strangers.append(connect(meeting))
        write(meeting, strangers[-1], binding())
    assert [each.lost is None for each in strangers] == 2 * [False] + 4 * [True]
    assert meeting.rendezvous.counters["tcp: made room"] == 2
    assert one.stranger.lost is None
    one.close()
    meeting.network.advance(SILENCE)


def test_stopped(meeting: Meeting) -> None:
    """
    A rendezvous that stops ends the connections and what is relayed over them.
    """
    (alice,) = meeting.join(1)
    one = Streamed(meeting, alice, Anonymous())
    meeting.network.runUntil(meeting.rendezvous.stopService())
    meeting.network.advance(1)
    assert one.stranger.lost is not None
    one.driver.stop()


def test_unknownUser(meeting: Meeting) -> None:
    """
    Without credentials there is a 401 and no allocation; trying on does not make
    the connection one of those that have proven something.
    """
    stranger = connect(meeting, Anonymous())
    for _ in range(3):
        message = request(
            Method.ALLOCATE, b"t" * 12, (Attribute.REQUESTED_TRANSPORT, UDP)
        )
        stranger.received = b""
        write(meeting, stranger, message.serialize())
        assert parse(stranger.received).get(Attribute.ERROR_CODE)[0] == 401
    assert len(meeting.rendezvous._entrance.unsettled) == 1
    assert allocations(meeting) == 0
    meeting.network.advance(SILENCE + 1)
    assert stranger.lost is not None
