"""
Two relays that share a port.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest

from punchd.core import Datagram
from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, parse
from punchd.turn.allocation import Allocation
from punchd.turn.channeldata import channelData
from punchd.turn.events import Allocated, AllocationFailed, RelayedDatagram
from punchd.turn.limits import Limits, Quota
from punchd.turn.neighbours import Lodger, NeighbouredServer, Neighbours, shareOf
from punchd.turn.unheard import PATIENCE, REQUESTS
from tests.turn.link import CLIENT, LISTEN, OTHER, Link, Raw


class Both:
    """
    Each hears at once what the other one has, or C{late}.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.late: list[tuple[int, Lodger]] | None = None
        self.known = Neighbours(), Neighbours()
        self.links = [
            Link(
                make=partial(NeighbouredServer, self.known[i], self._teller(1 - i)),
                limits=limits,
                nonceKey=bytes(32),
            )
            for i in (0, 1)
        ]
        self.links[1].ports._next = count(60001)

    def _teller(self, other: int) -> Callable[[Allocation, bool], None]:
        def told(allocation: Allocation, came: bool) -> None:
            if self.late is not None:
                self.late.append((other, Lodger.of(allocation)))
            elif came:
                self.known[other].came(Lodger.of(allocation))
            else:
                assert self.known[other].went(allocation.outside) is not None

        return told

    def hear(self) -> None:
        """
        Now the news is there.
        """
        for other, lodger in self.late or ():
            self.known[other].came(lodger)
            link = self.links[other]
            assert isinstance(link.server, NeighbouredServer)
            link.server.came(lodger.outside, link.now)
        self.late = None

    def carry(self) -> None:
        """
        Bring what one sends to the other's relayed addresses.
        """
        for link, other in (self.links, self.links[::-1]):
            sent, link.outside = link.outside, []
            for each in sent:
                assert each.local is not None
                other.fromPeer(each.data, each.remote, each.local)


def test_relayedToRelayed() -> None:
    """
    Clients of two processes reach each other's relayed addresses, by indications
    and by channels, one by one and in runs; not what is no relayed address.
    """
    both = Both()
    first, second = both.links
    a, b = first.allocated(), second.allocated(OTHER)
    assert a.relayed is not None and b.relayed is not None
    ways = ((first, a, b.relayed), (second, b, a.relayed))
    for link, client, peer in ways:
        client.permit([peer[0]], link.now)
        link.pump()
    for link, client, peer in ways:
        for number in range(3):
            client.send(b"%d" % number, peer, link.now)
            link.pump()
            both.carry()
    for events, peer in ((first.take(), b.relayed), (second.take(OTHER), a.relayed)):
        assert events == [RelayedDatagram(b"%d" % n, peer) for n in range(3)]
    channel = a._peers.channelTo(b.relayed, first.now)
    assert channel is not None, "no channel to another process's address"
    run = [channelData(channel, b"run %d" % each) for each in range(5)]
    assert isinstance(first.server, NeighbouredServer)
    first.server.runsReceived([(run, LISTEN, CLIENT)], first.now)
    bursts: Any = first.server.takeDatagrams()
    assert [bytes(each.data) for burst in bursts for each in burst] == [
        b"run %d" % each for each in range(5)
    ]
    assert bursts[0].remote == b.relayed and bursts[0].local == a.relayed

    b.release(second.now)
    second.pump()
    first.server.runsReceived([(run, LISTEN, CLIENT)], first.now)
    assert first.server.takeDatagrams() == []
    assert first.server.counters["no such relayed address"] == 5


def test_countedTogether() -> None:
    """
    Who has as many allocations as he may in one process gets none in another, until
    one of them is given back.
    """
    both = Both(Limits(user=Quota(allocations=1)))
    first, second = both.links
    a = first.allocated()
    refused = second.client(OTHER)
    refused.allocate(*second.credentials(), second.now)
    second.pump()
    (event,) = [e for e in second.take(OTHER) if isinstance(e, AllocationFailed)]
    assert event.code == 486
    assert second.server.counters["486 by user"] == 1
    a.release(first.now)
    first.pump()
    assert not both.known[1].live and not both.known[1].counts
    refused.allocate(*second.credentials(), second.now)
    second.pump()
    assert any(isinstance(e, Allocated) for e in second.take(OTHER))


def test_ownAddressesAreNoPeers() -> None:
    """
    What is sent to an address of ours that is nobody's relayed address goes nowhere,
    and no channel to it is bound.
    """
    both = Both()
    first, second = both.links
    a, b = first.allocated(), second.allocated(OTHER)
    assert b.relayed is not None
    beside = b.relayed[0], b.relayed[1] + 1
    a.permit([beside[0]], first.now)
    first.pump()
    for _ in range(3):
        a.send(b"anybody?", beside, first.now)
        first.pump()
    first.advance(1.0)
    assert first.outside == []
    assert first.server.counters["no such relayed address"] == 3
    assert first.server.counters["403"] == 1
    assert a._peers.channelTo(beside, first.now) is None


def _bind(client: Raw, number: int, peer: Any) -> bytes:
    return client.build(
        Method.CHANNEL_BIND,
        (Attribute.CHANNEL_NUMBER, number),
        (Attribute.XOR_PEER_ADDRESS, peer),
    )


def _codes(sent: list[Datagram]) -> list[int]:
    return [parse(each.data).get(Attribute.ERROR_CODE, (0, ""))[0] for each in sent]


def test_newsIsLate() -> None:
    """
    Who binds a channel to another process's relayed address before we have heard of it
    is answered, once, as soon as we have.
    """
    both = Both()
    first, second = both.links
    client = Raw(first)
    client.allocate()
    both.late = []
    relayed = second.allocated(OTHER).relayed
    asked = _bind(client, 0x4000, relayed)
    assert client.send(asked) == client.send(asked) == []
    both.hear()
    assert _codes(first.server.takeDatagrams()) == [0]
    first.now += PATIENCE
    first.server.timeReached(first.now)
    assert first.server.takeDatagrams() == []
    assert first.server.counters["403"] == 0


def test_noNews() -> None:
    """
    If there is none, the answer is no after half a second; and at once while too many
    wait for theirs.  Who has gone gets none.
    """
    both = Both()
    first, second = both.links
    client, other = Raw(first), Raw(first, OTHER)
    client.allocate()
    other.allocate()
    nobody = second.allocated(("198.51.100.99", 1)).relayed
    assert nobody is not None
    nobody = nobody[0], nobody[1] + 1
    assert other.send(_bind(other, 0x4000, nobody)) == []
    for number in range(1, REQUESTS):
        assert client.send(_bind(client, 0x4000 + number, nobody)) == []
    assert _codes(client.send(_bind(client, 0x4000, nobody))) == [403]
    first.server.disconnected(LISTEN, OTHER, first.now)
    first.now += PATIENCE
    assert first.server.deadline() == first.now
    first.server.timeReached(first.now)
    assert _codes(first.server.takeDatagrams()) == [403] * (REQUESTS - 1)
    assert first.server.deadline() != first.now
    assert client.send(_bind(client, 0x4000, nobody)) == []


def test_nonceOfAnotherProcess() -> None:
    """
    A nonce that one process has given out is good for the other.
    """
    both = Both()
    first, second = both.links
    client = second.client(CLIENT)
    client.allocate(*first.credentials(), second.now)
    second.pump()
    assert client.relayed is not None
    assert second.server.counters["438"] == 0


@pytest.mark.parametrize("processes", [1, 4])
def test_shares(processes: int) -> None:
    """
    What all users together may pass is divided; their allocations are counted
    together, and what one of them may do is not divided.
    """
    limits = Limits(user=Quota(bytes=100), all=Quota(10, 400, 4000, 40000))
    shared = shareOf(limits, processes)
    assert shared.user == limits.user and shared.network == limits.network
    assert shared.all == Quota(10, 400 / processes, 4000 / processes, 40000 / processes)
