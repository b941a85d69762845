"""
Runs of datagrams: what they do is what their datagrams do one by one.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from punchd.core import Address, Datagram
from punchd.stun.attributes import Attribute
from punchd.turn.limits import Limits, Quota
from punchd.turn.runs import Run, RunServer
from tests.turn.link import CLIENT, LISTEN, OTHER, PEER, Link, Raw

NEAR = ("192.0.2.78", 6000)
STRANGER = ("192.0.2.99", 1)


def link(**options: Any) -> tuple[Link, list[Address]]:
    """
    @return: a link with two clients that have channels to two peers, and to each
        other; and their relayed addresses.
    """
    made = Link(make=RunServer, **options)
    raws = [Raw(made, address) for address in (CLIENT, OTHER)]
    long = (Attribute.LIFETIME, 3600)
    relayed = [raw.allocate(long).get(Attribute.XOR_RELAYED_ADDRESS) for raw in raws]
    for raw, other in zip(raws, relayed[::-1], strict=True):
        assert raw.permit("192.0.2.80") == 0
        for number, peer in enumerate((PEER, NEAR, other), 0x4000):
            assert raw.bind(number, peer) == 0
    return made, relayed


def flat(found: Any) -> dict[tuple[Any, Any], list[bytes]]:
    """
    @return: payloads in order, by where they go from and to.
    """
    ways: dict[tuple[Any, Any], list[bytes]] = {}
    for each in found:
        for datagram in [each] if isinstance(each, Datagram) else each:
            way = (datagram.local, datagram.remote)
            ways.setdefault(way, []).append(datagram.data)
    return ways


frames = st.one_of(
    st.builds(
        lambda number, data, size: (
            number.to_bytes(2, "big")
            + max(0, len(data) + size).to_bytes(2, "big")
            + data
        ),
        st.integers(0x4000, 0x4004),
        st.binary(max_size=6),
        st.sampled_from([0, 0, 0, -1, 1]),
    ),
    st.binary(max_size=3).map(lambda data: b"\x40" + data),
)
fromClients = st.tuples(
    st.lists(frames, min_size=1, max_size=6),
    st.just(-1),
    st.sampled_from([CLIENT, OTHER, STRANGER]),
)
fromPeers = st.tuples(
    st.lists(st.binary(max_size=6), min_size=1, max_size=6),
    st.sampled_from([0, 1]),
    st.sampled_from([PEER, NEAR, ("192.0.2.80", 7), STRANGER]),
)


@given(
    st.sampled_from([0.0, 301.0, 601.0]),
    st.lists(st.one_of(fromClients, fromPeers), max_size=6),
)
def test_asOneByOne(
    passed: float, said: list[tuple[list[bytes], int, Address]]
) -> None:
    """
    The same packets on the same ways, the same counters, the same traffic;
    with live permissions and channels, and with expired ones.
    """
    (one, relayed), (other, _) = link(), link()
    runs: list[Run] = [
        (payloads, LISTEN if which < 0 else relayed[which], source)
        for payloads, which, source in said
    ]
    now = one.now + passed
    server: Any = one.server
    server.runsReceived([(list(p), to, source) for p, to, source in runs], now)
    for payloads, to, source in runs:
        for data in payloads:
            other.server.datagramReceived(data, to, source, now)
    assert flat(server.takeDatagrams()) == flat(other.server.takeDatagrams())
    assert server.counters == other.server.counters
    for a, b in zip(server.allocations(), other.server.allocations(), strict=True):
        assert (a.sentPackets, a.sentBytes) == (b.sentPackets, b.sentBytes)
        assert (a.receivedPackets, a.receivedBytes) == (
            b.receivedPackets,
            b.receivedBytes,
        )


def test_limited() -> None:
    """
    A run that is too much is cut where its datagrams would be.
    """
    quota = Quota(packets=10.0)
    limits = Limits(user=quota)
    (one, relayed), (other, _) = link(limits=limits), link(limits=limits)
    payloads = [b"%d" % number for number in range(1000)]
    frames = [b"\x40\0" + len(p).to_bytes(2, "big") + p for p in payloads]
    server: Any = one.server
    server.runsReceived([(frames, LISTEN, CLIENT)], one.now)
    server.runsReceived([(payloads, relayed[1], PEER)], one.now)
    for frame in frames:
        other.server.datagramReceived(frame, LISTEN, CLIENT, other.now)
    for data in payloads:
        other.server.datagramReceived(data, relayed[1], PEER, other.now)
    found = flat(server.takeDatagrams())
    assert found == flat(other.server.takeDatagrams())
    assert sum(map(len, found.values())) < 1000
    assert server.counters == other.server.counters
