"""
What anybody may send, and what comes of it: nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from punchd.core import Address
from punchd.ice.candidate import hostCandidate
from punchd.ice.pair import CheckState
from punchd.stun.attributes import Attribute
from punchd.stun.message import (
    Message,
    MessageClass,
    Method,
    failure,
    indication,
    parse,
    request,
    success,
)
from tests.drawn import examples
from tests.ice.link import Link, Peer, connected, dial, pairOfPeers

STRANGER: Address = ("198.51.100.66", 6666)
ID = b"x" * 12


def check(a: Peer, b: Peer, *more: tuple[int, object], user: str | None = None):
    """
    @return: a check to C{a} as C{b} would make it.
    """
    user = user or f"{a.agent.credentials.ufrag}:{b.agent.credentials.ufrag}"
    return request(
        Method.BINDING,
        ID,
        (Attribute.USERNAME, user),
        (Attribute.PRIORITY, 1000),
        (Attribute.ICE_CONTROLLED, 1),
        *more,
    )


@pytest.fixture
def peers() -> tuple[Link, Peer, Peer]:
    """
    Two open agents that know each other's credentials.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "open")
    a.hear(b, candidates=False)
    return link, a, b


def feed(a: Peer, data: bytes, remote: Address = STRANGER) -> list[Message]:
    """
    Deliver it to C{a}.

    @return: the messages it sends at once.
    """
    a.agent.datagramReceived(data, a.base, remote, a.link.now)
    return [parse(each.data) for each in a.agent.takeDatagrams()]


def test_goodCheck(peers: tuple[Link, Peer, Peer]) -> None:
    """
    The control of this file: a genuine check is answered and checked in turn.
    """
    _, a, b = peers
    key = a.agent.credentials.key
    answer, theirs = feed(a, check(a, b).serialize(key=key))
    assert answer.messageClass is MessageClass.SUCCESS
    assert answer.get(Attribute.XOR_MAPPED_ADDRESS) == STRANGER
    assert answer.get(Attribute.SESSION_REPORT) == (0, 0)
    assert answer.checkIntegrity(key)
    assert theirs.messageClass is MessageClass.REQUEST
    assert theirs.checkIntegrity(b.agent.credentials.key)


def test_unauthenticatedChecks(peers: tuple[Link, Peer, Peer]) -> None:
    """
    Nothing is sent to who does not know our password, and nothing remembered.
    """
    _, a, b = peers
    key = a.agent.credentials.key
    ours, theirs = a.agent.credentials.ufrag, b.agent.credentials.ufrag
    attempts = {
        "request without integrity": [
            check(a, b).serialize(),
            check(a, b).serialize(key=b"guess" * 5),
        ],
        "request to another user": [
            check(a, b, user=f"other:{theirs}").serialize(key=key),
            check(a, b, user=f"{theirs}:{ours}").serialize(key=key),
            request(Method.BINDING, ID).serialize(key=key),
        ],
        "request from another user": [
            check(a, b, user=f"{ours}:other").serialize(key=key),
            check(a, b, user=ours).serialize(key=key),
        ],
        "message without a fingerprint": [
            check(a, b).serialize(key=key, fingerprint=False),
        ],
        "another method": [request(Method.ALLOCATE, ID).serialize(key=key)],
        "malformed message": [b"", b"\0" * 20, b"GET / HTTP/1.0\r\n\r\n"],
    }
    for why, datas in attempts.items():
        for data in datas:
            assert feed(a, data) == []
        assert a.agent.garbage[why] == len(datas), why
    assert a.agent.pairs == []


def test_oddChecksOfThePeer(peers: tuple[Link, Peer, Peer]) -> None:
    """
    What the peer itself does wrong is answered by the right error.
    """
    _, a, b = peers
    key = a.agent.credentials.key
    unknown = check(a, b, (0x7777, b"?"))
    (answer,) = feed(a, unknown.serialize(key=key))
    assert answer.get(Attribute.ERROR_CODE)[0] == 420
    assert answer.get(Attribute.UNKNOWN_ATTRIBUTES) == [0x7777]
    user = check(a, b).attributes[0]
    (answer,) = feed(a, request(Method.BINDING, ID, user).serialize(key=key))
    assert answer.get(Attribute.ERROR_CODE)[0] == 400
    assert a.agent.pairs == []


@pytest.mark.parametrize("host", ["127.0.0.1", "224.0.0.1", "0.0.0.0"])
def test_forgedSources(peers: tuple[Link, Peer, Peer], host: str) -> None:
    """
    Even a genuine check from an impossible source leads to no packet there.
    """
    _, a, b = peers
    data = check(a, b).serialize(key=a.agent.credentials.key)
    assert feed(a, data, (host, 5000)) == []


def test_elsewhere(peers: tuple[Link, Peer, Peer]) -> None:
    """
    A check to an address that is no candidate is not answered.
    """
    _, a, b = peers
    data = check(a, b).serialize(key=a.agent.credentials.key)
    a.agent.datagramReceived(data, ("203.0.113.200", 1), STRANGER, a.link.now)
    assert a.agent.takeDatagrams() == []


def test_indications(peers: tuple[Link, Peer, Peer]) -> None:
    """
    A Binding indication is a keepalive of other agents: taken, not answered.
    """
    _, a, _ = peers
    assert feed(a, indication(Method.BINDING, ID).serialize()) == []
    assert not a.agent.garbage


def test_forgedResponses(peers: tuple[Link, Peer, Peer]) -> None:
    """
    Responses make a pair valid only with the peer's integrity, from the
    address that was asked, to the address that asked, for a check that was
    sent, and with an address in it.
    """
    link, a, b = peers
    key = b.agent.credentials.key
    a.agent.addRemoteCandidate(hostCandidate(STRANGER), link.now)
    (datagram,) = a.agent.takeDatagrams()
    sent = parse(datagram.data)
    mapped = (Attribute.XOR_MAPPED_ADDRESS, a.base)
    good = success(sent, mapped).serialize(key=key)
    feed(a, success(sent, mapped).serialize(key=b"guess" * 5))
    feed(a, success(sent, mapped).serialize())
    feed(a, failure(sent, 487).serialize())
    feed(a, success(request(1, ID), mapped).serialize(key=key))
    feed(a, success(sent, mapped, (0x7777, b"?")).serialize(key=key))
    feed(a, good, ("198.51.100.67", 6666))
    a.agent.datagramReceived(good, ("203.0.113.200", 1), STRANGER, link.now)
    assert dict(a.agent.garbage) == {
        "response without integrity": 3,
        "response to nothing we sent": 1,
        "response with unknown attributes": 1,
        "response from elsewhere": 2,
    }
    assert a.agent.validPairs == []
    assert a.agent.controlling
    feed(a, good)
    assert len(a.agent.validPairs) == 1
    feed(a, good)
    assert a.agent.garbage["response to nothing we sent"] == 2


def test_authenticErrors(peers: tuple[Link, Peer, Peer]) -> None:
    """
    An error that the peer has signed fails the pair at once.
    """
    link, a, b = peers
    a.agent.addRemoteCandidate(hostCandidate(STRANGER), link.now)
    (datagram,) = a.agent.takeDatagrams()
    refusal = failure(parse(datagram.data), 400)
    feed(a, refusal.serialize(key=b.agent.credentials.key))
    assert a.agent.pairs[0].state is CheckState.FAILED
    assert a.agent.garbage["error response 400"] == 1


@given(st.binary(max_size=200), st.integers(0, 65535))
def test_garbage(data: bytes, port: int) -> None:
    """
    Any bytes from anywhere are counted and answered by nothing.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "open")
    a.hear(b, candidates=False)
    assert feed(a, data, ("198.51.100.66", port)) == []
    assert sum(a.agent.garbage.values()) == 1
    assert a.agent.deadline() is None


@settings(max_examples=examples(200))
@given(st.data())
def test_damagedTraffic(data: st.DataObject) -> None:
    """
    Genuine traffic with bytes changed, cut, replayed, and from other places
    makes no agent raise, nor a pair valid that is not.
    """
    link = Link()
    a, b = pairOfPeers(link, "portrestricted", "open")
    dial(link, a, b)
    link.run(1, connected(a, b))
    recorded = a.arrived + b.arrived
    for _ in range(5):
        raw = bytearray(data.draw(st.sampled_from(recorded)).data)
        for _ in range(data.draw(st.integers(0, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(
                st.integers(0, 255)
            )
        raw = raw[: data.draw(st.integers(0, len(raw)))]
        for peer in (a, b):
            feed(peer, bytes(raw))
    link.run(1)
    assert all(pair.remote.address != STRANGER for pair in a.agent.validPairs)
    assert all(pair.remote.address != STRANGER for pair in b.agent.validPairs)


def meddle(link: Link, peer: Peer, chance: random.Random) -> None:
    """
    Ask something of an agent, or change the network, at random.
    """
    agent = peer.agent
    pairs = agent.pairs
    calls: list[Callable[[], object]] = [
        lambda: agent.retry(link.now),
        lambda: agent.timeReached(link.now),
        lambda: agent.setKeepalive(chance.uniform(1, 60), link.now),
        lambda: agent.setRtt(chance.random()),
        lambda: setattr(link, "drop", lambda datagram: chance.random() < 0.5),
        lambda: setattr(link, "drop", lambda datagram: False),
    ]
    if pairs:
        pair = chance.choice(pairs)
        calls += [
            lambda: agent.probe(pair, link.now),
            lambda: agent.setActive(pair, chance.random() < 0.5, link.now),
            lambda: agent.nominate(pair, link.now),
        ]
    chance.choice(calls)()
    link.flush(peer)


@settings(max_examples=examples(50))
@given(st.integers(0, 1 << 32))
def test_commandsInAnyOrder(seed: int) -> None:
    """
    Whatever is asked of two agents in whatever order, nothing raises and
    nothing loops; left alone on a good network, they connect.
    """
    chance = random.Random(seed)
    link = Link(loss=0.1, jitter=0.02, seed=seed)
    a, b = pairOfPeers(link)
    a.gather(relay=("203.0.113.10", 50001))
    dial(link, a, b, back=chance.random())
    for _ in range(40):
        meddle(link, chance.choice((a, b)), chance)
        link.run(chance.expovariate(0.5))
    link.drop = lambda datagram: False
    link.loss = 0.0
    for peer in (a, b):
        peer.agent.retry(link.now)
    assert link.run(20, connected(a, b)) is not None


def test_earlyTimeChangesNothing() -> None:
    """
    A call of timeReached before the deadline has no effect.
    """
    link = Link()
    a, b = pairOfPeers(link)
    dial(link, a, b)
    for _ in range(50):
        link.run(0.011)
        for peer in (a, b):
            due = peer.agent.deadline()
            peer.agent.timeReached(link.now)
            assert peer.agent.deadline() == due
            assert peer.agent.takeDatagrams() == []
            assert peer.agent.takeEvents() == []
