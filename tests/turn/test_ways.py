"""
Ways: what is decided in advance is what would be decided.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.core import Address
from punchd.stun.attributes import Attribute
from punchd.turn.channeldata import channelData
from punchd.turn.limits import Limits, Quota
from punchd.turn.ways import Way
from tests.turn.link import CLIENT, LISTEN, OTHER, PEER, Raw
from tests.turn.test_runs import NEAR, STRANGER, flat, link

DATA = b"some data"


def taken(way: Way, data: bytes) -> dict[Any, list[bytes]]:
    """
    @return: what somebody who goes the way sends, as L{flat} has it.
    """
    if way.head:
        data = way.head + len(data).to_bytes(2, "big") + data
    return {(way.local, way.remote): [data]}


def counted(server: Any) -> list[tuple[int, ...]]:
    """
    @return: what the allocations have counted.
    """
    return [
        (e.sentPackets, e.sentBytes, e.receivedPackets, e.receivedBytes)
        for e in server.allocations()
    ]


@pytest.mark.parametrize("client", [CLIENT, OTHER, STRANGER])
@pytest.mark.parametrize("number", range(0x4000, 0x4005))
def test_asTheServer(client: Address, number: int) -> None:
    """
    What comes from a client goes where the server brings it, and counts the same; to
    another client, too.
    """
    (one, _), (other, _) = link(), link()
    server: Any = one.server
    way = server.wayFromClient(LISTEN, client, number, one.now)
    other.server.datagramReceived(channelData(number, DATA), LISTEN, client, other.now)
    expected = flat(other.server.takeDatagrams())
    if way is None:
        assert expected == {}
        return
    assert way.room(one.now) > 1000
    way.passed(1, len(DATA))
    assert taken(way, DATA) == expected
    assert counted(server) == counted(other.server)


@pytest.mark.parametrize("peer", [PEER, NEAR, ("192.0.2.80", 7), STRANGER])
@pytest.mark.parametrize("which", [0, 1])
def test_asTheServerFromPeers(peer: Address, which: int) -> None:
    """
    Likewise from peers that have a channel; others are for the server.
    """
    (one, relayed), (other, _) = link(), link()
    server: Any = one.server
    way = server.wayFromPeer(relayed[which], peer, one.now)
    if peer not in (PEER, NEAR):
        assert way is None
        return
    other.server.datagramReceived(DATA, relayed[which], peer, other.now)
    way.passed(1, len(DATA))
    assert taken(way, DATA) == flat(other.server.takeDatagrams())
    assert counted(server) == counted(other.server)


def allWays(server: Any, relayed: list[Address], now: float) -> list[Way]:
    """
    @return: one of each kind that rests on the first client's allocation.
    """
    found = [
        server.wayFromClient(LISTEN, CLIENT, 0x4000, now),
        server.wayFromClient(LISTEN, CLIENT, 0x4002, now),
        server.wayFromClient(LISTEN, OTHER, 0x4002, now),
        server.wayFromPeer(relayed[0], PEER, now),
    ]
    assert None not in found
    return found


def test_released() -> None:
    """
    With an allocation the ways end at once that come from it and lead to it, and who
    goes them is told; others stay.
    """
    one, relayed = link()
    server: Any = one.server
    ways = allWays(server, relayed, one.now)
    stays = server.wayFromClient(LISTEN, OTHER, 0x4000, one.now)
    told: list[Way] = []
    for each in [*ways, stays]:
        each.ended = lambda each=each: told.append(each)
    server.disconnected(LISTEN, CLIENT, one.now)
    assert sorted(map(id, told)) == sorted(map(id, ways))
    assert [each.room(one.now) for each in ways] == [0] * 4
    assert stays.room(one.now) > 0
    assert server.wayFromPeer(relayed[0], PEER, one.now) is None


def test_permissionOver() -> None:
    """
    A way is as good as the permission, and no better; it can be had again once there
    is another one.
    """
    one, relayed = link()
    server: Any = one.server
    ways = allWays(server, relayed, one.now)
    one.now += 300.0
    assert [each.room(one.now) for each in ways] == [0] * 4
    assert all(each.room(one.now - 0.001) > 0 for each in ways)
    assert server.wayFromPeer(relayed[0], PEER, one.now) is None
    assert server.wayFromClient(LISTEN, CLIENT, 0x4000, one.now) is None
    for each in server.allocations():
        for permission in each.permissions.values():
            permission.expires = one.now + 10.0
    again = server.wayFromPeer(relayed[0], PEER, one.now)
    assert again.until == one.now + 10.0
    # What is over is not kept for ever.
    (first,) = (e for e in server.allocations() if e.relayed == relayed[0])
    assert first.ways == [again]


def test_limits() -> None:
    """
    A way has no more room than there are datagrams until the next charge, and none
    for who is in debt.
    """
    one, relayed = link(limits=Limits(user=Quota(packets=10.0)))
    server: Any = one.server
    out, own, back, into = allWays(server, relayed, one.now)
    assert [e.room(one.now) for e in (out, own, back, into)] == [0] * 4
    server.datagramReceived(channelData(0x4000, DATA), LISTEN, CLIENT, one.now)
    room = out.room(one.now)
    assert 0 < room < 32
    out.passed(room, room)
    assert out.room(one.now) == own.room(one.now) == 0
    server.datagramReceived(channelData(0x4000, DATA), LISTEN, CLIENT, one.now)
    assert server.counters["dropped by user"] == 1
    assert out.room(one.now) <= 0


def test_newLimits() -> None:
    """
    When other limits hold, everybody is asked again.
    """
    one, relayed = link()
    server: Any = one.server
    ways = allWays(server, relayed, one.now)
    server.use(Limits(user=Quota(bytes=1.0)))
    assert all(each.room(one.now) <= 0 for each in ways)


def test_twins() -> None:
    """
    Of an allocation of two families the ways of both end when one goes.
    """
    one, _ = link()
    raw = Raw(one, ("198.51.100.55", 7))
    answer = raw.allocate((Attribute.ADDITIONAL_ADDRESS_FAMILY, 2))
    v6 = answer.getAll(Attribute.XOR_RELAYED_ADDRESS)[1]
    peer6 = ("2001:db8:1::1", 5)
    assert raw.bind(0x4000, PEER) == raw.bind(0x4001, peer6) == 0
    server: Any = one.server
    ways = [
        server.wayFromClient(LISTEN, raw.address, 0x4000, one.now),
        server.wayFromClient(LISTEN, raw.address, 0x4001, one.now),
        server.wayFromPeer(v6, peer6, one.now),
    ]
    assert [each.local for each in ways][1] == v6
    (second,) = (each for each in server.allocations() if each.relayed == v6)
    server._closed(second, "released", one.now)
    assert [each.room(one.now) for each in ways] == [0] * 3
    assert server.wayFromClient(LISTEN, raw.address, 0x4000, one.now) is not None
    assert server.wayFromClient(LISTEN, raw.address, 0x4001, one.now) is None
