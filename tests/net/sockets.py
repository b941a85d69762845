"""
What the tests of real sockets share: a receiver that can be waited for, and a
reactor that only keeps lists.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from punchd.interfaces import IBatchReceiver, IDatagramReceiver
from punchd.net.udp import Received, UDPPort

#: Marks a test of what only Linux does.
linux = pytest.mark.skipif(sys.platform != "linux", reason="an offload of Linux")

#: C{open(receiver, family=4, host="", **more)}
Opener = Callable[..., UDPPort]


def loopback(port: UDPPort) -> tuple[str, int]:
    """
    @return: where to reach a port on this machine.
    """
    return ("127.0.0.1" if port.family == 4 else "::1", port.getHost()[1])


@implementer(IDatagramReceiver)
class Inbox:
    """
    I keep what comes, one by one.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._wanted = 0
        self._waiting: Deferred[list[Received]] | None = None

    def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
        self.received.append((data, local, remote))
        self._settle()

    def whenReceived(self, count: int) -> Deferred[list[Received]]:
        """
        @return: fires with all that came, once there are C{count} of them.
        """
        self._wanted, self._waiting = count, Deferred()
        waiting = self._waiting
        self._settle()
        return waiting

    def _settle(self) -> None:
        if self._waiting is not None and len(self.received) >= self._wanted:
            waiting, self._waiting = self._waiting, None
            waiting.callback(list(self.received))

    @property
    def data(self) -> list[bytes]:
        """
        The payloads that came.
        """
        return [data for data, _, _ in self.received]


@implementer(IBatchReceiver)
class BatchInbox(Inbox):
    """
    I keep what comes, and how it was batched.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def datagramsReceived(self, datagrams: list[Received]) -> None:
        self.batches.append(len(datagrams))
        self.received += datagrams
        self._settle()


@implementer(IReactorFDSet)
class ListReactor:
    """
    I know who wants to read and to write, and wait for nothing.
    """

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.writers: list[Any] = []
        self.now = 1000.0

    def seconds(self) -> float:
        return self.now

    def addReader(self, reader: Any) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[Any]:
        gone = [*self.readers, *self.writers]
        self.readers, self.writers = [], []
        return gone

    def getReaders(self) -> list[Any]:
        return list(self.readers)

    def getWriters(self) -> list[Any]:
        return list(self.writers)
