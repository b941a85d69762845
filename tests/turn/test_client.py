"""
The client and the server as two cores: what goes over the link, counted.
"""

from __future__ import annotations

import pytest

from punchd.core import Datagram
from punchd.turn.client import State
from punchd.turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    RelayedDatagram,
    Released,
)
from tests.turn.link import CLIENT, LISTEN, OTHER, PEER, Link, kinds


def test_oneRoundTrip() -> None:
    """
    With realm and nonce from signaling: one request, one response.
    """
    link = Link()
    client = link.client()
    client.allocate(*link.credentials(), link.now)
    sent = client.takeDatagrams()
    assert kinds(sent) == ["ALLOCATE"]
    link.server.datagramReceived(sent[0].data, LISTEN, CLIENT, link.now)
    (answer,) = link.server.takeDatagrams()
    client.datagramReceived(answer.data, CLIENT, LISTEN, link.now)
    assert client.takeEvents() == [Allocated(("203.0.113.10", 50001), CLIENT, 600.0)]
    assert client.relayed == ("203.0.113.10", 50001)
    assert client.mapped == CLIENT
    assert client.takeDatagrams() == []


def test_realmAndNonceFromTheServer() -> None:
    """
    Without them: the 401 is handled within, at one more round trip.
    """
    link = Link()
    client = link.client()
    client.allocate("user", "password", None, None, link.now)
    link.pump()
    assert len(link.sizes) == 2
    assert link.server.counters == {"401": 1}
    assert isinstance(link.take()[0], Allocated)


def test_staleNonce() -> None:
    """
    A nonce that the server does not take costs one retry.
    """
    link = Link()
    client = link.client()
    username, password, realm, _ = link.credentials()
    client.allocate(username, password, realm, b"yesterday", link.now)
    link.pump()
    assert link.server.counters == {"438": 1}
    assert isinstance(link.take()[0], Allocated)


def test_wrongPassword() -> None:
    """
    A refused password ends it after one request, with the code.
    """
    link = Link()
    client = link.client()
    username, _, realm, nonce = link.credentials()
    client.allocate(username, "guess", realm, nonce, link.now)
    link.pump()
    (event,) = link.take()
    assert isinstance(event, AllocationFailed)
    assert event.code == 401
    assert len(link.sizes) == 1
    assert client.deadline() is None


def test_lostRequests() -> None:
    """
    The second request goes out one and a half round trips after the first;
    nobody at home is noticed after a bounded number of them.
    """
    link = Link()
    link.drop = lambda data: True
    client = link.client()
    client.allocate(*link.credentials(), link.now)
    assert client.deadline() == pytest.approx(link.now + 0.075)
    link.advance(20.0)
    (event,) = link.take()
    assert event == AllocationFailed(0, "no answer")
    assert len(link.sizes) == 9
    assert client.deadline() is None


def test_lostResponse() -> None:
    """
    A repeated Allocate gets the allocation that the first one made.
    """
    link = Link()
    client = link.client()
    client.allocate(*link.credentials(), link.now)
    (first,) = client.takeDatagrams()
    link.server.datagramReceived(first.data, LISTEN, CLIENT, link.now)
    link.server.takeDatagrams()
    link.advance(0.2)
    (event,) = link.take()
    assert isinstance(event, Allocated)
    assert event.relayed == ("203.0.113.10", 50001)
    assert link.ports.live == [("203.0.113.10", 50001)]


def test_dataRightBehindThePermission() -> None:
    """
    The first datagram to a peer follows the CreatePermission at once; the
    second is followed by binding a channel; then there is ChannelData.
    """
    link = Link()
    client = link.allocated()
    client.send(b"one", PEER, link.now)
    sent = client.takeDatagrams()
    assert kinds(sent) == ["CREATE_PERMISSION", "SEND"]
    for each in sent:
        link.server.datagramReceived(each.data, LISTEN, CLIENT, link.now)
    link.pump()
    assert [(each.data, each.remote) for each in link.outside] == [(b"one", PEER)]
    client.send(b"two", PEER, link.now)
    sent = client.takeDatagrams()
    assert kinds(sent) == ["SEND", "CHANNEL_BIND"]
    for each in sent:
        link.server.datagramReceived(each.data, LISTEN, CLIENT, link.now)
    link.pump()
    client.send(b"three", PEER, link.now)
    sent = client.takeDatagrams()
    assert kinds(sent) == ["ChannelData"]
    assert len(sent[0].data) == 4 + 5
    link.server.datagramReceived(sent[0].data, LISTEN, CLIENT, link.now)
    assert link.server.takeDatagrams()[0].data == b"three"


def test_dataBack() -> None:
    """
    What a peer sends comes out the same by indication and by channel.
    """
    link = Link()
    client = link.allocated()
    assert client.relayed is not None
    client.send(b"one", PEER, link.now)
    link.pump()
    link.fromPeer(b"hello", client.relayed)
    client.send(b"two", PEER, link.now)
    link.pump()
    link.fromPeer(b"hello again", client.relayed)
    assert link.take() == [
        RelayedDatagram(b"hello", PEER),
        RelayedDatagram(b"hello again", PEER),
    ]


def test_permitIsIdempotent() -> None:
    """
    One request a host, before and after the allocation; other families and
    what is no host are passed over.
    """
    link = Link()
    client = link.client()
    client.permit(["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "nobody"], 0.0)
    client.allocate(*link.credentials(), link.now)
    link.pump()
    client.permit(["192.0.2.1", "192.0.2.2"], link.now)
    assert kinds(client.takeDatagrams()) == ["CREATE_PERMISSION"]
    (allocation,) = link.server.allocations()
    assert set(allocation.permissions) == {"192.0.2.1"}
    assert client.counters == {"other family": 1, "not a host": 1}


def test_longLife() -> None:
    """
    Over two hours, idle but wanted: exact counts of refreshes, nothing lost.
    """
    link = Link()
    client = link.allocated()
    client.send(b"one", PEER, link.now)
    client.send(b"two", PEER, link.now)
    link.pump()
    seen: dict[str, int] = {}

    def count(data: bytes) -> bool:
        name = kinds([Datagram(data, None, LISTEN)])[0]
        seen[name] = seen.get(name, 0) + (data[0] == 0)  # requests only
        return False

    link.drop = count
    link.advance(7200.0)
    # Every 300 s and 240 s; stale nonces after 3600 s cost a request each.
    stale = link.server.counters["438"]
    assert stale <= 4
    assert seen["REFRESH"] + seen["CREATE_PERMISSION"] == 24 + 30 + stale
    assert "CHANNEL_BIND" not in seen  # nothing was sent on the channel: it has ended
    assert link.take() == []
    assert client.relayed is not None
    link.fromPeer(b"still here", client.relayed)
    assert link.take() == [RelayedDatagram(b"still here", PEER)]


def test_channelInUseIsRefreshed() -> None:
    """
    A channel that carries data is bound again before its 600 s are over.
    """
    link = Link()
    client = link.allocated()
    for _ in range(30):
        client.send(b"data", PEER, link.now)
        link.advance(60.0)
    (allocation,) = link.server.allocations()
    assert list(allocation.channels) == [0x4000]
    assert allocation.channels[0x4000].expires > link.now
    client.send(b"data", PEER, link.now)
    assert kinds(client.takeDatagrams()) == ["ChannelData"]


def test_forgottenAndPermittedAgain() -> None:
    """
    A host that is permitted again is heard on the channel that the server still
    has for it; one that stays forgotten loses the channel.
    """
    link = Link()
    client = link.allocated()
    for _ in range(4):
        client.send(b"data", PEER, link.now)
        link.pump()
    (allocation,) = link.server.allocations()
    assert list(allocation.channels) == [0x4000]
    client.forget([PEER[0]])
    client.permit([PEER[0]], link.now)
    link.pump()
    assert client.relayed is not None
    link.fromPeer(b"hello again", client.relayed)
    assert link.take() == [RelayedDatagram(b"hello again", PEER)]
    client.forget([PEER[0]])
    for _ in range(30):
        link.advance(60.0)
    assert allocation.channels[0x4000].expires < link.now


def test_expiredOnTheServer() -> None:
    """
    When the server has forgotten us, we hear it at the next refresh, may
    allocate again, and what was permitted is permitted anew.
    """
    link = Link()
    client = link.allocated()
    client.permit([PEER[0]], link.now)
    link.pump()
    link.server.revoke(link.server.allocations()[0].username, link.now)
    client.refresh(link.now)
    link.pump()
    (event,) = link.take()
    assert isinstance(event, AllocationLost)
    assert client.relayed is None
    client.allocate(*link.credentials(), link.now)
    link.pump()
    assert isinstance(link.take()[0], Allocated)
    (allocation,) = link.server.allocations()
    assert set(allocation.permissions) == {PEER[0]}


def test_release() -> None:
    """
    Given back, the port is closed at once.
    """
    link = Link()
    client = link.allocated()
    client.permit([PEER[0]], link.now)
    client.release(link.now)
    link.pump()
    assert link.take() == [Released()]
    assert link.ports.live == []
    assert client.state is State.IDLE
    assert client.deadline() is None


def test_portOfAnotherAllocation() -> None:
    """
    437 at Allocate: what is left from before is given back first, if it is
    ours; if not, it fails with the code.
    """
    link = Link()
    credentials = link.credentials()
    first = link.client()
    first.allocate(*credentials, link.now)
    link.pump()
    again = link.client()
    again.allocate(*credentials, link.now)
    link.pump()
    assert isinstance(link.take()[0], Allocated)
    assert len(link.ports.live) == 1
    stranger = link.client()
    stranger.allocate(*link.credentials("stranger"), link.now)
    link.pump()
    (event,) = link.take()
    assert isinstance(event, AllocationFailed)
    assert event.code == 437


def test_twoClients() -> None:
    """
    Relay to relay: both have permissions, nothing leaves the process.
    """
    link = Link()
    a, b = link.allocated(CLIENT, "a"), link.allocated(OTHER, "b")
    assert a.relayed is not None
    assert b.relayed is not None
    b.permit([a.relayed[0]], link.now)
    link.pump()
    for number in range(5):
        a.send(b"%d" % number, b.relayed, link.now)
        link.pump()
        b.send(b"%d" % number, a.relayed, link.now)
        link.pump()
    assert link.take(CLIENT) == [
        RelayedDatagram(b"%d" % number, b.relayed) for number in range(5)
    ]
    assert link.take(OTHER) == [
        RelayedDatagram(b"%d" % number, a.relayed) for number in range(5)
    ]
    assert link.outside == []


def test_ipv6() -> None:
    """
    An IPv6 relayed address carries data to IPv6 peers.
    """
    link = Link()
    client = link.client(family=6)
    client.allocate(*link.credentials(), link.now)
    link.pump()
    assert client.relayed == ("2001:db8::10", 50001)
    peer = ("2001:db8:7::7", 7)
    for data in (b"one", b"two", b"three"):
        client.send(data, peer, link.now)
        link.pump()
        link.fromPeer(data, client.relayed, peer)
    assert [each.data for each in link.outside] == [b"one", b"two", b"three"]
    received = [each for each in link.take() if isinstance(each, RelayedDatagram)]
    assert [each.data for each in received] == [b"one", b"two", b"three"]
    assert {each.peer for each in received} == {peer}
    client.send(b"four", PEER, link.now)
    assert client.counters["other family"] == 1
