"""
How much users, networks and all together may relay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from punchd.stun.attributes import Attribute
from punchd.turn.channeldata import channelData
from punchd.turn.credentials import makeCredentials
from punchd.turn.guards import StaticUsers
from punchd.turn.limits import DAY, INTERVAL, Limits, Meter, Quota
from tests.turn.link import OTHER, PEER, SECRET, WALL, Link, Raw

CHANNEL = 0x4000
RELAYED = ("203.0.113.10", 50001)
NAMES = ("user", "network", "all")
USERS = {"user": "password", "other": "password"}


def ready(link: Link, address: tuple[str, int], username: str = "user") -> Raw:
    """
    @return: a client with a channel to C{PEER}.
    """
    raw = Raw(link, address, username)
    assert raw.allocate().get(Attribute.ERROR_CODE) is None
    assert raw.bind(CHANNEL, PEER) == 0
    return raw


def passed(raw: Raw, count: int, size: int = 10) -> int:
    """
    @return: how many of that many datagrams went to the peer.
    """
    return sum(len(raw.send(channelData(CHANNEL, bytes(size)))) for _ in range(count))


@pytest.mark.parametrize("name", NAMES)
def test_packets(name: str) -> None:
    """
    With a rate of packets as many pass as there are tokens, both directions
    counted together; a second brings a second's worth.
    """
    few, many = Quota(packets=100), Quota()
    user, network, everybody = (few if e == name else many for e in NAMES)
    link = Link(limits=Limits(user=user, network=network, all=everybody))
    raw = ready(link, ("198.51.100.7", 1))
    assert 100 <= passed(raw, 1000) <= 100 + INTERVAL
    link.server.datagramReceived(b"x", RELAYED, PEER, link.now)
    assert link.server.takeDatagrams() == []
    assert link.server.counters[f"dropped by {name}"] >= 1000 - 100 - INTERVAL
    total = 0
    for _ in range(10):
        link.now += 1
        total += passed(raw, 500)
    assert 1000 - INTERVAL <= total <= 1000 + INTERVAL


def test_bytes() -> None:
    """
    With a rate of bytes large datagrams are fewer; the overdraft is paid back.
    """
    link = Link(limits=Limits(user=Quota(bytes=100_000)))
    raw = ready(link, ("198.51.100.7", 1))
    total = passed(raw, 1000, 1000)
    for _ in range(20):
        link.now += 1
        total += passed(raw, 500, 1000)
    assert 2100 - INTERVAL <= total <= 2100 + INTERVAL
    assert link.server.counters["dropped by user"] > 0


def test_sharedAccount() -> None:
    """
    What one allocation of a user takes, another one lacks; other users have
    their own.
    """
    link = Link(users=USERS, limits=Limits(user=Quota(packets=100)))
    first, second = (ready(link, ("198.51.100.7", number)) for number in (1, 2))
    stranger = ready(link, ("198.51.100.7", 3), "other")
    passed(first, 500)
    assert passed(second, 500) <= INTERVAL
    assert passed(stranger, 50) == 50


def test_total() -> None:
    """
    Who has used up the day's bytes passes nothing more and gets no allocation,
    not by a new one either, until the day is over.
    """
    link = Link(limits=Limits(user=Quota(total=100_000)))
    raw = ready(link, ("198.51.100.7", 1))
    assert 100 <= passed(raw, 500, 1000) <= 100 + INTERVAL
    link.advance(600)
    assert link.server.allocations() == []
    raw.nonce = link.server.nonceFor("user", link.now)
    assert raw.allocate().get(Attribute.ERROR_CODE)[0] == 486
    assert link.server.counters["486 by user"] == 1
    link.now += DAY
    raw = ready(link, ("198.51.100.7", 1))
    assert passed(raw, 10) == 10


def test_byDefault() -> None:
    """
    Unless something is limited, packets are not counted against anything.
    """
    link = Link()
    assert passed(ready(link, ("198.51.100.7", 1)), 1000) == 1000
    assert not any("dropped" in each for each in link.server.counters)


def test_refusals() -> None:
    """
    The limits of allocations have their codes, and are counted by whose they are.
    """
    limits = Limits(user=Quota(1), network=Quota(2), all=Quota(3))
    link = Link(users={str(each): "password" for each in range(9)}, limits=limits)

    def code(name: str, host: str, port: int) -> int:
        answer = Raw(link, (host, port), name).allocate()
        found: int = answer.get(Attribute.ERROR_CODE, (0, ""))[0]
        return found

    assert code("1", "198.51.100.1", 1) == 0
    assert code("1", "192.0.2.1", 1) == 486
    assert code("2", "198.51.100.2", 2) == 0
    assert code("3", "198.51.100.3", 3) == 486
    assert code("3", "192.0.2.3", 3) == 0
    assert code("4", "203.0.113.4", 4) == 508
    counters = link.server.counters
    assert counters["486"] == 2
    assert counters["486 by user"] == counters["486 by network"] == 1
    assert counters["508"] == counters["508 by all"] == 1


class Generous(StaticUsers):
    """
    Gives one user more than others.
    """

    def quotaOf(self, username: str) -> Mapping[str, float]:
        """
        @return: two allocations for the one.
        """
        return {"allocations": 2} if username == "user" else {}


def test_quotaOfTheGuard() -> None:
    """
    What a guard says about a user goes before what holds for everybody.
    """
    guard = Generous("generous", USERS)
    link = Link(guards=[guard], limits=Limits(user=Quota(1)))
    for name, expected in (("user", [0, 0, 486]), ("other", [0, 486, 486])):
        codes = [
            Raw(link, (f"198.51.{number}.1", 9), name)
            .allocate()
            .get(Attribute.ERROR_CODE, (0, ""))[0]
            for number in range(len(name) * 10, len(name) * 10 + 3)
        ]
        assert codes == expected


def test_sameNameOfTwoGuards() -> None:
    """
    A user cannot use up what another guard's user of the same name may have.
    """
    name, password = makeCredentials(SECRET, "handle", WALL + 9999)
    link = Link(users={"handle": "password"}, limits=Limits(user=Quota(1)))
    signed = Raw(link, OTHER, name, password)
    assert signed.allocate().get(Attribute.ERROR_CODE) is None
    assert Raw(link, username="handle").allocate().get(Attribute.ERROR_CODE) is None


def test_accountsAreForgotten() -> None:
    """
    Accounts without allocations are forgotten, refused ones at once; of those that
    have used something of the day's total a bounded number is kept.
    """
    counters: Counter[str] = Counter()
    meter = Meter(Limits(user=Quota(1), network=Quota(1)), counters)
    link = Link()
    for number in range(100):
        accounts = meter.accountsOf(("g", str(number)), "n", {}, link.now)
        if number == 0:
            accounts[1].allocations = 1
        else:
            assert meter.refusal(accounts, link.now) == 486
    assert len(meter) == 2
    accounts[1].allocations = 0
    meter.release(meter.accountsOf(("g", "0"), "n", {}, link.now), link.now)
    assert len(meter) == 0
