"""
Many sockets behind one descriptor, over loopback.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

import pytest_twisted
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from punchd.core import Datagram
from punchd.interfaces import IErrorReceiver, IWayReceiver
from punchd.net.carrying import RelayedPort
from punchd.net.crowd import Crowd
from punchd.net.kernel import KernelNetwork
from punchd.net.udp import Run, flattened
from tests.net.sockets import BatchInbox, ListReactor, linux

pytestmark = linux


@implementer(IWayReceiver, IErrorReceiver)
class Together(BatchInbox):
    """
    I keep what comes, what came together, and what is complained about.
    """

    def __init__(self) -> None:
        super().__init__()
        self.together: list[list[Run]] = []
        self.reports: list[Any] = []

    def runsReceived(self, runs: list[Run]) -> None:
        self.together.append(runs)
        self.received += flattened(runs)
        self._settle()

    def wayFor(self, local: Any, remote: Any, number: int) -> None:
        return None

    def errorReported(self, *report: Any) -> None:
        self.reports.append(report)


def ports(crowd: Any, inbox: Together, count: int) -> list[RelayedPort]:
    """
    @return: so many ports.
    """
    return [RelayedPort(crowd, inbox, 4, "127.0.0.1") for _ in range(count)]


def test_together() -> None:
    """
    What several ports have is delivered at once; the reactor knows of one
    descriptor, and of none when all ports are closed.
    """
    reactor, inbox = ListReactor(), Together()
    crowd = Crowd(reactor)
    assert verifyObject(IReadDescriptor, crowd)
    assert crowd.fileno() == -1
    a, b, c = ports(crowd, inbox, 3)
    assert reactor.readers == [crowd]
    a.send(Datagram(b"to b", None, b.getHost()))
    a.send(Datagram(b"to c", None, c.getHost()))
    c.send(Datagram(b"to b too", None, b.getHost()))
    assert select.select([crowd], [], [], 5)[0] == [crowd]
    crowd.doRead()
    (runs,) = inbox.together
    assert sorted(runs) == sorted(
        [
            ([b"to b"], b.getHost(), a.getHost()),
            ([b"to b too"], b.getHost(), c.getHost()),
            ([b"to c"], c.getHost(), a.getHost()),
        ]
    )
    crowd.doRead()
    assert len(inbox.together) == 1
    for port in (a, b, c):
        port.close()
    assert (reactor.readers, crowd.fileno()) == ([], -1)
    (again,) = ports(crowd, inbox, 1)
    assert reactor.readers == [crowd]
    crowd.connectionLost(Failure(ConnectionLost()))
    assert (reactor.readers, again.fileno()) == ([], -1)


def test_writing() -> None:
    """
    A port that waits for room writes when there is some.
    """
    reactor, inbox = ListReactor(), Together()
    crowd = Crowd(reactor)
    a, b = ports(crowd, inbox, 2)
    a._enqueue([Datagram(b"late", None, b.getHost())])
    for _ in range(2):
        crowd.doRead()
    assert inbox.data == [b"late"]
    assert not a._queue
    a.close()
    b.close()


def test_oneFails(flushLoggedErrors: Callable[..., list[Any]]) -> None:
    """
    A port that fails stops no other one.
    """
    reactor, inbox = ListReactor(), Together()
    crowd = Crowd(reactor)
    a, b = ports(crowd, inbox, 2)

    class Failing:
        def fileno(self) -> int:
            return one.fileno()

        def logPrefix(self) -> str:
            return "failing"

        def read(self) -> list[Run]:
            raise RuntimeError("on purpose")

    one, other = socket.socketpair()
    with one, other:
        failing = Failing()
        crowd.addReader(failing)
        other.send(b"x")
        a.send(Datagram(b"y", None, b.getHost()))
        crowd.doRead()
        crowd.removeReader(failing)
    assert inbox.data == [b"y"]
    assert len(flushLoggedErrors(RuntimeError)) == 1
    a.close()
    b.close()


@pytest_twisted.ensureDeferred
async def test_kernelNetwork() -> None:
    """
    The ports of a relay are a crowd, and hear of errors.
    """
    from twisted.internet import reactor

    network, inbox = KernelNetwork(reactor), Together()
    a, b = (network.listenDatagram(inbox, 4, "127.0.0.1", 0) for _ in range(2))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
    a.send(Datagram(b"lost", None, nobody))
    a.send(Datagram(b"found", None, b.getHost()))
    await inbox.whenReceived(1)
    assert inbox.received == [(b"found", b.getHost(), a.getHost())]
    b.send(Datagram(b"back", None, a.getHost()))
    await inbox.whenReceived(2)
    assert inbox.reports == [(a.getHost(), nobody, 3, 3, 0)]
    a.close()
    b.close()
