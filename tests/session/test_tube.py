"""
Streams over a connection of bytes, on a clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from punchd.errors import NotAllowed, PeerUnavailable, ProtocolViolation
from punchd.session.stream import Stream
from punchd.session.tube import CHUNK, Kind, Tube, errorOf
from tests.drawn import examples

from .pair import HalfCloser, Recorder

ALICE, BOB = "a" * 52, "b" * 52


class Wire(StringTransport):
    """
    A connection that passes on when the test says so.
    """

    bufferSize = 0
    ended = False

    def loseWriteConnection(self) -> None:
        """
        The end follows what was written.
        """
        self.ended = True


class Two:
    """
    A program that opens a stream, and the client that accepts it.
    """

    def __init__(self, clock: Clock | None = None, client: Tube | None = None) -> None:
        """
        @param client: opens the stream instead.
        """
        self.clock = clock or Clock()
        self.incoming: list[Stream] = []
        self.a = client or Tube(self.clock, ALICE, BOB, "chat")
        self.b = Tube(
            self.clock, BOB, ALICE, None, lambda service, s: self.incoming.append(s)
        )
        self.wires = Wire(), Wire()
        self.a.makeConnection(self.wires[0])
        self.b.makeConnection(self.wires[1])

    def run(self, step: int = 1 << 30) -> None:
        """
        Pass on what was written until nothing more is, so many bytes at a time.
        """
        ends = (self.wires[0], self.b), (self.wires[1], self.a)
        for _ in range(1000):
            self.clock.advance(0)
            moved = False
            for wire, tube in ends:
                data = wire.value()
                wire.clear()
                for at in range(0, len(data), step):
                    tube.dataReceived(data[at : at + step])
                    moved = True
            if not moved and not self.clock.getDelayedCalls():
                break
        for wire, tube in ends:
            if wire.ended and not tube._heard:
                tube.readConnectionLost()
        self.clock.advance(0)


def opened(make: Callable[[], Any] = Recorder) -> tuple[Two, Any, Any]:
    """
    @return: an open stream, and the protocols at both ends.
    """
    two = Two()
    alice, bob = make(), make()
    two.a.stream.attach(alice)
    two.run()
    two.incoming[0].accept(bob)
    two.run()
    return two, alice, bob


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_pieces(step: int) -> None:
    """
    It does not matter how the bytes are cut.
    """
    two, alice, bob = opened()
    data = bytes(range(256)) * 20
    two.a.stream.write(data)
    two.a.stream.loseWriteConnection()
    two.b.stream.write(data[::-1])
    two.run(step)
    assert (bytes(bob.data), bytes(alice.data)) == (data, data[::-1])
    assert two.incoming[0].service == "chat"
    assert isinstance(alice.reason, ConnectionDone)
    assert isinstance(bob.reason, ConnectionDone)
    assert all(wire.ended or wire.disconnecting for wire in two.wires)


def test_earlyData() -> None:
    """
    What is written before the other end has answered is there when it does.
    """
    two = Two()
    two.a.stream.write(b"early")
    two.run()
    bob = Recorder()
    two.incoming[0].accept(bob)
    two.run()
    assert bytes(bob.data) == b"early"


def test_credit() -> None:
    """
    A user that takes nothing stops who writes, after a window.
    """
    two, _, bob = opened()
    two.incoming[0].pauseProducing()
    two.a.stream.write(bytes(10_000_000))
    two.run()
    assert two.b.held < 2_000_000
    assert two.a.stream.outgoing.size > 8_000_000
    two.incoming[0].resumeProducing()
    two.run()
    assert len(bob.data) == 10_000_000


def test_fullConnection() -> None:
    """
    Nothing is written while the connection has enough.
    """
    two, _, bob = opened()
    two.a.pauseProducing()
    two.a.stream.write(b"later")
    two.run()
    assert bytes(bob.data) == b""
    two.a.resumeProducing()
    two.run()
    assert bytes(bob.data) == b"later"


def test_endBehindData() -> None:
    """
    The end that becomes due as the last bytes are taken comes behind them.
    """
    two, alice, bob = opened()
    two.a.pauseProducing()
    producer: Any = StringTransport()
    two.a.stream.registerProducer(producer, True)
    two.a.stream.write(bytes(CHUNK // 2))
    two.a.stream.loseWriteConnection()
    two.a.resumeProducing()
    two.run()
    assert len(bob.data) == CHUNK // 2
    assert alice.reason is not None


def test_reasons() -> None:
    """
    An error arrives as what it was; whatever is none of ours, as an abort.
    """
    two, alice, _ = opened()
    two.b.failWith(PeerUnavailable("The peer is asleep."))
    two.run()
    assert isinstance(alice.reason, PeerUnavailable)
    assert str(alice.reason) == "The peer is asleep."
    two, alice, _ = opened()
    two.b.failWith(ZeroDivisionError())
    two.run()
    assert isinstance(alice.reason, ConnectionLost)


def test_refused() -> None:
    """
    A refusal fails the opening.
    """
    two = Two()
    failures: list[Failure] = []
    two.a.stream.whenOpen().addErrback(failures.append)
    two.run()
    two.incoming[0].refuse(NotAllowed)
    two.run()
    assert failures[0].check(NotAllowed)
    assert all(wire.ended or wire.disconnecting for wire in two.wires)


def test_overBeforeConnection() -> None:
    """
    A stream that is over before its connection is there ends that.
    """
    tube, wire = Tube(Clock(), ALICE, BOB, "chat"), Wire()
    tube.stream.abortConnection()
    tube.makeConnection(wire)
    assert wire.disconnecting


def test_abortAfterEnd() -> None:
    """
    An abort is one though the end of the same direction was heard before, and goes
    on from one stream to the next.
    """
    two, alice, bob = opened(HalfCloser)
    two.a.stream.loseWriteConnection()
    two.run()
    assert bob.halves == ["read"] and bob.reason is None
    two.a.stream.abortConnection()
    two.run()
    assert isinstance(bob.reason, ConnectionLost)
    assert isinstance(alice.reason, ConnectionAborted)


def test_programDies() -> None:
    """
    A connection that ends before the stream has ended breaks it.
    """
    two, alice, bob = opened()
    two.b.readConnectionLost()
    assert two.wires[1].disconnecting
    two.b.connectionLost(Failure(ConnectionDone()))
    two.run()
    assert isinstance(bob.reason, ConnectionLost)
    two.a.connectionLost(Failure(ConnectionDone()))
    two.run()
    assert isinstance(alice.reason, ConnectionLost)


def test_unreadWhenClosed() -> None:
    """
    What came before the other end left is still there for a user that waits.
    """
    two, alice, bob = opened()
    two.incoming[0].pauseProducing()
    two.a.stream.write(b"the last words")
    two.a.stream.loseConnection()
    two.b.stream.loseWriteConnection()
    two.run()
    assert isinstance(alice.reason, ConnectionDone)
    two.b.connectionLost(Failure(ConnectionDone()))
    two.incoming[0].resumeProducing()
    two.run()
    assert bytes(bob.data) == b"the last words"
    assert isinstance(bob.reason, ConnectionDone)


@pytest.mark.parametrize(
    "frame",
    [
        bytes([9, 0, 0, 0]),
        bytes([Kind.TAKEN, 0, 0, 8]) + (1 << 40).to_bytes(8, "big"),
        bytes([Kind.ERROR, 255, 255, 255]),
    ],
)
def test_nonsense(frame: bytes) -> None:
    """
    What makes no sense ends the stream.
    """
    two, _, bob = opened()
    two.b.dataReceived(frame)
    two.run()
    assert isinstance(bob.reason, ProtocolViolation)


@given(st.lists(st.binary(max_size=40), max_size=8))
@settings(max_examples=examples(30))
def test_garbage(pieces: list[bytes]) -> None:
    """
    Garbage raises nothing, and never is data of the user's that was not sent.
    """
    two, _, bob = opened()
    for piece in pieces:
        two.b.dataReceived(piece)
    two.run()
    assert len(bob.data) <= sum(map(len, pieces))


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"not JSON", ConnectionLost, ""),
        (b"[]", ConnectionLost, ""),
        (json.dumps({"error": "Exception", "text": "x"}).encode(), ConnectionLost, "x"),
        (json.dumps({"error": "NotAllowed", "text": "No."}).encode(), NotAllowed, "No"),
    ],
)
def test_errorOf(body: bytes, kind: type[Exception], text: str) -> None:
    """
    Only errors of ours become what they were.
    """
    error = errorOf(body)
    assert type(error) is kind
    assert text in str(error)
