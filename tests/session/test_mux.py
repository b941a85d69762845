"""
Streams between two real ends.
"""

from __future__ import annotations

import hashlib
import random

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IPushProducer,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from punchd.errors import (
    NoSuchService,
    NotAllowed,
    RemoteError,
    ServiceFailed,
    SessionLost,
)
from punchd.session.address import PunchAddress
from punchd.session.stream import Stream

from .pair import DIALLER, LISTENER, HalfCloser, Pair, Recorder

pytestmark = pytest.mark.parametrize("backend", ["qh3", "aioquic"])


def failureOf(stream: Stream) -> list[BaseException]:
    """
    Ask when the stream is open, and collect the failure.
    """
    failures: list[BaseException] = []

    def failed(failure: Failure) -> None:
        assert failure.value is not None
        failures.append(failure.value)

    stream.whenOpen().addErrback(failed)
    return failures


def test_bytesBothWays(backend: str) -> None:
    """
    What is written at either end arrives at the other; both ends close.
    """
    pair = Pair(backend).connect()
    stream, ours = pair.open("web")
    opened: list[Stream] = []
    stream.whenOpen().addCallback(opened.append)
    stream.write(b"hello")
    pair.until(lambda: bool(pair.b.incoming))
    theirs = pair.b.incoming[0]
    pair.until(lambda: theirs.protocol.data == b"hello")
    assert theirs.service == "web"
    theirs.write(b"answer")
    pair.until(lambda: bytes(ours.data) == b"answer")
    assert opened == [stream]
    recorder = theirs.protocol
    stream.loseConnection()
    pair.until(lambda: ours.reason is not None and recorder.reason is not None)
    assert isinstance(ours.reason, ConnectionDone)
    assert isinstance(recorder.reason, ConnectionDone)
    assert (pair.a.streams.count, pair.b.streams.count) == (0, 0)


def test_dataGoesWithTheOpening(backend: str) -> None:
    """
    The first bytes do not wait for the acceptor's reply: they arrive half a
    round trip after the stream was opened.
    """
    pair = Pair(backend).connect()
    began = pair.clock.seconds()
    stream, _ = pair.open()
    stream.write(b"at once")
    pair.until(lambda: bool(pair.b.incoming and pair.b.incoming[0].protocol.data))
    assert pair.clock.seconds() - began == pytest.approx(0.01, abs=0.001)


def test_addresses(backend: str) -> None:
    """
    Both ends name the peers and the service.
    """
    pair = Pair(backend).connect()
    stream, _ = pair.open("ssh")
    pair.until(lambda: bool(pair.b.incoming))
    here = PunchAddress(DIALLER.peerId, "ssh")
    there = PunchAddress(LISTENER.peerId, "ssh")
    assert (stream.getHost(), stream.getPeer()) == (here, there)
    theirs = pair.b.incoming[0]
    assert (theirs.getHost(), theirs.getPeer()) == (there, here)
    for interface in (ITransport, IConsumer, IPushProducer):
        assert verifyObject(interface, stream)
    assert verifyObject(IAddress, here)
    stream.abortConnection()
    pair.run(1.0)


def test_listenerOpensToo(backend: str) -> None:
    """
    Streams run both ways over one session.
    """
    pair = Pair(backend).connect()
    recorder = Recorder()
    stream = pair.b.streams.openStream("back", recorder)
    stream.write(b"from the listener")
    pair.until(lambda: bool(pair.a.incoming and pair.a.incoming[0].protocol.data))
    assert pair.a.incoming[0].protocol.data == b"from the listener"
    assert pair.a.incoming[0].getPeer() == PunchAddress(LISTENER.peerId, "back")


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (NotAllowed, "", "The peer does not let you use that service."),
        (NoSuchService, "No service ftp here.", "No service ftp here."),
        (ServiceFailed, "Connection refused ☹", "Connection refused ☹"),
    ],
)
def test_refusal(
    backend: str, error: type[RemoteError], reason: str, text: str
) -> None:
    """
    The opener learns that and why it was refused, even when it has sent much
    already; nothing is left behind.
    """
    pair = Pair(backend).connect()
    pair.b.streams.onIncoming = lambda service, s: s.refuse(error, reason)
    stream, recorder = pair.open("ftp")
    failures = failureOf(stream)
    stream.write(bytes(300000))
    pair.until(lambda: recorder.reason is not None)
    assert type(recorder.reason) is error
    assert failures == [recorder.reason]
    assert str(recorder.reason) == text
    assert failureOf(stream) == failures
    pair.run(2.0)
    assert (pair.a.streams.count, pair.b.streams.count) == (0, 0)


def test_refusalLater(backend: str) -> None:
    """
    The acceptor may take its time; what it does is not lost on the way.
    """
    pair = Pair(backend).connect()
    kept: list[Stream] = []
    pair.b.streams.onIncoming = lambda service, s: kept.append(s)
    stream, recorder = pair.open()
    failures = failureOf(stream)
    stream.write(b"x")
    stream.loseConnection()
    pair.run(5.0)
    assert failures == []
    kept[0].refuse(NotAllowed)
    pair.until(lambda: bool(failures))
    assert isinstance(failures[0], NotAllowed)
    assert isinstance(recorder.reason, NotAllowed)


def test_acceptLater(backend: str) -> None:
    """
    What comes before C{accept} is kept, and what was written before leaves
    after it.
    """
    pair = Pair(backend).connect()
    kept: list[Stream] = []
    pair.b.streams.onIncoming = lambda service, s: kept.append(s)
    stream, recorder = pair.open()
    stream.write(b"early")
    pair.run(1.0)
    kept[0].write(b"not yet")
    pair.run(1.0)
    assert recorder.data == b""
    theirs = Recorder()
    kept[0].accept(theirs)
    pair.until(lambda: bytes(recorder.data) == b"not yet")
    assert theirs.data == b"early"


@pytest.mark.parametrize("first", ["opener", "acceptor"])
def test_halfClose(backend: str, first: str) -> None:
    """
    Either end may finish sending and go on receiving.
    """
    pair = Pair(backend).connect()
    ours, theirs = HalfCloser(), HalfCloser()
    pair.b.streams.onIncoming = lambda service, s: s.accept(theirs)
    stream = pair.a.streams.openStream("echo", ours)
    pair.until(lambda: theirs.connected == 1)
    ends = [ours, theirs] if first == "opener" else [theirs, ours]
    one, other = ends
    one.transport.write(b"request")
    one.transport.loseWriteConnection()
    pair.until(lambda: other.halves == ["read"])
    assert other.data == b"request"
    assert one.halves == ["write"]
    for _ in range(20):
        other.transport.write(bytes(100000))
        pair.run(0.5)
    assert one.reason is None and other.reason is None
    other.transport.loseWriteConnection()
    pair.until(lambda: one.reason is not None and other.reason is not None)
    assert len(one.data) == 2000000
    assert (one.halves, other.halves) == (["write", "read"], ["read", "write"])
    assert isinstance(one.reason, ConnectionDone)
    assert isinstance(other.reason, ConnectionDone)
    assert stream.disconnected


def test_loseConnectionWhilePeerSends(backend: str) -> None:
    """
    Who closes gets no more data; the other end, still sending, is told.
    """
    pair = Pair(backend).connect()
    stream, recorder = pair.open()
    pair.until(lambda: bool(pair.b.incoming))
    theirs = pair.b.incoming[0]
    there = theirs.protocol
    theirs.write(bytes(5 << 20))
    pair.run(0.05)
    stream.write(b"the last words")
    stream.loseConnection()
    got = len(recorder.data)
    pair.until(lambda: recorder.reason is not None and there.reason is not None)
    assert there.data == b"the last words"
    assert len(recorder.data) == got
    assert isinstance(recorder.reason, ConnectionDone)
    assert isinstance(there.reason, ConnectionLost)


def test_abort(backend: str) -> None:
    """
    C{abortConnection} ends both ends, each with its reason, and is not called
    back from within.
    """
    pair = Pair(backend).connect()
    stream, recorder = pair.open()
    stream.write(b"x")
    pair.until(lambda: bool(pair.b.incoming))
    there = pair.b.incoming[0].protocol
    stream.abortConnection()
    assert recorder.reason is None
    pair.until(lambda: recorder.reason is not None and there.reason is not None)
    assert isinstance(recorder.reason, ConnectionAborted)
    assert isinstance(there.reason, ConnectionLost)
    assert not isinstance(there.reason, ConnectionAborted)
    assert (pair.a.streams.count, pair.b.streams.count) == (0, 0)


@pytest.mark.parametrize(
    "trouble",
    [
        {},
        {"loss": 0.05},
        {"reordering": 0.3},
        {"duplication": 0.2},
        {"loss": 0.03, "reordering": 0.2, "duplication": 0.1},
    ],
)
def test_transferArrivesIdentical(backend: str, trouble: dict[str, float]) -> None:
    """
    10 MB one way and 1 MB the other way come through any network unchanged.
    """
    size = 10_000_000 if backend == "qh3" else 2_000_000
    pair = Pair(backend, seed=7).configure(**trouble).connect()
    there = random.Random(1).randbytes(size)
    back = random.Random(2).randbytes(size // 10)
    stream, recorder = pair.open()
    stream.write(there)
    stream.loseWriteConnection()
    pair.until(lambda: bool(pair.b.incoming))
    theirs = pair.b.incoming[0].protocol
    pair.b.incoming[0].write(back)
    pair.until(lambda: theirs.reason is not None and recorder.reason is not None, 600)
    assert hashlib.sha256(theirs.data).digest() == hashlib.sha256(there).digest()
    assert bytes(recorder.data) == back
    assert isinstance(theirs.reason, ConnectionDone)


def test_abortAfterEnd(backend: str) -> None:
    """
    An abort reaches a peer that has heard the end before, and says nothing itself.
    """
    pair = Pair(backend).connect()
    there = HalfCloser()
    pair.b.streams.onIncoming = lambda service, s: s.accept(there)
    stream, recorder = pair.open()
    stream.loseWriteConnection()
    pair.until(lambda: there.halves == ["read"])
    assert there.reason is None
    stream.abortConnection()
    pair.until(lambda: there.reason is not None and recorder.reason is not None)
    assert isinstance(there.reason, ConnectionLost)
    assert (pair.a.streams.count, pair.b.streams.count) == (0, 0)


def test_abortBehindClose(backend: str) -> None:
    """
    A close that an abort follows at once is an abort to the peer, though something
    was thrown away in between.
    """
    pair = Pair(backend).connect()
    there = HalfCloser()
    pair.b.streams.onIncoming = lambda service, s: s.accept(there)
    stream, _ = pair.open()
    stream.loseWriteConnection()
    pair.until(lambda: there.halves == ["read"])
    stream.pauseProducing()
    there.transport.write(b"not wanted")
    pair.run(1.0)
    stream.loseConnection()
    stream.abortConnection()
    pair.until(lambda: there.reason is not None)
    assert isinstance(there.reason, ConnectionLost)


def test_sessionLost(backend: str) -> None:
    """
    A lost session fails every stream with its reason, and new ones at once.
    """
    pair = Pair(backend).connect()
    _, recorder = pair.open()
    pair.run(1.0)
    reason = SessionLost("The cable was cut.")
    pair.a.streams.lose(reason)
    later, refused = pair.open()
    failures = failureOf(later)
    pair.run(0.1)
    assert recorder.reason is reason
    assert refused.reason is reason
    assert failures == [reason]
    assert pair.a.told("Lost") == [reason]


def test_goodbye(backend: str) -> None:
    """
    C{close} tells the peer why, though the first packets are lost; that it is
    over for QUIC comes later.
    """
    pair = Pair(backend).connect()
    pair.open()
    pair.run(1.0)
    there = pair.b.incoming[0].protocol
    pair.configure(down=True)
    pair.a.streams.close("Shutting down.")
    pair.run(0.02)
    pair.configure(down=False)
    pair.run(0.45)
    assert pair.b.told("Bye") == ["Shutting down."]
    pair.a.driver.call(pair.a.core.close, 0, "Shutting down.")
    pair.run(10.0)
    assert pair.a.events[-1] == pair.b.events[-1] == "Terminated"
    assert isinstance(there.reason, SessionLost)
    assert str(there.reason) == "Shutting down."
    assert pair.clock.getDelayedCalls() == []
