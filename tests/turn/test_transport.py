"""
Clients over TCP: the same server, another 5-tuple (RFC 8656, 3.1).
"""

from __future__ import annotations

import pytest

from punchd.core import Address
from punchd.stun.attributes import Attribute
from punchd.turn.channeldata import channelData
from punchd.turn.events import AllocationClosed
from punchd.turn.transport import isStream, overStream, transportOf, withoutTransport
from tests.turn.link import CLIENT, LISTEN, OTHER, PEER, RELAY, Link, Raw

STREAM = overStream(LISTEN)


@pytest.mark.parametrize("address", [LISTEN, ("2001:db8::1", 443)])
def test_mark(address: Address) -> None:
    """
    The mark tells the transports of one address apart, and comes off again.
    """
    marked = overStream(address)
    assert isStream(marked)
    assert not isStream(address)
    secure = overStream(address, True)
    assert isStream(secure)
    assert secure != marked
    for each in (marked, secure, address):
        assert withoutTransport(each) == address
    found = [transportOf(each) for each in (address, marked, secure)]
    assert found == ["udp", "tcp", "tls"]


def test_twoTransports() -> None:
    """
    The same two addresses over UDP and over TCP are two allocations.
    """
    link = Link()
    over = {local: Raw(link, local=local) for local in (LISTEN, STREAM)}
    relayed = {
        local: each.allocate().get(Attribute.XOR_RELAYED_ADDRESS)
        for local, each in over.items()
    }
    assert len(set(relayed.values())) == 2
    for local, each in over.items():
        assert each.bind(0x4000, PEER) == 0
        link.server.datagramReceived(b"hello", relayed[local], PEER, link.now)
        (datagram,) = link.server.takeDatagrams()
        assert datagram.local == local
        assert datagram.remote == CLIENT
        assert datagram.data == channelData(0x4000, b"hello")


def test_ownHosts() -> None:
    """
    The server's address counts as our own, not the mark.
    """
    link = Link(ownHosts=[])
    raw = Raw(link, local=STREAM)
    raw.allocate()
    assert raw.bind(0x4000, (RELAY, 9)) == 403


def test_disconnected() -> None:
    """
    An allocation ends with its connection, and nobody else's does.
    """
    link = Link()
    for local in (STREAM, LISTEN):
        Raw(link, local=local).allocate()
    server = link.server
    server.takeEvents()
    server.disconnected(STREAM, OTHER, link.now)
    assert len(server.allocations()) == 2
    assert server.holds(STREAM, CLIENT)
    server.disconnected(STREAM, CLIENT, link.now)
    assert not server.holds(STREAM, CLIENT)
    assert server.holds(LISTEN, CLIENT)
    (event,) = server.takeEvents()
    assert isinstance(event, AllocationClosed)
    assert event.reason == "disconnected"
    assert len(link.ports.live) == 1
