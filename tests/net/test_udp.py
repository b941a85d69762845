"""
A UDP socket of the kernel, over loopback.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet, IReadWriteDescriptor
from zope.interface.verify import verifyClass, verifyObject

from punchd.core import Datagram
from punchd.interfaces import IBatchReceiver, IDatagramPort, IDatagramReceiver
from punchd.net import udp
from punchd.net.receiving import PlainReader
from punchd.net.udp import UDPPort
from tests.net.sockets import (
    BatchInbox,
    Inbox,
    ListReactor,
    Opener,
    linux,
    loopback,
)


def test_interfaces(open_: Opener) -> None:
    """
    The port and the fakes are what they say.
    """
    port = open_(Inbox())
    assert verifyObject(IDatagramPort, port)
    assert verifyObject(IReadWriteDescriptor, port)
    assert verifyClass(IDatagramReceiver, Inbox)
    assert verifyClass(IBatchReceiver, BatchInbox)
    assert verifyClass(IReactorFDSet, ListReactor)
    assert port.logPrefix() == f"UDPPort 0.0.0.0 {port.getHost()[1]}"


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("family", [4, 6])
@pytest_twisted.ensureDeferred
async def test_thereAndBack(open_: Opener, family: int, offload: bool) -> None:
    """
    A datagram arrives with the address that it was sent to and the one that it
    came from; the answer does too.
    """
    one, two = Inbox(), Inbox()
    a, b = (open_(inbox, family, offload=offload) for inbox in (one, two))
    a.send(Datagram(b"ping", None, loopback(b)))
    ((data, local, remote),) = await two.whenReceived(1)
    assert (data, local, remote) == (b"ping", loopback(b), loopback(a))
    b.send(Datagram(b"pong", local, remote))
    assert await one.whenReceived(1) == [(b"pong", loopback(a), loopback(b))]


@linux
@pytest_twisted.ensureDeferred
async def test_wildcardKnowsAndChoosesTheAddress(open_: Opener) -> None:
    """
    A wildcard port answers from the address that was asked, though another one
    would be the kernel's choice.
    """
    one, two = Inbox(), Inbox()
    a, b = open_(one), open_(two)
    here, asked = ("127.0.0.5", a.getHost()[1]), ("127.0.0.9", b.getHost()[1])
    a.send(Datagram(b"ping", here, asked))
    assert await two.whenReceived(1) == [(b"ping", asked, here)]
    b.send(Datagram(b"pong", asked, here))
    assert await one.whenReceived(1) == [(b"pong", here, asked)]


@pytest_twisted.ensureDeferred
async def test_boundToOneAddress(open_: Opener) -> None:
    """
    A port of one address needs to be told nothing: whatever local address the
    datagram names, it leaves from the one.
    """
    one, two = Inbox(), Inbox()
    a, b = open_(one, host="127.0.0.1"), open_(two, host="127.0.0.1")
    assert a.getHost() == loopback(a)
    a.send(Datagram(b"x", ("127.0.0.7", 1), loopback(b)))
    assert await two.whenReceived(1) == [(b"x", loopback(b), loopback(a))]


def test_bothFamiliesOnOnePort(open_: Opener) -> None:
    """
    The wildcards of both families can be bound to one port.
    """
    four = open_(Inbox(), 4)
    six = open_(Inbox(), 6, port=four.getHost()[1])
    assert six.getHost() == ("::", four.getHost()[1])


@pytest_twisted.ensureDeferred
async def test_emptyAndGreat(open_: Opener) -> None:
    """
    An empty datagram and the greatest one pass.
    """
    inbox = Inbox()
    a, b = open_(Inbox()), open_(inbox)
    great = bytes(65507)
    a.sendMany([Datagram(p, None, loopback(b)) for p in (b"", b"", great)])
    await inbox.whenReceived(3)
    assert inbox.data == [b"", b"", great]


@pytest_twisted.ensureDeferred
async def test_failingReceiver(
    open_: Opener, flushLoggedErrors: Callable[..., list[Any]]
) -> None:
    """
    A receiver that raises is logged; the port stays open.
    """

    class Choking(Inbox):
        def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
            if data == b"bad":
                raise KeyError(data)
            super().datagramReceived(data, local, remote)

    class ChokingBatch(BatchInbox):
        def datagramsReceived(self, datagrams: Any) -> None:
            if datagrams[0][0] == b"bad":
                raise KeyError(datagrams)
            super().datagramsReceived(datagrams)

    for inbox in (Choking(), ChokingBatch()):
        a, b = open_(Inbox()), open_(inbox)
        a.send(Datagram(b"bad", None, loopback(b)))
        a.send(Datagram(b"good", None, loopback(b)))
        if isinstance(inbox, BatchInbox):
            b.doRead()
            a.send(Datagram(b"good", None, loopback(b)))
        await inbox.whenReceived(1)
        assert inbox.data == [b"good"]
    assert len(flushLoggedErrors(KeyError)) == 2


@linux
@pytest_twisted.ensureDeferred
async def test_closedByReceiver(open_: Opener) -> None:
    """
    Nothing is delivered after closing, not even what was read before.
    """
    ports: list[UDPPort] = []

    class Closing(Inbox):
        def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
            ports[0].close()
            super().datagramReceived(data, local, remote)

    inbox = Closing()
    a = open_(Inbox())
    ports.append(open_(inbox))
    a.sendMany([Datagram(b"x", None, loopback(ports[0]))] * 3)
    await inbox.whenReceived(1)
    assert inbox.data == [b"x"]
    assert ports[0].fileno() == -1
    ports[0].send(Datagram(b"x", None, loopback(a)))
    ports[0].sendMany([Datagram(b"x", None, loopback(a))])
    assert ports[0].counters == {}


def test_connectionLost() -> None:
    """
    A reactor that gives the port up has it closed, off its lists.
    """
    reactor = ListReactor()
    port = UDPPort(reactor, Inbox(), 4)
    assert reactor.readers == [port]
    port.connectionLost(None)
    assert reactor.removeAll() == []
    assert port.fileno() == -1


def test_cannotListen(open_: Opener) -> None:
    """
    A port in use, an address that is not ours, a name, and a number that is no
    port are errors that say so.
    """
    taken = open_(Inbox()).getHost()[1]
    for host, number in (
        ("", taken),
        ("203.0.113.77", 0),
        ("localhost", 0),
        ("", 70000),
    ):
        with pytest.raises(CannotListenError, match=str(number)):
            open_(Inbox(), 4, host, port=number)
    with pytest.raises(ValueError, match="4 or 6"):
        open_(Inbox(), 5)


def test_queue(open_: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the kernel has no room for waits, in order and within bounds: the
    oldest is dropped and counted.
    """
    monkeypatch.setattr(udp, "QUEUE", 4)
    reactor = ListReactor()
    port = open_(Inbox(), reactor=reactor)
    room = [0]
    sent: list[bytes] = []

    class Full:
        def transmit(self, datagrams: Any) -> int:
            done = min(room[0], len(datagrams))
            room[0] -= done
            sent.extend(d.data for d in datagrams[:done])
            return done

        def sendOne(self, datagram: Any) -> int:
            return self.transmit([datagram])

    sender: Any = Full()
    port.sender = sender
    d = [Datagram(bytes([n]), None, ("127.0.0.1", 9)) for n in range(8)]
    room[0] = 1
    port.sendMany(d[:3])
    assert (sent, reactor.writers) == ([b"\0"], [port])
    port.send(d[3])
    room[0] = 1
    port.doWrite()
    assert (sent, reactor.writers) == ([b"\0", b"\1"], [port])
    port.sendMany(d[4:])
    assert port.counters == {"send overflow": 2}
    room[0] = 100
    port.doWrite()
    assert sent == [b"\0", b"\1", b"\4", b"\5", b"\6", b"\7"]
    assert reactor.writers == []
    room[0] = 0
    port.send(d[0])
    assert reactor.writers == [port]


class Script:
    """
    A socket that gives to be read what it is told.
    """

    def __init__(self, *results: Any) -> None:
        self.results = list(results)

    def recvmsg_into(self, buffers: Any, space: int) -> Any:
        result = self.results.pop(0) if self.results else BlockingIOError()
        if isinstance(result, Exception):
            raise result
        buffers[0][: len(result)] = result
        return len(result), [], 0, ("192.0.2.9", 9)

    def close(self) -> None:
        pass


@pytest.fixture
def scripted(open_: Opener, monkeypatch: pytest.MonkeyPatch) -> Any:
    """
    The function below.
    """
    monkeypatch.setattr(UDPPort, "_reader", PlainReader())
    return partial(_scripted, open_)


def _scripted(open_: Opener, inbox: Any, *results: Any) -> UDPPort:
    """
    @return: a port that reads these.
    """
    port = open_(inbox, reactor=ListReactor())
    port._socket.close()
    script: Any = Script(*results)
    port._socket = script
    return port


def test_errorsOfReading(scripted: Any) -> None:
    """
    An ICMP error that comes out of a read is counted, and what is behind it is
    read.
    """
    inbox = Inbox()
    port = scripted(inbox, b"1", ConnectionRefusedError(111, "refused"), b"2")
    port.doRead()
    assert inbox.data == [b"1", b"2"]
    assert port.counters == {"receive ECONNREFUSED": 1}


def test_fairness(scripted: Any) -> None:
    """
    One readiness takes a bounded number of reads.
    """
    inbox = BatchInbox()
    port = scripted(inbox, *[b"x"] * 100)
    port.doRead()
    assert inbox.batches == [udp.READS]
    port.doRead()
    assert inbox.batches == [udp.READS] * 2
