"""
Tests for L{punchd.net.congestion}, on sockets of the kernel.
"""

from __future__ import annotations

import socket
from errno import ENOPROTOOPT
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.protocol import Factory, Protocol

from punchd.net.congestion import (
    LONGEST,
    RTO_MAX_MS,
    UnpacedReactor,
    pace,
    unpace,
)
from punchd.net.listening import listenTCP

_OPTION = getattr(socket, "TCP_CONGESTION", None)
#: What L{insistence} finds where nothing was set.
DEFAULT = (120_000, 0)

pytestmark = pytest.mark.skipif(_OPTION is None, reason="TCP has no choice here")


def congestion(handle: Any) -> bytes:
    """
    @return: what a socket uses.
    """
    assert _OPTION is not None
    name: bytes = handle.getsockopt(socket.IPPROTO_TCP, _OPTION, 16)
    return name.rstrip(b"\0")


def chosen() -> bytes:
    """
    @return: the machine's.
    """
    with socket.socket() as fresh:
        return congestion(fresh)


def insistence(handle: Any) -> tuple[int, int]:
    """
    @return: the milliseconds between two attempts at the most, and for all of them, 0
        for the machine's.
    """
    try:
        longest = handle.getsockopt(socket.IPPROTO_TCP, RTO_MAX_MS)
    except OSError:
        longest = DEFAULT[0]
    return longest, handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def able() -> bool:
    """
    @return: whether the kernel can be told to ask again soon.
    """
    with socket.socket() as fresh:
        try:
            fresh.setsockopt(socket.IPPROTO_TCP, RTO_MAX_MS, LONGEST)
        except OSError:
            return False
    return True


class Old:
    """
    A socket of a kernel that cannot.
    """

    def __init__(self) -> None:
        self.options: dict[int, object] = {}

    def setsockopt(self, level: int, option: int, value: object) -> None:
        if option == RTO_MAX_MS:
            raise OSError(ENOPROTOOPT, "Protocol not available")
        self.options[option] = value


class Accepted(Protocol):
    """
    Tells when it is there.
    """

    def connectionMade(self) -> None:
        """
        It is.
        """
        assert isinstance(self.factory, Listening)
        self.factory.accepted.callback(self)


class Listening(Factory):
    """
    Takes one connection.
    """

    protocol = Accepted
    noisy = False

    def __init__(self) -> None:
        self.accepted: Deferred[Accepted] = Deferred()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_bothEnds(host: str) -> None:
    """
    Both ends of a connection do without pacing, and can be told to do as others.
    """
    from twisted.internet import reactor as anyReactor

    reactor: Any = anyReactor
    factory = Listening()
    port: Any = listenTCP(reactor, host, 0, factory)
    unpaced = UnpacedReactor(reactor)
    assert IReactorTCP.providedBy(unpaced) and IReactorTime.providedBy(unpaced)
    endpoint = TCP4ClientEndpoint(unpaced, host, port.getHost().port)
    client: Any = await endpoint.connect(Factory.forProtocol(Protocol))
    server: Any = await factory.accepted
    ends = [end.transport.getHandle() for end in (client, server)]
    assert [congestion(end) for end in ends] == [b"reno", b"reno"]
    for end in ends:
        assert insistence(end) == ((LONGEST, 300_000) if able() else DEFAULT)
        pace(end)
    assert [congestion(end) for end in ends] == [chosen(), chosen()]
    gone: Deferred[None] = Deferred()
    server.connectionLost = lambda reason: gone.callback(None)
    client.transport.abortConnection()
    await gone
    await port.stopListening()


def test_oldKernel() -> None:
    """
    Where TCP cannot be told to ask again soon, it gives up when it always did.
    """
    old = Old()
    unpace(old)
    assert old.options[socket.TCP_USER_TIMEOUT] == 0


def test_nothingToSet() -> None:
    """
    What is no TCP socket of the kernel is left alone.
    """
    for handle in (None, object()):
        unpace(handle)
        pace(handle)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        unpace(udp)
        assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
