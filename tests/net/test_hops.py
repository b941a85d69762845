"""
The socket that hears of its datagrams' deaths, on loopback.

Routers are needed for deaths; see tests/lab/test_ttl.py.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from punchd.core import Datagram
from punchd.interfaces import IDatagramPort, IHopReceiver, INetwork
from punchd.net.hops import _whoDropped
from punchd.net.kernel import KernelNetwork
from tests.net.sockets import ListReactor, linux


@implementer(IHopReceiver)
class Inbox:
    """
    Keeps what comes.
    """

    def __init__(self) -> None:
        self.came: Deferred[bytes] = Deferred()
        self.died: list[tuple[bytes, str]] = []

    def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
        self.came.callback(data)

    def hopReported(self, data: bytes, host: str) -> None:
        self.died.append((data, host))


@linux
def test_interface() -> None:
    """
    It is a port, of either family, and may be closed twice.
    """
    network: Any = KernelNetwork(ListReactor(), environ={})
    assert verifyObject(INetwork, network)
    assert verifyObject(IHopReceiver, Inbox())
    for family in (4, 6):
        port = network.listenHops(Inbox(), family)
        assert verifyObject(IDatagramPort, port)
        assert port.getHost()[1]
        port.close()
        port.close()
        assert port.fileno() == -1


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Other systems do without.
    """
    monkeypatch.setattr("punchd.net.ancillary.LINUX", False)
    network: Any = KernelNetwork(ListReactor(), environ={})
    assert network.listenHops(Inbox(), 4) is None


@linux
@pytest.mark.parametrize(("family", "host"), [(4, "127.0.0.1"), (6, "::1")])
@pytest_twisted.ensureDeferred
async def test_answers(family: int, host: str) -> None:
    """
    What comes is delivered; a closed port, of which the kernel tells in the same
    way, is not taken for a death and does not end the socket.
    """
    from twisted.internet import reactor

    network: Any = KernelNetwork(reactor)
    inbox, other = Inbox(), Inbox()
    port = network.listenHops(inbox, family)
    peer = network.listenHops(other, family)
    gone = network.listenHops(Inbox(), family)
    closed = (host, gone.getHost()[1])
    gone.close()
    try:
        port.send(Datagram(b"nobody", None, closed, 5))
        port.sendMany([Datagram(b"hello", None, (host, peer.getHost()[1]), 5)])
        assert await other.came == b"hello"
        peer.send(Datagram(b"world", None, (host, port.getHost()[1])))
        assert await inbox.came == b"world"
        assert inbox.died == other.died == []
    finally:
        port.close()
        peer.close()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        bytes(16),
        struct.pack("=IBBBxII", 113, 2, 11, 0, 0, 0),
        struct.pack("=IBBBxIIH", 113, 3, 3, 0, 0, 0, 10) + bytes(10),
        # Port unreachable.
        struct.pack("=IBBBxIIHH4s", 111, 2, 3, 3, 0, 0, 2, 0, b"\x7f\0\0\1"),
    ],
)
def test_notDead(value: bytes) -> None:
    """
    Reports of other things, or without an address, tell of no death.
    """
    assert _whoDropped(value) is None


def test_dead() -> None:
    """
    The address of who dropped a datagram is read, of either family.
    """
    error = struct.pack("=IBBBxII", 113, 2, 11, 0, 0, 0)
    four = struct.pack("=HH4s8x", 2, 0, bytes((192, 168, 1, 1)))
    assert _whoDropped(error + four) == "192.168.1.1"
    error = struct.pack("=IBBBxII", 113, 3, 3, 0, 0, 0)
    six = struct.pack("=HHI16sI", 10, 0, 0, bytes(15) + b"\1", 0)
    assert _whoDropped(error + six) == "::1"
