"""
How an address comes to be observed.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.core import Address, Datagram
from punchd.errors import MalformedMessage
from punchd.signaling.directory import Directory, Presence
from punchd.signaling.observation import (
    PERIOD,
    MappedAddress,
    MappingChanged,
    Observed,
    Observer,
    ServerSilent,
)
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, Method, failure, parse, request

SERVER = ("203.0.113.10", 3478)
OTHER = ("203.0.113.11", 3478)
LOCAL = ("192.168.0.2", 5000)
MAPPED = ("198.51.100.1", 40000)
FORGED = ("198.51.100.66", 53)


class World:
    """
    A registered client, the observer, and a NAT between them.

    @ivar mapped: where the client is seen.
    @ivar lost: whether nothing arrives any more.
    """

    def __init__(self, *servers: Address, key: bytes | None = None) -> None:
        random = Random(1)
        self.now = 1000.0
        self.mapped = MAPPED
        self.lost = False
        self.sighted: list[Address] = []
        self.requests: list[tuple[float, Address]] = []
        self.events: list[object] = []
        directory = Directory(random.randbytes)
        self.presence: Presence = directory.register(
            "alice", "198.51.100.1", object(), None, 0
        ).presence
        self.observer = Observer(
            directory.presenceOf,
            b"secret",
            lambda presence, address: self.sighted.append(address),
        )
        self.client = Observed(
            servers or [SERVER],
            self.presence.handle,
            key or self.presence.key,
            random.randbytes,
        )

    def ask(
        self,
        source: Address = MAPPED,
        nonce: bytes | None = None,
        handle: str | None = None,
        key: bytes | None = None,
    ) -> list[Message]:
        """
        @return: the answers to a Binding request from C{source}.
        """
        message = request(
            Method.BINDING,
            b"t" * 12,
            (Attribute.USERNAME, handle or self.presence.handle),
        )
        if nonce is not None:
            message.add(Attribute.NONCE, nonce)
        data = message.serialize(key=key or self.presence.key)
        answers = self.observer.handle(parse(data), SERVER, source, self.now)
        for each in answers:
            assert each.local == SERVER
            assert each.remote == source
        return [parse(each.data) for each in answers]

    def run(self, seconds: float) -> None:
        """
        Let the client do what is due, over a path of 25 ms each way.
        """
        end = self.now + seconds
        while (due := self.client.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.client.timeReached(self.now)
            for each in self.client.takeDatagrams():
                self.requests.append((self.now, each.remote))
                self.exchange(each)
            self.events += self.client.takeEvents()
        self.now = end

    def exchange(self, sent: Datagram) -> None:
        """
        Bring a request to the observer, and the answers back.
        """
        pending = [sent]
        while pending and not self.lost:
            each = pending.pop(0)
            self.now += 0.025
            answers = self.observer.handle(
                parse(each.data), each.remote, self.mapped, self.now
            )
            self.now += 0.025
            for answer in answers:
                self.client.datagramReceived(answer.data, LOCAL, each.remote, self.now)
            more = self.client.takeDatagrams()
            self.requests += [(self.now, found.remote) for found in more]
            pending += more


# --- the server's half


def test_answerTellsTheSource() -> None:
    """
    The first answer tells the address and a nonce, and observes nothing.
    """
    world = World()
    (answer,) = world.ask()
    assert answer.get(Attribute.XOR_MAPPED_ADDRESS) == MAPPED
    assert answer.checkIntegrity(world.presence.key)
    assert world.presence.sightings.addresses(world.now) == []


def test_nonceProves() -> None:
    """
    The nonce that comes back from where it went to makes the address count,
    once as news.
    """
    world = World()
    nonce = world.ask()[0].get(Attribute.NONCE)
    for _ in range(3):
        (answer,) = world.ask(nonce=nonce)
        assert answer.get(Attribute.NONCE) == nonce
    assert world.presence.sightings.addresses(world.now) == [MAPPED]
    assert world.sighted == [MAPPED]


def test_forgedSource() -> None:
    """
    Who sends from a forged address cannot have it observed: the nonce goes
    there, and that of another address is worth nothing there.
    """
    world = World()
    nonce = world.ask()[0].get(Attribute.NONCE)
    (answer,) = world.ask(FORGED, nonce)
    assert answer.get(Attribute.NONCE) != nonce
    assert world.ask(FORGED, b"guessed!")
    assert world.ask(FORGED, b"")
    assert world.presence.sightings.addresses(world.now) == []
    assert world.observer.counters["nonce of another address or time"] == 3


def test_nonceOfAnotherClient() -> None:
    """
    A nonce is bound to the registration as well: two clients behind one
    address cannot speak for each other.
    """
    world, other = World(), World()
    other.presence.handle = "other"
    nonce = world.ask()[0].get(Attribute.NONCE)
    observer = Observer(lambda handle: other.presence, b"secret")
    message = request(
        Method.BINDING,
        b"t" * 12,
        (Attribute.USERNAME, "other"),
        (Attribute.NONCE, nonce),
    )
    data = message.serialize(key=other.presence.key)
    observer.handle(parse(data), SERVER, MAPPED, world.now)
    assert other.presence.sightings.addresses(world.now) == []


def test_oldNonce() -> None:
    """
    A nonce is good for two to four minutes.
    """
    world = World()
    nonce = world.ask()[0].get(Attribute.NONCE)
    world.now += PERIOD
    world.ask(nonce=nonce)
    assert world.presence.sightings.addresses(world.now) == [MAPPED]
    world.now += PERIOD
    (answer,) = world.ask(nonce=nonce)
    assert answer.get(Attribute.NONCE) != nonce
    assert world.observer.counters["proven"] == 1


def test_unauthenticated() -> None:
    """
    Without the key of a registration there is no answer at all.
    """
    world = World()
    assert world.ask(key=b"wrong") == []
    assert world.ask(handle="nobody") == []
    bare = request(
        Method.BINDING, b"t" * 12, (Attribute.USERNAME, world.presence.handle)
    )
    assert world.observer.handle(parse(bare.serialize()), SERVER, MAPPED, 0) == []
    odd = failure(bare, 400).add(Attribute.USERNAME, world.presence.handle)
    data = odd.serialize(key=world.presence.key)
    assert world.observer.handle(parse(data), SERVER, MAPPED, 0) == []
    assert world.observer.counters["unauthenticated"] == 4


@pytest.mark.parametrize("source", [MAPPED, ("2001:db8::66", 5000)])
def test_noAmplification(source: Address) -> None:
    """
    An answer has at most 80 bytes, no more than the request.
    """
    world = World()
    message = request(
        Method.BINDING, b"t" * 12, (Attribute.USERNAME, world.presence.handle)
    )
    data = message.serialize(key=world.presence.key)
    (answer,) = world.observer.handle(parse(data), SERVER, source, 0)
    assert len(answer.data) <= 80
    assert len(answer.data) <= len(data) + 12


# --- both halves


def test_observedAfterTwoRoundTrips() -> None:
    """
    Two requests: one to learn the nonce, one to bring it back.
    """
    world = World()
    world.run(1)
    assert world.requests == [(1000.0, SERVER), (1000.05, SERVER)]
    event: Any = world.events[0]
    assert (event.local, event.mapped, event.server) == (LOCAL, MAPPED, SERVER)
    assert event.rtt == pytest.approx(0.05)
    assert len(world.events) == 1
    assert world.client.proven
    assert world.client.rtt == pytest.approx(0.05)
    assert world.presence.sightings.addresses(world.now) == [MAPPED]


def test_keptAlive() -> None:
    """
    One request each 15 seconds keeps the mapping open and the address observed,
    and is not repeated; the second one comes sooner, so that clients which
    registered together are out of step.  The others are asked only at the
    beginning.
    """
    world = World(SERVER, OTHER)
    world.run(600)
    times = [at for at, server in world.requests if server == SERVER]
    gaps = [b - a for a, b in pairwise(times)]
    long = [gap for gap in gaps if gap > 0.1]
    assert 7.4 <= long[0] <= 15.1
    assert all(14.9 <= gap <= 15.1 for gap in long[1:])
    # A nonce that has grown old costs one more.
    assert len(gaps) - len(long) <= 6
    assert len([1 for _, server in world.requests if server == OTHER]) == 2
    assert world.presence.sightings.addresses(world.now) == [MAPPED]
    assert len([each for each in world.events if isinstance(each, MappedAddress)]) == 2


def test_mappingChanges() -> None:
    """
    A NAT that has forgotten is noticed with the next request; the new address
    is observed at once, and the other server is asked again.
    """
    world = World(SERVER, OTHER)
    world.run(30)
    world.events.clear()
    world.requests.clear()
    world.mapped = ("198.51.100.1", 40001)
    world.run(16)
    assert world.presence.sightings.addresses(world.now) == [world.mapped, MAPPED]
    event: Any = world.events[0]
    assert event == MappingChanged(SERVER, MAPPED, world.mapped, event.silence)
    assert event.silence == pytest.approx(15.0, abs=0.2)
    servers = [each.server for each in world.events if isinstance(each, MappedAddress)]
    assert servers == [SERVER, OTHER]


def test_silence() -> None:
    """
    A server that does not answer is asked again and again, and reported; its
    return is noticed.
    """
    world = World()
    world.lost = True
    world.run(10)
    assert world.events == [ServerSilent(SERVER)]
    assert 8 <= len(world.requests) <= 12
    assert not world.client.proven
    world.lost = False
    world.run(6)
    assert world.client.proven


def test_silenceLater() -> None:
    """
    The same when it had answered before: it is not known any more whether the
    rendezvous sees us.
    """
    world = World()
    world.run(1)
    world.lost = True
    world.run(30)
    assert not world.client.proven
    assert world.events[-1] == ServerSilent(SERVER)


def test_refresh() -> None:
    """
    After a change of the network all servers are asked at once.
    """
    world = World(SERVER, OTHER)
    world.run(5)
    world.requests.clear()
    world.client.refresh(world.now)
    sent = world.client.takeDatagrams()
    assert [each.remote for each in sent] == [SERVER, OTHER]


def test_setKeepalive() -> None:
    """
    A shorter interval holds from the next request on.
    """
    world = World()
    world.run(1)
    world.requests.clear()
    world.client.setKeepalive(2, world.now)
    world.run(20.5)
    assert 10 <= len(world.requests) <= 13


def test_wrongKey() -> None:
    """
    An answer that was not made with the key of the registration is nobody's.
    """
    world = World()
    world.client.timeReached(world.now)
    (sent,) = world.client.takeDatagrams()
    (answer,) = world.observer.handle(parse(sent.data), SERVER, MAPPED, world.now)
    world.client.datagramReceived(answer.data[:-1] + b"x", LOCAL, SERVER, world.now)
    world.client.datagramReceived(answer.data, LOCAL, OTHER, world.now)
    assert world.client.mapped is None
    world.client.datagramReceived(answer.data, LOCAL, SERVER, world.now)
    assert world.client.mapped == MAPPED
    before = world.client.takeEvents()
    world.client.datagramReceived(answer.data, LOCAL, SERVER, world.now)
    assert len(before) == 1
    assert world.client.takeEvents() == []


@given(st.binary(max_size=200))
def test_anyBytes(data: bytes) -> None:
    """
    Garbage changes nothing, on either side.
    """
    world = World()
    world.client.timeReached(world.now)
    world.client.datagramReceived(data, LOCAL, SERVER, world.now)
    assert world.client.takeEvents() == []
    try:
        message = parse(data)
    except MalformedMessage:
        return
    assert world.observer.handle(message, SERVER, MAPPED, world.now) == []
