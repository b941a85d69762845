"""
ICMP errors and the DF bit, over loopback.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from punchd.core import Address, Datagram
from punchd.interfaces import IErrorReceiver, IRelayPort
from punchd.net.kernel import KernelNetwork
from punchd.net.reports import ReportingPort
from punchd.net.udp import UDPPort
from tests.net.sockets import Inbox, ListReactor, linux

pytestmark = linux

HOSTS = {4: "127.0.0.1", 6: "::1"}

Report = tuple[Address, Address, int, int, int]
Opener = Callable[..., ReportingPort]


@implementer(IErrorReceiver)
class Complaints(Inbox):
    """
    I keep what comes, and what does not arrive.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[Report] = []
        self._reported: Deferred[list[Report]] | None = None
        self._count = 0

    def errorReported(
        self, local: Address, remote: Address, kind: int, code: int, info: int
    ) -> None:
        self.reports.append((local, remote, kind, code, info))
        if self._reported is not None and len(self.reports) >= self._count:
            waiting, self._reported = self._reported, None
            waiting.callback(self.reports)

    def whenReported(self, count: int) -> Deferred[list[Report]]:
        """
        @return: fires with all reports, once there are C{count} of them.
        """
        self._count = count
        waiting: Deferred[list[Report]] = Deferred()
        self._reported = waiting
        return waiting


@pytest.fixture(name="open_")
def _open() -> Iterator[Opener]:
    from twisted.internet import reactor

    opened: list[ReportingPort] = []

    def make(inbox: Complaints, family: int = 4, on: object = reactor) -> ReportingPort:
        port = ReportingPort(on, inbox, family, HOSTS[family])  # type: ignore[arg-type]
        opened.append(port)
        return port

    yield make
    for each in opened:
        each.close()


def nobody(family: int = 4) -> Address:
    """
    @return: where nobody listens.
    """
    with socket.socket(
        socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM
    ) as sock:
        sock.bind((HOSTS[family], 0))
        name = sock.getsockname()
    return name[0], name[1]


def test_interfaces(open_: Opener) -> None:
    """
    The kernel's network gives such a port to whoever can be told of errors.
    """
    from twisted.internet import reactor

    assert verifyObject(IRelayPort, open_(Complaints()))
    assert verifyClass(IErrorReceiver, Complaints)
    network = KernelNetwork(reactor)
    for inbox, kind in ((Complaints(), ReportingPort), (Inbox(), UDPPort)):
        port = network.listenDatagram(inbox, 4, "127.0.0.1", 0)
        assert type(port) is kind
        port.close()


@pytest.mark.parametrize("family", [4, 6])
@pytest_twisted.ensureDeferred
async def test_unreachable(open_: Opener, family: int) -> None:
    """
    A port where nobody listens is reported, with both addresses; the socket goes
    on to send, to receive, and to report.
    """
    inbox, other = Complaints(), Complaints()
    port, friend = open_(inbox, family), open_(other, family)
    where = nobody(family)
    for round in range(1, 4):
        waiting = inbox.whenReported(round)
        port.send(Datagram(b"anybody?", None, where))
        reports = await waiting
        expected = (3, 3) if family == 4 else (1, 4)
        assert reports[-1] == (port.getHost(), where, *expected, 0)
        friend.send(Datagram(b"hello", None, port.getHost()))
        await inbox.whenReceived(round)
        port.send(Datagram(b"hello yourself", None, friend.getHost()))
        await other.whenReceived(round)
    assert port.counters["reported ECONNREFUSED"] == 3


@pytest_twisted.ensureDeferred
async def test_nothingIsLost(open_: Opener) -> None:
    """
    Errors that one peer causes cost no datagram to another, singly or in runs.
    """
    inbox, other = Complaints(), Complaints()
    port, friend = open_(inbox), open_(other)
    where = nobody()
    for _ in range(50):
        port.send(Datagram(b"anybody?", None, where))
        port.send(Datagram(b"single", None, friend.getHost()))
        port.send(Datagram(b"anybody?", None, where))
        run = [Datagram(b"in a run", None, friend.getHost()) for _ in range(4)]
        port.sendMany(run)
    received = await other.whenReceived(250)
    assert sum(data == b"single" for data, _, _ in received) == 50
    assert port.sender.segmenting == friend.sender.segmenting


def test_withoutPolling(open_: Opener) -> None:
    """
    Reactors that show an error as something to read get it read, too.
    """
    inbox = Complaints()
    port = open_(inbox, on=ListReactor())
    port.send(Datagram(b"anybody?", None, nobody()))
    select.select([port], [], [], 10)
    port.doRead()
    port.doRead()
    assert len(inbox.reports) == 1


def test_reactorEnds(open_: Opener) -> None:
    """
    When the reactor ends, the port is closed and does not ask to be read again.
    """
    reactor = ListReactor()
    port = open_(Complaints(), on=reactor)
    reactor.removeAll()
    port.connectionLost(Failure(ConnectionLost()))
    assert reactor.readers == []
    assert port.fileno() == -1
    port.sendWhole(Datagram(b"late", None, nobody()))


def test_whole(open_: Opener) -> None:
    """
    The DF bit is on what is sent whole, and on nothing else.
    """
    port = open_(Complaints(), on=ListReactor())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        try:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        except PermissionError:
            pytest.skip("only root sees IP headers")
        with raw:
            raw.settimeout(10)
            raw.bind(("127.0.0.1", 0))
            seen = []
            for send in (port.send, port.sendWhole, port.send):
                send(Datagram(b"x", None, sock.getsockname()))
                number = port.getHost()[1].to_bytes(2, "big")
                while (packet := raw.recv(2048))[20:22] != number:
                    pass
                seen.append(bool(packet[6] & 0x40))
    assert seen == [False, True, False]


def test_tooBig(open_: Opener) -> None:
    """
    What does not fit the path and must not be cut is told as ICMP tells it, with
    the MTU; cut, it would have left.
    """
    inbox = Complaints()
    port = open_(inbox, 6, on=ListReactor())
    # With its headers more than loopback's 65536 bytes.
    large = Datagram(bytes(65527), None, nobody(6))
    port.sendWhole(large)
    port.doRead()
    assert inbox.reports == [(port.getHost(), large.remote, 2, 0, 65536)]
    assert port.counters["send EMSGSIZE"] == 1
    port.send(large)
    assert port.counters["send EMSGSIZE"] == 1
