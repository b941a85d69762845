"""
The client against what goes wrong: refusals, garbage, forgery, silence.
"""

from __future__ import annotations

import pytest

from punchd.stun.message import parse
from punchd.turn.client import Client
from punchd.turn.events import AllocationLost, PermissionFailed
from tests.turn.link import CLIENT, LISTEN, OTHER, PEER, Link, kinds


def test_serverSilent() -> None:
    """
    A server that does not answer any more has lost us when the lifetime ends,
    not before.
    """
    link = Link()
    client = link.allocated()
    link.drop = lambda data: True
    link.advance(599.0)
    assert link.take() == []
    assert client.relayed is not None
    link.advance(1.0)
    assert link.take() == [AllocationLost("expired")]
    assert client.deadline() is None


def test_refusedHost() -> None:
    """
    A refused host is reported, data to it does not become a flood of
    requests, and asking again works once it is allowed.
    """
    link = Link()
    link.admission.hosts = set()
    client = link.allocated()
    client.permit([PEER[0]], link.now)
    link.pump()
    assert link.take() == [PermissionFailed(PEER[0], 403)]
    link.sizes.clear()
    for _ in range(100):
        client.send(b"data", PEER, link.now)
        link.pump()
    assert link.sizes == []
    assert client.counters["refused"] == 100
    link.admission.hosts = {PEER[0]}
    client.permit([PEER[0]], link.now)
    client.send(b"late", PEER, link.now)
    link.pump()
    assert link.take() == []
    client.send(b"data", PEER, link.now)
    link.pump()
    assert [each.data for each in link.outside] == [b"data"]


@pytest.mark.parametrize(
    "data", [b"", b"\x40", b"\x40\x00\x00\x05abc", b"\x00\x17garbage", b"\xff" * 30]
)
def test_garbage(data: bytes) -> None:
    """
    Garbage from the server is counted; from elsewhere, nothing is believed.
    """
    link = Link()
    client = link.allocated()
    client.datagramReceived(data, CLIENT, LISTEN, link.now)
    client.datagramReceived(b"\x40\x00\x00\x01a", CLIENT, OTHER, link.now)
    assert client.takeEvents() == []
    assert client.takeDatagrams() == []
    assert client.counters["not the server"] == 1
    assert client.counters.total() == 2


def test_forgedResponses() -> None:
    """
    A success with another key is not believed, nor an unknown transaction.
    """
    link = Link()
    client = link.client()
    client.allocate(*link.credentials(), link.now)
    (sent,) = client.takeDatagrams()
    link.server.datagramReceived(sent.data, LISTEN, CLIENT, link.now)
    (answer,) = link.server.takeDatagrams()
    message = parse(answer.data)
    forged = message.serialize(key=b"not the key")
    client.datagramReceived(forged, CLIENT, LISTEN, link.now)
    message.transactionId = bytes(12)
    client.datagramReceived(message.serialize(), CLIENT, LISTEN, link.now)
    assert client.takeEvents() == []
    assert client.counters == {"bad integrity": 1, "stray response": 1}


def test_notAllocated() -> None:
    """
    Without an allocation data is dropped and counted.
    """
    client = Client(LISTEN, entropy=bytes)
    client.send(b"data", PEER, 0.0)
    client.refresh(0.0)
    client.release(0.0)
    assert client.takeDatagrams() == []
    assert client.counters == {"not allocated": 1}


def test_manyPeers() -> None:
    """
    Over a long life with ever new peers, channel numbers are used again and
    what was sent to once is forgotten.
    """
    link = Link()
    client = link.allocated()
    for number in range(6000):
        peer = ("192.0.2.1", 1024 + number)
        client.send(b"once", (PEER[0], 1024 + number), link.now)
        for _ in range(2):
            client.send(b"data", peer, link.now)
        link.pump()
        if number % 60 == 59:  # as many channels as one allocation may have
            link.advance(1300)
    (allocation,) = link.server.allocations()
    assert len(link.outside) == 3 * 6000
    assert len(allocation.channels) <= 64
    for _ in range(2):
        client.send(b"data", PEER, link.now)
        link.pump()
    client.send(b"data", PEER, link.now)
    assert kinds(client.takeDatagrams()) == ["ChannelData"]
    assert "508" not in link.server.counters
