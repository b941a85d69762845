"""
What outsiders try: spoofing, guessing, replaying, flooding, amplifying.
"""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.stun.attributes import UDP, Attribute
from punchd.stun.limit import PrefixLimit
from punchd.stun.message import Method, parse, request
from punchd.turn.channeldata import SEND_INDICATION, channelData, indication
from punchd.turn.credentials import makeCredentials
from punchd.turn.limits import Limits, Quota
from tests.turn.link import CLIENT, LISTEN, OTHER, PEER, REALM, SECRET, Link, Raw

RELAYED = ("203.0.113.10", 50001)
VICTIM6 = ("2001:db8:7::7", 40000)
ALLOCATE = (Attribute.REQUESTED_TRANSPORT, UDP)


def allocated(link: Link) -> Raw:
    """
    @return: a client with an allocation and a channel to C{PEER}.
    """
    raw = Raw(link)
    raw.allocate()
    assert raw.bind(0x4000, PEER) == 0
    return raw


@pytest.mark.parametrize("remote", [CLIENT, VICTIM6])
@pytest.mark.parametrize("realm", ["punchd", "the longest has 24 bytes"])
def test_challengesAreSmall(remote: tuple[str, int], realm: str) -> None:
    """
    401 and 438 to an unproven source have at most 112 bytes and no SOFTWARE.
    """
    link = Link(realm=realm, software="punchd")
    bare = request(Method.ALLOCATE, bytes(12), ALLOCATE).serialize()
    stale = Raw(link)
    stale.nonce = b"old"
    for data in (bare, stale.build(Method.ALLOCATE, ALLOCATE)):
        link.server.datagramReceived(data, LISTEN, remote, link.now)
        (answer,) = link.server.takeDatagrams()
        message = parse(answer.data)
        assert len(answer.data) <= 112
        assert message.get(Attribute.SOFTWARE) is None
        assert message.get(Attribute.ERROR_CODE)[1] == ""
        assert message.get(Attribute.REALM) == realm


def test_realmIsShort() -> None:
    """
    A realm that would make a 401 too large is refused at once.
    """
    with pytest.raises(ValueError):
        Link(realm="x" * 25)


def test_challengesAreRationed() -> None:
    """
    A flood from one network is answered for the length of the burst; another
    network is served all the same.
    """
    link = Link(limit=PrefixLimit(rate=10.0, burst=20.0))
    data = request(Method.ALLOCATE, bytes(12), ALLOCATE).serialize()
    for number in range(1000):
        source = (f"192.0.2.{number % 250}", 1000 + number)
        link.server.datagramReceived(data, LISTEN, source, link.now)
    assert len(link.server.takeDatagrams()) == 20
    assert link.server.counters["limited"] == 980
    link.server.datagramReceived(data, LISTEN, OTHER, link.now)
    assert len(link.server.takeDatagrams()) == 1


def test_floodCostsNoMemory() -> None:
    """
    Forged requests from ever new sources, valid or not, leave nothing behind.
    """
    link = Link(limit=PrefixLimit(maximum=256))
    raw = Raw(link)
    raw.nonce = b"made up"
    forged = [
        request(Method.ALLOCATE, bytes(12), ALLOCATE).serialize(),
        raw.build(Method.ALLOCATE, ALLOCATE),
        raw.build(Method.CREATE_PERMISSION),
        channelData(0x4000, b"data"),
        indication(SEND_INDICATION, bytes(12), PEER, b"data"),
    ]

    def flood(count: int) -> None:
        for number in range(count):
            source = (f"11.{number >> 8 & 255}.{number & 255}.1", 1024 + number)
            for each in forged:
                link.server.datagramReceived(each, LISTEN, source, link.now)
            link.server.takeDatagrams()

    flood(5000)  # fills what is bounded: rations and caches of addresses
    tracemalloc.start()
    sizes = []
    for _ in range(4):
        flood(5000)
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # A cache may grow once; what is left behind is so each time.
    assert min(after - before for before, after in pairwise(sizes)) < 50_000
    assert link.server.allocations() == []
    assert link.server.deadline() is None


def test_spoofedSource() -> None:
    """
    Only the client's own address may use its allocation.
    """
    link = Link()
    raw = allocated(link)
    for stranger in (OTHER, (CLIENT[0], CLIENT[1] + 1)):
        raw.address = stranger
        assert raw.send(channelData(0x4000, b"attack")) == []
        assert raw.send(indication(SEND_INDICATION, bytes(12), PEER, b"x")) == []
        assert raw.permit("192.0.2.1") == 437
    assert link.server.counters == {"no allocation": 4, "437": 2}


def test_spoofedPeer() -> None:
    """
    A peer without permission gets nothing through, whatever it sends.
    """
    link = Link()
    allocated(link)
    stranger = ("192.0.2.78", PEER[1])
    for data in (b"x", channelData(0x4000, b"x"), b"", bytes(1500)):
        link.server.datagramReceived(data, RELAYED, stranger, link.now)
    assert link.server.takeDatagrams() == []
    assert link.server.counters == {"no permission": 4}


def test_guessedChannel() -> None:
    """
    Channels that were not bound carry nothing.
    """
    link = Link()
    raw = allocated(link)
    for number in range(0x4001, 0x8000):
        raw.link.server.datagramReceived(
            channelData(number, b"guess"), LISTEN, CLIENT, link.now
        )
    assert link.server.takeDatagrams() == []
    assert link.server.counters == {"no channel": 0x3FFF}


def test_replayFromElsewhere() -> None:
    """
    A recorded request does not work from another address when its nonce came
    with a 401: that nonce is bound to where it was sent.
    """
    link = Link()
    raw = Raw(link)
    challenge = parse(raw.send(request(3, bytes(12), ALLOCATE).serialize())[0].data)
    raw.nonce = challenge.get(Attribute.NONCE)
    recorded = raw.build(Method.ALLOCATE, ALLOCATE)
    raw.address = OTHER
    (answer,) = raw.send(recorded)
    assert parse(answer.data).get(Attribute.ERROR_CODE)[0] == 438
    assert link.server.allocations() == []
    raw.address = CLIENT
    raw.send(recorded)
    assert len(link.server.allocations()) == 1


@pytest.mark.parametrize(("age", "code"), [(0, 0), (3599, 0), (3602, 438)])
def test_staleNonce(age: float, code: int) -> None:
    """
    A nonce is good for an hour, and the 438 brings a fresh one.
    """
    link = Link()
    raw = Raw(link)
    link.now += age
    answer = raw.allocate()
    assert answer.get(Attribute.ERROR_CODE, (0, ""))[0] == code
    if code:
        raw.nonce = answer.get(Attribute.NONCE)
        assert raw.allocate().get(Attribute.LIFETIME) == 600


def test_nonceOfAnother() -> None:
    """
    A signaled nonce works with its own user name only; one from the future,
    of another process, or made up, with none.
    """
    link, other = Link(), Link(nonceKey=b"other")
    raw = Raw(link)
    made = raw.nonce
    for nonce in (
        link.server.nonceFor("somebody", link.now),
        other.server.nonceFor("user", link.now),
        link.server.nonceFor("user", link.now + 5),
        made[:-1],
        made + b"A",
        made.lower(),
        b"\xff" * 20,
        b"",
    ):
        raw.nonce = nonce
        assert raw.allocate().get(Attribute.ERROR_CODE)[0] == 438, nonce
    raw.nonce = made
    assert raw.allocate().get(Attribute.ERROR_CODE) is None


def test_unknownUserAndWrongPassword() -> None:
    """
    Both look the same: a 401 with a challenge.
    """
    link = Link()
    answers = [
        Raw(link, CLIENT, username, password).allocate().attributes
        for username, password in (("user", "guess"), ("nobody", "password"))
    ]
    assert answers[0] == answers[1]
    assert dict(answers[0])[Attribute.ERROR_CODE][0] == 401


def test_expiredName() -> None:
    """
    A name whose expiry has passed, or was written by hand, is nobody.
    """
    link = Link()
    for expiry in (0, 1_000_000_000):
        username, password = makeCredentials(SECRET, "handle", expiry)
        answer = Raw(link, CLIENT, username, password).allocate()
        assert answer.get(Attribute.ERROR_CODE)[0] == 401
    _, password = makeCredentials(SECRET, "handle", 1_000_000_000)
    forged = Raw(link, CLIENT, "9999999999:handle", password)
    assert forged.allocate().get(Attribute.ERROR_CODE)[0] == 401


@pytest.mark.parametrize("missing", ["username", "realm", "nonce"])
def test_incompleteCredentials(missing: str) -> None:
    """
    RFC 8489, 9.2.4: integrity without name, realm or nonce is 400.
    """
    link = Link()
    raw = Raw(link)
    message = request(Method.ALLOCATE, bytes(12), ALLOCATE)
    for name, kind, value in (
        ("username", Attribute.USERNAME, "user"),
        ("realm", Attribute.REALM, REALM),
        ("nonce", Attribute.NONCE, raw.nonce),
    ):
        if name != missing:
            message.add(kind, value)
    (answer,) = raw.send(message.serialize(key=raw.key))
    assert parse(answer.data).get(Attribute.ERROR_CODE)[0] == 400
    assert len(answer.data) <= 112


def test_quotas() -> None:
    """
    Allocations are limited by user however often credentials are renewed, by
    network whatever the user, and altogether.
    """
    link = Link(limits=Limits(user=Quota(2), network=Quota(4), all=Quota(6)))

    def code(handle: str, expiry: int, host: str, port: int) -> int:
        credentials = makeCredentials(SECRET, handle, 4_000_000_000 + expiry)
        answer = Raw(link, (host, port), *credentials).allocate()
        found: int = answer.get(Attribute.ERROR_CODE, (0, ""))[0]
        return found

    assert [code("a", each, "192.0.2.1", 5000 + each) for each in range(3)] == [
        0,
        0,
        486,
    ]
    assert [code(f"b{each}", 0, "192.0.2.2", 6000 + each) for each in range(3)] == [
        0,
        0,
        486,
    ]
    assert [code(f"c{each}", 0, f"11.0.{each}.1", 7000) for each in range(3)] == [
        0,
        0,
        508,
    ]
    link.advance(600)
    assert code("a", 9, "192.0.2.1", 5009) == 0


def test_boundsOfAnAllocation() -> None:
    """
    Permissions and channels are limited; what has expired makes room.
    """
    link = Link(limits=Limits(permissions=4, channels=3))
    raw = Raw(link)
    raw.allocate((Attribute.LIFETIME, 3600))
    hosts = [f"192.0.2.{each}" for each in range(1, 6)]
    assert [raw.permit(each) for each in hosts] == [0, 0, 0, 0, 508]
    assert raw.permit(*hosts) == 508
    ports = [raw.bind(0x4000 + each, (hosts[0], 1 + each)) for each in range(4)]
    assert ports == [0, 0, 0, 508]
    link.advance(601)
    assert raw.permit(*hosts[1:]) == 0
    assert raw.bind(0x4100, (hosts[1], 1)) == 0
    (allocation,) = link.server.allocations()
    assert len(allocation.permissions) == 4
    assert len(allocation.channels) == len(allocation.peers) == 1


def test_churnLeavesNothing() -> None:
    """
    Allocate, permit, send, give back, many times: memory returns to its level.
    """
    link = Link(limits=Limits(user=Quota(), network=Quota()))

    def churn(count: int) -> None:
        for number in range(count):
            raw = Raw(link, (f"11.0.{number % 9}.1", 1024 + number % 5000))
            raw.allocate()
            raw.bind(0x4000, PEER)
            raw.send(channelData(0x4000, b"data"))
            raw.ask(Method.REFRESH, (Attribute.LIFETIME, 0))
            link.server.takeEvents()
            link.now += 0.5

    tracemalloc.start()
    churn(1500)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    churn(1500)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 30_000
    assert link.ports.live == []


@given(st.binary(max_size=120))
def test_garbage(data: bytes) -> None:
    """
    Arbitrary bytes to a listening or relayed address raise nothing and bring
    nothing out.
    """
    link = Link()
    Raw(link).allocate()
    for remote in (CLIENT, OTHER):
        link.server.datagramReceived(data, LISTEN, remote, link.now)
        link.server.datagramReceived(data, RELAYED, remote, link.now)
    assert link.server.takeDatagrams() == []
