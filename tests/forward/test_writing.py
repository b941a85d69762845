"""
Tests for L{punchd.forward.writing}.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport

from punchd.forward.writing import ONCE, writerOf


class Reactor:
    """
    Notes who wants to write.
    """

    def __init__(self) -> None:
        self.writers: list[object] = []

    def addWriter(self, writer: object) -> None:
        """
        Somebody does.
        """
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        """
        Not any more.
        """
        self.writers.remove(writer)

    def removeReader(self, reader: object) -> None:
        """
        Nobody reads here.
        """


class Ends:
    """
    A connection, and the socket of who is at its other end.
    """

    def __init__(self) -> None:
        own, self.other = socket.socketpair()
        own.setblocking(False)
        self.other.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        self.own = own
        self.reactor = Reactor()
        reactor: Any = self.reactor
        self.connection: Any = Connection(own, Protocol(), reactor)
        self.connection.connected = 1
        self.write = writerOf(self.connection)

    def arrived(self) -> bytes:
        """
        @return: what has come.
        """
        try:
            return self.other.recv(1 << 20)
        except BlockingIOError:
            return b""

    def flush(self) -> bytes:
        """
        Let the connection write until it has nothing left.

        @return: what came.
        """
        found = self.arrived()
        while self.reactor.writers:
            assert self.connection.doWrite() is None
            found += self.arrived()
        return found


@pytest.fixture
def ends() -> Generator[Ends, None, None]:
    """
    Both are open.
    """
    made = Ends()
    yield made
    made.own.close()
    made.other.close()


def test_atOnce(ends: Ends) -> None:
    """
    Data is there before the reactor is asked.
    """
    ends.write(b"a")
    ends.write(b"b")
    assert ends.arrived() == b"ab"
    assert ends.reactor.writers == []


def test_inOrder(ends: Ends) -> None:
    """
    What the kernel has no room for waits, and all that is written later behind it.
    """
    pieces = [bytes((number % 256,)) * 5000 for number in range(100)]
    for piece in pieces:
        ends.write(piece)
    assert ends.reactor.writers == [ends.connection]
    assert ends.flush() == b"".join(pieces)
    ends.write(b"after")
    assert ends.arrived() == b"after"


def test_much(ends: Ends) -> None:
    """
    Much data waits for the reactor as ever.
    """
    data = bytes(ONCE + 1)
    ends.write(data)
    assert ends.arrived() == b""
    assert ends.flush() == data


@pytest.mark.parametrize("how", ["loseConnection", "loseWriteConnection"])
def test_ending(ends: Ends, how: str) -> None:
    """
    A connection that is about to end is left to Twisted.
    """
    getattr(ends.connection, how)()
    before = list(ends.reactor.writers)
    ends.write(b"late")
    assert ends.arrived() == b""
    assert ends.reactor.writers == before == [ends.connection]


def test_broken(ends: Ends) -> None:
    """
    That the other end is gone is for the reactor to find out.
    """
    ends.other.close()
    ends.write(b"x")
    assert ends.reactor.writers == [ends.connection]
    assert isinstance(ends.connection.doWrite(), Exception)


def test_others() -> None:
    """
    Other transports are written to as they are.
    """
    transport = StringTransport()
    writerOf(transport)(b"data")
    assert transport.value() == b"data"
