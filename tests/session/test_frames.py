"""
Control frames and the heads of streams, as bytes.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import (
    MalformedMessage,
    NoSuchService,
    NotAllowed,
    ProtocolViolation,
    ServiceFailed,
)
from punchd.session.control import (
    MAX_BODY,
    Auth,
    Bye,
    Candidate,
    Credit,
    Frame,
    Hello,
    Parser,
    Ping,
    Pong,
    pack,
)
from punchd.session.wire import MAX_HEAD, Open, Reply, Status, cut

_text = st.text(max_size=60)
_number = st.integers(0, 2**62)
frames = st.one_of(
    st.builds(Auth, _text, st.binary(max_size=200), st.binary(max_size=200)),
    st.builds(Hello, st.integers(0, 255), _text),
    st.builds(Credit, st.lists(st.tuples(_number, _number), max_size=20).map(tuple)),
    st.builds(Candidate, st.binary(max_size=500)),
    st.builds(Bye, _text),
    st.builds(Ping, st.binary(max_size=64)),
    st.builds(Pong, st.binary(max_size=64)),
)


@given(st.lists(frames, max_size=8), st.integers(1, 50))
def test_framesSurviveAnyCutting(sent: list[Frame], size: int) -> None:
    """
    However the stream is cut, the same frames come out.
    """
    data = b"".join(map(pack, sent))
    parser = Parser()
    got: list[Frame] = []
    for i in range(0, len(data), size):
        got += parser.feed(data[i : i + size])
    assert got == sent


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_arbitraryBytes(pieces: list[bytes]) -> None:
    """
    Whatever comes, the parser gives frames or says that the peer broke the
    protocol, and keeps no more than one frame.
    """
    parser = Parser()
    try:
        for piece in pieces:
            parser.feed(piece)
            assert len(parser._buffer) <= MAX_BODY + 3
    except ProtocolViolation:
        pass


@given(st.integers(1, 7), st.binary(max_size=200))
def test_arbitraryBodies(kind: int, body: bytes) -> None:
    """
    A frame of a known type with any body is understood or refused; what was
    understood says the same when it is sent on.
    """
    try:
        (frame,) = Parser().feed(bytes((kind,)) + len(body).to_bytes(2, "big") + body)
    except ProtocolViolation:
        return
    assert kind == frame.TYPE
    assert Parser().feed(pack(frame)) == [frame]


def test_unknownFramesAreSkipped() -> None:
    """
    A frame of a later version does no harm, nor do bytes after a known part.
    """
    later = b"\xee\x00\x03abc"
    hello = b"\x02\x00\x06\x02\x02hi++"
    assert Parser().feed(later + hello + later + pack(Bye("x"))) == [
        Hello(2, "hi"),
        Bye("x"),
    ]


def test_frameTooLong() -> None:
    """
    A frame that is too long is refused by its header alone, and not sent.
    """
    with pytest.raises(ProtocolViolation):
        Parser().feed(b"\xee" + (MAX_BODY + 1).to_bytes(2, "big"))
    with pytest.raises(ValueError, match="16384"):
        pack(Candidate(bytes(MAX_BODY + 1)))


def test_mostCreditsFit() -> None:
    """
    A frame with as many pairs as are put into one is not too long.
    """
    credit = Credit(tuple((i, i) for i in range(Credit.LIMIT)))
    assert Parser().feed(pack(credit)) == [credit]


@given(st.text(min_size=1, max_size=60))
def test_openForDatagrams(service: str) -> None:
    """
    An opener that wants datagrams says so behind the name.
    """
    body = cut(bytearray(Open(service, datagrams=True).pack()))
    assert body is not None
    assert Open.parse(body).datagrams
    assert Open.parse(body + b"extension").datagrams
    assert not Open.parse(body[:-1]).datagrams


@given(st.text(min_size=1, max_size=60), st.binary(max_size=50))
def test_openSurvives(service: str, rest: bytes) -> None:
    """
    The head comes out as it went in, and what follows it stays.
    """
    buffer = bytearray(Open(service).pack() + rest)
    body = cut(buffer)
    assert body is not None
    assert Open.parse(body) == Open(service)
    assert Open.parse(body + b"\0extension") == Open(service)
    assert buffer == rest


@given(st.binary(max_size=1200))
def test_arbitraryHeads(data: bytes) -> None:
    """
    Whatever comes first on a stream is a head, part of one, or refused.
    """
    buffer = bytearray(data)
    try:
        body = cut(buffer)
        if body is None:
            assert len(buffer) < MAX_HEAD + 2
        else:
            Open.parse(body)
            Reply.parse(body)
    except ProtocolViolation:
        pass


@pytest.mark.parametrize("service", ["", "x" * 256, "é" * 128])
def test_impossibleServices(service: str) -> None:
    """
    A name that no head can hold is the caller's mistake.
    """
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        Open(service).pack()


def test_openForNothing() -> None:
    """
    A peer cannot open a stream for the empty name.
    """
    with pytest.raises(ProtocolViolation):
        Open.parse(b"\x01\x00")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (NotAllowed, Status.NOT_ALLOWED),
        (NoSuchService, Status.NO_SUCH_SERVICE),
        (ServiceFailed, Status.FAILED),
    ],
)
def test_refusals(kind: type[NotAllowed], status: Status) -> None:
    """
    Each refusal has a status, and becomes the same error again.
    """
    reply = Reply.of(kind, "because")
    assert reply.status == status
    error = reply.error()
    assert type(error) is kind
    assert str(error) == "because"
    assert str(Reply.of(kind).error()) == str(kind())


def test_otherRefusals() -> None:
    """
    An error without a status is a failure of the service; so is a status of a
    later version.
    """
    assert Reply.of(MalformedMessage, "x") == Reply(Status.FAILED, "x")
    assert type(Reply(77, "x").error()) is ServiceFailed
    assert Reply(Status.OK).error() is None


def test_longReasonsAreCut() -> None:
    """
    A reason that is too long is cut between characters.
    """
    buffer = bytearray(Reply(3, "é" * 200).pack())
    body = cut(buffer)
    assert body is not None
    assert Reply.parse(body) == Reply(3, "é" * 127)
