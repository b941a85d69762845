"""
Whatever clients ask for, in whatever order: the tables agree, and in the end
nothing is left.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from punchd.stun.attributes import Attribute
from punchd.stun.message import Method
from punchd.turn.channeldata import channelData
from punchd.turn.limits import Limits, Quota
from tests.drawn import examples
from tests.turn.link import LISTEN, Link, Ports, Raw

PEERS = [("192.0.2.77", 5000), ("192.0.2.78", 5000), ("2001:db8:7::7", 5000)]
LIMITS = Limits(Quota(5, packets=50), Quota(7, total=10_000), Quota(9, bytes=9_000))

families = st.sampled_from([1, 2])
options = st.sets(
    st.one_of(
        st.tuples(st.just(Attribute.REQUESTED_ADDRESS_FAMILY), families),
        st.tuples(st.just(Attribute.ADDITIONAL_ADDRESS_FAMILY), st.just(2)),
        st.tuples(st.just(Attribute.EVEN_PORT), st.booleans()),
        st.tuples(st.just(Attribute.LIFETIME), st.sampled_from([0, 600, 3600])),
    ),
    max_size=2,
)
clients = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("allocate"), clients, options),
    st.tuples(st.just("claim"), clients, st.integers(0, 3)),
    st.tuples(st.just("refresh"), clients, options),
    st.tuples(st.just("bind"), clients, st.sampled_from(PEERS)),
    st.tuples(st.just("send"), clients, st.integers(0, 60)),
    st.tuples(st.just("disconnect"), clients, st.none()),
    st.tuples(st.just("advance"), clients, st.sampled_from([1, 29, 40, 400, 700])),
)


class Run:
    """
    A relay, six clients of three users in two networks, and what they do.
    """

    def __init__(self) -> None:
        users = {f"user{number}": "password" for number in range(3)}
        self.link = Link(limits=LIMITS, users=users, ports=Ports(limit=12))
        self.tokens: list[bytes] = []
        self.raws = [
            Raw(self.link, (f"198.51.{n % 2}.{n}", 1000 + n), f"user{n % 3}")
            for n in range(6)
        ]

    def step(self, what: str, client: int, how: Any) -> None:
        """
        Let one thing happen.
        """
        link, raw = self.link, self.raws[client]
        raw.nonce = link.server.nonceFor(raw.username, link.now)
        if what == "allocate":
            answer = raw.allocate(*how)
            token = answer.get(Attribute.RESERVATION_TOKEN)
            if token is not None:
                self.tokens.append(token)
        elif what == "claim" and self.tokens:
            token = self.tokens[how % len(self.tokens)]
            raw.allocate((Attribute.RESERVATION_TOKEN, token))
        elif what == "refresh":
            raw.code(Method.REFRESH, *how)
        elif what == "bind":
            raw.bind(0x4000 + PEERS.index(how), how)
        elif what == "send":
            for number in range(how):
                raw.send(channelData(0x4000 + number % 3, bytes(20)))
        elif what == "disconnect":
            link.server.disconnected(LISTEN, raw.address, link.now)
        elif what == "advance":
            link.advance(how)

    def check(self) -> None:
        """
        The tables agree with each other, with the ports and with the limits.
        """
        table = self.link.server._table
        assert set(self.link.ports.live) == set(table.relays)
        assert set(table.outside.values()) == set(table.relays.values())
        found = {each for c in table.clients.values() for each in c.values()}
        twins = {each.twin for each in found if each.twin is not None}
        reserved = set(table._reserved.values())
        assert found | twins | reserved == set(table.relays.values())
        for each in table.relays.values():
            assert each.expires > self.link.now
            assert each.twin is None or each.twin.twin is each
            for account in each.accounts:
                assert 0 < account.allocations <= account.quota.allocations
            for channel in each.channels.values():
                owner = each.of(6 if ":" in channel.peer[0] else 4)
                assert owner is not None
                assert channel.relayed == owner.relayed


@settings(max_examples=examples(60))
@given(st.lists(steps, max_size=40))
def test_anyOrder(happenings: list[tuple[str, int, Any]]) -> None:
    """
    After each step all agrees, and in the end everything expires.
    """
    run = Run()
    for what, client, how in happenings:
        run.step(what, client, how)
        run.check()
    run.link.advance(3700)
    run.link.server.timeReached(run.link.now)
    assert run.link.ports.live == []
    assert run.link.server.allocations() == []
    table = run.link.server._table
    assert not (table.clients or table.outside or table.outsideHosts)
    assert not table._reserved
    assert run.link.server.deadline() is None
