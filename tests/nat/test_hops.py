"""
Where the public network begins.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.nat.hops import AGAIN, MOST, SILENT, Trace, Traced, isBeyond
from punchd.stun.message import Message, MessageClass, Method, parse

SERVER = ("203.0.113.10", 3478)
OURS = ("198.51.100.10", "192.168.1.2")


def makeTrace() -> Trace:
    """
    @return: one that has begun.
    """
    trace = Trace(SERVER, OURS, lambda count: bytes(range(count)))
    trace.start(0.0)
    return trace


def run(hops: list[str | None], reached: int | None = None) -> tuple[Traced, int]:
    """
    @param hops: who answers.
    @param reached: with which hop limit the server answers instead.

    @return: what is found, and the number of packets.
    """
    trace, now, count = makeTrace(), 0.0, 0
    for _ in range(100):
        asked = trace.takeDatagrams()
        for datagram in asked:
            count += 1
            ttl = datagram.ttl
            assert ttl is not None and datagram.remote == SERVER
            if ttl == reached:
                asking = parse(datagram.data).transactionId
                answer = Message(MessageClass.SUCCESS, Method.BINDING, asking)
                trace.datagramReceived(
                    answer.serialize(), ("0.0.0.0", 5), SERVER, now + 0.01
                )
            elif ttl <= len(hops) and (host := hops[ttl - 1]) is not None:
                trace.hopReported(datagram.data, host, now + 0.01)
        due = trace.deadline()
        if due is None:
            break
        if not asked:
            now = due
            trace.timeReached(now)
    (found,) = trace.takeEvents()
    assert isinstance(found, Traced)
    return found, count


@pytest.mark.parametrize(
    ("hops", "reached", "ttl", "packets"),
    [
        # No NAT; one; one behind a carrier's; three.
        (["198.51.100.1"], None, 1, 1),
        (["192.168.1.1", "198.51.100.1"], None, 2, 2),
        (["192.168.1.1", "100.64.1.1", "198.51.100.1"], None, 3, 3),
        (["10.0.0.1", "10.1.0.1", "100.64.1.1", "198.51.100.1"], None, 4, 4),
        # A NAT that calls itself by its outer address.
        (["198.51.100.10", "198.51.100.1"], None, 2, 2),
        # One that says nothing.
        (["192.168.1.1", None, "198.51.100.1"], None, 3, 4),
        # Nobody says anything; and the server is near.
        ([], None, 3, 2 * MOST),
        ([], 4, 3, 7),
        (["192.168.1.1"], 2, 1, 2),
        ([], 1, None, 1),
    ],
)
def test_ttl(
    hops: list[str | None], reached: int | None, ttl: int | None, packets: int
) -> None:
    """
    The first who is public is where an opener has to die; few packets tell.
    """
    found, count = run(hops, reached)
    assert found.openerTtl(OURS) == ttl
    assert count == packets


def test_silence() -> None:
    """
    A hop is asked twice, and then left.
    """
    trace = makeTrace()
    assert len(trace.takeDatagrams()) == 1
    assert trace.deadline() == AGAIN
    trace.timeReached(AGAIN)
    assert [each.ttl for each in trace.takeDatagrams()] == [1]
    assert trace.deadline() == SILENT
    trace.timeReached(SILENT)
    assert [each.ttl for each in trace.takeDatagrams()] == [2]


def test_late() -> None:
    """
    An answer that comes late goes where it belongs; one without the datagram
    counts for the hop that is being asked.
    """
    trace = makeTrace()
    (first,) = trace.takeDatagrams()
    trace.timeReached(AGAIN)
    trace.timeReached(SILENT)
    trace.hopReported(first.data, "192.168.1.1", 1.0)
    assert trace.takeEvents() == []
    trace.hopReported(b"", "198.51.100.1", 1.1)
    assert trace.takeEvents() == [Traced(("192.168.1.1", "198.51.100.1"))]
    trace.hopReported(b"", "198.51.100.2", 1.2)
    assert trace.takeEvents() == [] and trace.deadline() is None


def test_others() -> None:
    """
    What is about datagrams of others, or from them, is not ours.
    """
    trace = makeTrace()
    (first,) = trace.takeDatagrams()
    trace.hopReported(b"\0" * 28, "198.51.100.1", 0.1)
    trace.hopReported(first.data[:19] + b"\x09", "198.51.100.1", 0.1)
    answer = Message(
        MessageClass.SUCCESS, Method.BINDING, parse(first.data).transactionId
    )
    other = ("192.0.2.10", 3478)
    trace.datagramReceived(answer.serialize(), ("0.0.0.0", 5), other, 0.1)
    assert trace.takeEvents() == []


def test_ipv6() -> None:
    """
    Over IPv6 the routers of one's own site have public addresses, too.
    """
    ours = ["2001:db8:a:1::2"]
    assert not isBeyond("2001:db8:a:1::1", ours)
    assert not isBeyond("2001:db8:a:ffff::10", ours)
    assert not isBeyond("fe80::1", ours)
    assert isBeyond("2001:db8:b::1", ours)


@given(st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([*OURS, SERVER[0]]))))
def test_garbage(reports: list[tuple[bytes, str]]) -> None:
    """
    Nothing that comes makes it fail, or go on for ever.
    """
    trace = makeTrace()
    for data, host in reports:
        trace.hopReported(data, host, 0.1)
        trace.datagramReceived(data, ("0.0.0.0", 5), SERVER, 0.1)
    now = 0.1
    for _ in range(2 * MOST + 1):
        due = trace.deadline()
        if due is None:
            break
        now = max(now, due)
        trace.timeReached(now)
    (found,) = trace.takeEvents()
    assert isinstance(found, Traced) and len(found.hops) <= MOST
