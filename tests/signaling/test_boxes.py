"""
AMP with bounds.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure

from punchd.errors import PeerUnavailable
from punchd.signaling import boxes
from punchd.signaling.boxes import BoundedAMP
from punchd.signaling.commands import Blob, Text
from punchd.testing.results import assertNoResult, failureResultOf, successResultOf


class Echo(amp.Command):
    """
    Say it again.
    """

    arguments = [(b"text", Text(64))]
    response = [(b"text", Text(64))]
    errors = {PeerUnavailable: b"PEER_UNAVAILABLE"}


class Load(amp.Command):
    """
    Much.
    """

    arguments = [(b"one", Blob(65535)), (b"two", Blob(65535))]
    response = [(b"text", Text(64))]


class Connection:
    """
    A connection whose other end is the test.
    """

    def __init__(self, trusted: bool = False, **responders: Any) -> None:
        self.clock = Clock()
        self.heard: list[str] = []
        self.answer: Any = None
        self.amp = BoundedAMP(
            self.clock, {Echo: self._echo, Load: self._load}, trusted=trusted
        )
        self.transport = StringTransport()
        self.amp.makeConnection(self.transport)

    def _echo(self, text: str) -> Any:
        self.heard.append(text)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or {"text": text}

    def _load(self, one: bytes, two: bytes) -> Any:
        self.heard.append(f"{len(one)} {len(two)}")
        return {"text": "much"}

    @property
    def dropped(self) -> bool:
        """
        Whether the connection was ended at once.
        """
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def lose(self) -> None:
        """
        Have the connection be lost.
        """
        self.amp.connectionLost(Failure(ConnectionDone()))
        assert self.clock.getDelayedCalls() == []

    def boxes(self) -> list[Any]:
        """
        @return: what was sent.
        """
        data = self.transport.value()
        self.transport.clear()
        return amp.parseString(data)


def ask(text: str, **more: bytes) -> bytes:
    """
    @return: a box that asks for an echo.
    """
    box = amp.Box(_ask=b"1", _command=b"Echo", text=text.encode())
    box.update({name.encode(): value for name, value in more.items()})
    return bytes(box.serialize())


def key(name: bytes) -> bytes:
    """
    @return: a key as it is on the wire.
    """
    return len(name).to_bytes(2, "big") + name


def test_answered() -> None:
    """
    A command that is known gets its answer.
    """
    connection = Connection()
    connection.amp.dataReceived(ask("hello"))
    assert [box[b"text"] for box in connection.boxes()] == [b"hello"]
    connection.lose()


def test_halfABoxOfManyMegabytes() -> None:
    """
    200 MB of a box that never ends: it is over after 4 KiB, and what comes
    later, before the transport has noticed, takes no memory.
    """
    connection = Connection()
    chunk = key(b"text") + b"\xff\xff" + b"x" * 65000
    tracemalloc.start()
    try:
        for _ in range(200_000_000 // len(chunk)):
            connection.amp.dataReceived(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert connection.amp.violation == "a box is too large"
    assert connection.dropped
    assert peak < 1 << 20
    connection.lose()


def test_slowBytesOfABox() -> None:
    """
    The same, byte by byte and in many small values.
    """
    connection = Connection()
    sent = 0
    while connection.amp.violation is None:
        name = b"k%d" % sent
        for byte in key(name) + key(b"v" * 200):
            connection.amp.dataReceived(bytes((byte,)))
        sent += 1
    assert sent <= boxes.MAX_EARLY_BOX // 200 + 1
    connection.lose()


@pytest.mark.parametrize(("trusted", "fits"), [(False, 4096), (True, 131072)])
def test_boxSize(trusted: bool, fits: int) -> None:
    """
    Boxes are limited to 4 KiB, and to 128 KiB for who is trusted.
    """
    overhead = len(amp.Box(_ask=b"1", _command=b"Load", one=b"", two=b"").serialize())
    for excess in (0, 1):
        connection = Connection(trusted=trusted)
        size = fits - overhead + 2 + excess
        one = b"x" * (size // 2)
        two = b"x" * (size - len(one))
        box = amp.Box(_ask=b"1", _command=b"Load", one=one, two=two)
        connection.amp.dataReceived(box.serialize())
        assert bool(connection.heard) is not bool(excess)
        assert (connection.amp.violation is None) is not bool(excess)
        connection.lose()


def test_tooManyKeys() -> None:
    """
    A box has at most 64 keys.
    """
    many = {f"k{number}": b"" for number in range(61)}
    connection = Connection()
    connection.amp.dataReceived(ask("fits", **many))
    assert connection.heard == ["fits"]
    connection.amp.dataReceived(ask("does not", one=b"", **many))
    assert connection.heard == ["fits"]
    assert connection.amp.violation == "a box has too many keys"
    connection.lose()


def test_longKey() -> None:
    """
    A key of more than 255 bytes is none.
    """
    connection = Connection()
    connection.amp.dataReceived(key(b"k" * 256))
    assert connection.amp.violation == "a box is too large"
    connection.lose()


def test_slowLoris() -> None:
    """
    Who has not sent a whole box after ten seconds is sent away, however busy
    he is; who has may be silent.
    """
    idle, slow, quick = Connection(), Connection(), Connection()
    quick.amp.dataReceived(ask("here"))
    for second in range(9):
        slow.amp.dataReceived(key(b"k%d" % second) + key(b"v"))
        for each in (idle, slow, quick):
            each.clock.advance(1)
    assert not slow.dropped
    for each in (idle, slow, quick):
        each.clock.advance(1)
    assert [each.dropped for each in (idle, slow, quick)] == [True, True, False]
    assert slow.amp.violation == "no complete box in time"
    for each in (idle, slow, quick):
        each.lose()


@pytest.mark.parametrize(
    "box",
    [
        {"_answer": b"77"},
        {"_error": b"77", "_error_code": b"X", "_error_description": b""},
        {"_error": b"77"},
        {"hello": b"world"},
    ],
)
def test_boxesThatFitNothing(box: dict[str, bytes]) -> None:
    """
    Answers to what nobody asked, and what is neither question nor answer, end
    the connection without a traceback.
    """
    connection = Connection()
    connection.amp.dataReceived(amp.Box(box).serialize())
    assert connection.amp.violation == "a box that fits nothing"
    connection.lose()


def test_unknownCommand() -> None:
    """
    An unknown command is refused, and the connection goes on: a newer peer
    may try.  Those that AMP itself brings along are unknown as well.
    """
    connection = Connection()
    for name in (b"Dance", b"StartTLS"):
        connection.amp.dataReceived(amp.Box(_ask=b"9", _command=name).serialize())
        assert [box[b"_error_code"] for box in connection.boxes()] == [b"UNHANDLED"]
    connection.amp.dataReceived(ask("still here"))
    assert connection.heard == ["still here"]
    connection.lose()


@pytest.mark.parametrize("arguments", [{}, {"text": b"\xff"}, {"text": b"x" * 65}])
def test_badArguments(arguments: dict[str, bytes]) -> None:
    """
    Arguments that are missing or wrong end the connection, without a log of
    failures that strangers could fill.
    """
    connection = Connection()
    connection.amp.dataReceived(
        amp.Box(_ask=b"1", _command=b"Echo", **arguments).serialize()
    )
    assert [box[b"_error_code"] for box in connection.boxes()] == [b"MALFORMED"]
    assert connection.transport.disconnecting
    assert connection.heard == []
    connection.lose()


def test_badArgumentsWithoutAQuestion() -> None:
    """
    The same for a box that wants no answer.
    """
    connection = Connection()
    connection.amp.dataReceived(amp.Box(_command=b"Echo").serialize())
    assert connection.boxes() == []
    assert connection.dropped
    connection.lose()


def test_declaredError() -> None:
    """
    An error that the command declares is told, with its sentence.
    """
    connection = Connection()
    connection.answer = PeerUnavailable()
    connection.amp.dataReceived(ask("x"))
    (box,) = connection.boxes()
    assert box[b"_error_code"] == b"PEER_UNAVAILABLE"
    assert b"offline" in box[b"_error_description"]
    assert not connection.transport.disconnecting
    connection.lose()


def test_unexpectedError(hygiene: Any) -> None:
    """
    Any other is ours: it is logged, and tells nothing to the peer.
    """
    connection = Connection()
    connection.answer = ZeroDivisionError("the secret")
    connection.amp.dataReceived(ask("x"))
    (box,) = connection.boxes()
    assert box[b"_error_code"] == b"UNKNOWN"
    assert b"secret" not in box[b"_error_description"]
    assert len(hygiene.flush(ZeroDivisionError)) == 1
    connection.lose()


def test_askInTime() -> None:
    """
    An answer in time is the result.
    """
    connection = Connection(trusted=True)
    asked = connection.amp.ask(Echo, 10, text="hello")
    (box,) = connection.boxes()
    assertNoResult(asked)
    connection.amp.dataReceived(
        amp.Box(_answer=box[b"_ask"], text=b"world").serialize()
    )
    assert successResultOf(asked) == {"text": "world"}
    connection.lose()


def test_askTooLate() -> None:
    """
    After its time a question has failed, and a late answer is welcome but of
    no use.
    """
    connection = Connection(trusted=True)
    connection.amp.dataReceived(ask("first"))
    connection.boxes()
    asked = connection.amp.ask(Echo, 10, text="hello")
    (box,) = connection.boxes()
    connection.clock.advance(10)
    failureResultOf(asked, TimeoutError)
    connection.amp.dataReceived(
        amp.Box(_answer=box[b"_ask"], text=b"world").serialize()
    )
    assert connection.amp.violation is None
    connection.lose()


def test_askAndLose() -> None:
    """
    A lost connection fails what is asked, and so it does afterwards.
    """
    connection = Connection(trusted=True)
    asked = connection.amp.ask(Echo, 10, text="hello")
    connection.lose()
    failureResultOf(asked, ConnectionDone)
    failureResultOf(connection.amp.ask(Echo, 10, text="again"), ConnectionDone)
    assert connection.clock.getDelayedCalls() == []


def test_whoNeverAnswers() -> None:
    """
    A peer that leaves 64 questions open is sent away.
    """
    connection = Connection(trusted=True)
    connection.amp.dataReceived(ask("first"))
    asked: list[Deferred[Any]] = []
    for _ in range(boxes.MAX_QUESTIONS):
        asked.append(connection.amp.ask(Echo, 1, text="?"))
        connection.clock.advance(1)
    assert not connection.dropped
    asked.append(connection.amp.ask(Echo, 1, text="?"))
    assert connection.amp.violation == "too many questions without an answer"
    connection.lose()
    for each in asked:
        failureResultOf(each)


def test_whoNeverReads() -> None:
    """
    256 KiB may wait for a peer that does not read.
    """
    connection = Connection(trusted=True)
    connection.amp.dataReceived(ask("first"))
    connection.amp.pauseProducing()
    load = b"x" * 60000
    asked = [connection.amp.ask(Load, 99, one=load, two=b"") for _ in range(4)]
    assert not connection.dropped
    connection.amp.resumeProducing()
    connection.amp.pauseProducing()
    asked += [connection.amp.ask(Load, 99, one=load, two=b"") for _ in range(4)]
    assert not connection.dropped
    asked.append(connection.amp.ask(Load, 99, one=load, two=b""))
    assert connection.amp.violation == "the peer does not read"
    connection.lose()
    for each in asked:
        failureResultOf(each, ConnectionDone, ConnectionLost)
