"""
Tests for L{punchd.net.punching}.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from punchd.core import Address, Datagram
from punchd.errors import InvalidOption
from punchd.net.demux import Demux
from punchd.net.punching import PunchingSocket
from punchd.testing.host import Host
from punchd.testing.network import Network

REMOTE = ("192.0.2.9", 9)
LENT = ("203.0.113.10", 50000)


@pytest.fixture
def host() -> Generator[Host, None, None]:
    """
    A host of both families.
    """
    network = Network()
    yield network.addHost("host", "192.0.2.1", "2001:db8::1")
    assert network.clock.getDelayedCalls() == []


def make(host: Host, port: int = 0) -> PunchingSocket:
    """
    An open socket.
    """
    socket = PunchingSocket(host, Demux())
    socket.open(port)
    return socket


def sent(host: Host) -> list[tuple[Address, Address]]:
    """
    @return: source and destination of all that left, once each.
    """
    return list(host.network.sent)


def test_oneNumber(host: Host) -> None:
    """
    Both families have one port number, and each address is a base.
    """
    socket = make(host, 4000)
    assert socket.families() == [4, 6]
    assert socket.bases() == [("192.0.2.1", 4000), ("2001:db8::1", 4000)]
    socket.close()
    assert not socket.families() and not socket.bases()


def test_taken(host: Host) -> None:
    """
    A port that is taken is an error that names the option.
    """
    first = make(host, 4000)
    with pytest.raises(InvalidOption, match="--port=4000"):
        make(host, 4000)
    first.close()


def test_byFamily(host: Host) -> None:
    """
    Datagrams leave from the port of their destination's family, in order.
    """
    socket = make(host, 4000)
    six = ("2001:db8::9", 9)
    socket.send([Datagram(b"1", None, REMOTE), Datagram(b"2", None, six)])
    host.network.advance(1.0)
    assert sent(host) == [(("192.0.2.1", 4000), REMOTE), (("2001:db8::1", 4000), six)]
    socket.close()


def test_bySource(host: Host) -> None:
    """
    What has a relayed address for its source leaves through that relay only,
    until the relay is gone.
    """
    socket = make(host, 4000)
    relayed: list[Datagram] = []
    socket.addRelay(LENT, relayed.extend)
    assert socket.isRelay(LENT)
    ours = Datagram(b"1", ("192.0.2.1", 4000), REMOTE)
    lent = Datagram(b"2", LENT, REMOTE)
    socket.send([ours, lent, lent, ours])
    assert relayed == [lent, lent]
    socket.removeRelay(LENT)
    assert not socket.isRelay(LENT)
    host.network.advance(1.0)
    assert host.network.sent[("192.0.2.1", 4000), REMOTE] == 2
    socket.close()


def test_closed(host: Host) -> None:
    """
    What is sent after the end goes nowhere, without an error.
    """
    socket = make(host)
    socket.close()
    socket.send([Datagram(b"1", None, REMOTE)])
    assert sent(host) == []
