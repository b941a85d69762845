"""
What one user of a forward of datagrams has.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from punchd.forward.association import (
    DATAGRAM,
    MAX_UDP,
    Association,
    cutCapsule,
    packCapsule,
)
from punchd.session.datagrams import MAX_PAYLOAD


class Transport:
    """
    A stream, as far as an association knows it.
    """

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.written: list[bytes] = []
        self.closed = self.aborted = False
        self.receiver: Any = None
        self.write = self.written.append
        self.sendDatagram = self.datagrams.append

    def receiveDatagrams(self, receiver: Any) -> None:
        """
        Take them there.
        """
        self.receiver = receiver

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Tell it when there is enough.
        """
        self.producer = producer

    def loseConnection(self) -> None:
        """
        It is over.
        """
        self.closed = True

    def abortConnection(self) -> None:
        """
        It is over at once.
        """
        self.aborted = True


class User:
    """
    An association with all that is around it.
    """

    def __init__(self, idle: float = 10.0) -> None:
        self.clock = Clock()
        self.came: list[bytes] = []
        self.ends: list[int] = []
        self.association = Association(self.clock, idle, self.came.append, self._gone)
        self.transport = Transport()
        self.association.makeConnection(self.transport)

    def _gone(self) -> None:
        self.ends.append(1)


def test_large() -> None:
    """
    What does not fit into a frame goes on the stream, and comes out there.
    """
    user = User()
    sizes = [0, MAX_PAYLOAD, MAX_PAYLOAD + 1, MAX_UDP]
    for size in sizes:
        user.association.send(bytes(size))
    assert list(map(len, user.transport.datagrams)) == sizes[:2]
    other = User()
    stream = b"".join(user.transport.written)
    for at in range(0, len(stream), 1000):
        other.association.dataReceived(stream[at : at + 1000])
    assert list(map(len, other.came)) == sizes[2:]
    other.transport.receiver(b"small")
    assert other.came[-1] == b"small"


def test_fullStream() -> None:
    """
    Large ones are dropped and counted while the stream takes no more.
    """
    user = User()
    user.transport.producer.pauseProducing()
    user.association.send(bytes(2000))
    user.association.send(b"small")
    user.transport.producer.resumeProducing()
    user.association.send(bytes(3000))
    assert len(user.transport.written) == 1
    assert user.transport.datagrams == [b"small"]
    assert user.association.dropped == {"the stream is full": 1}


def test_idle() -> None:
    """
    It ends when nothing was said for a while, in either direction.
    """
    user = User(idle=10.0)
    for step in range(6):
        user.clock.advance(6.0)
        if step % 2:
            user.association.send(b"x")
        else:
            user.transport.receiver(b"y")
    assert user.ends == []
    user.clock.advance(10.1)
    assert user.ends == [1]
    assert user.transport.closed
    user.association.connectionLost()
    assert user.ends == [1]
    assert user.clock.getDelayedCalls() == []


def test_otherCapsules() -> None:
    """
    Capsules of unknown types are skipped; one that is too long ends it.
    """
    user = User()
    user.association.dataReceived(packCapsule(0x2B, b"?") + packCapsule(DATAGRAM, b"x"))
    assert user.came == [b"x"]
    user.association.dataReceived(packCapsule(DATAGRAM, bytes(MAX_UDP + 1))[:8])
    assert user.transport.aborted


@given(st.integers(0, (1 << 30) - 1), st.binary(max_size=300), st.binary(max_size=9))
def test_capsules(kind: int, value: bytes, rest: bytes) -> None:
    """
    A capsule comes out as it went in; without its end it does not come out.
    """
    whole = packCapsule(kind, value)
    assert cutCapsule(bytearray(whole[:-1])) is None or not value
    buffer = bytearray(whole + rest)
    assert cutCapsule(buffer) == (kind, value)
    assert buffer == rest


@given(st.binary(max_size=40))
def test_garbage(data: bytes) -> None:
    """
    Whatever comes, it is taken apart to its end.
    """
    buffer = bytearray(data)
    while (found := cutCapsule(buffer)) is not None and found[0] >= 0:
        pass
    assert len(buffer) <= len(data)
