"""
Filtering, hairpinning and lifetimes of a NAT: RFC 4787, sections 4.3, 5 and 6.
"""

from __future__ import annotations

from collections import Counter

import pytest

from punchd.testing.allocation import RandomPorts
from punchd.testing.router import Dependence, Lifetimes, Unsolicited
from tests.testing.helpers import Bench, Sink

EI = Dependence.ENDPOINT_INDEPENDENT
AD = Dependence.ADDRESS_DEPENDENT
APD = Dependence.ADDRESS_AND_PORT_DEPENDENT

PUBLIC = ("198.51.100.10", 5000)


@pytest.mark.parametrize("mapping", list(Dependence), ids=str)
@pytest.mark.parametrize(
    ("filtering", "entering"), [(EI, "abc"), (AD, "ab"), (APD, "a")], ids=str
)
def testFilterLetsIn(mapping: Dependence, filtering: Dependence, entering: str) -> None:
    """After a packet to one server, so many of three may send back."""
    bench = Bench(mapping=mapping, filtering=filtering)
    sink = Sink(bench.client, 5000)
    assert bench.seen(sink, Bench.FIRST) == PUBLIC
    bench.first.send(PUBLIC, b"a")
    bench.second.send(PUBLIC, b"b")
    bench.other.send(PUBLIC, b"c")
    bench.run()
    assert b"".join(sink.data) == entering.encode()
    assert bench.network.dropped == (
        Counter({"filtered": 3 - len(entering)}) if len(entering) < 3 else Counter()
    )


def testUnmappedPortIsClosed() -> None:
    """Nothing comes in at a port that nobody has asked for."""
    bench = Bench(filtering=EI)
    bench.first.send(PUBLIC)
    bench.run()
    assert bench.network.dropped == Counter({"no mapping": 1})


@pytest.mark.parametrize(("wait", "passes"), [(29.0, True), (31.0, False)])
def testUnrepliedLifetime(wait: float, passes: bool) -> None:
    """A flow that was not answered lasts 30 s."""
    bench = Bench()
    sink = Sink(bench.client, 5000)
    bench.seen(sink, Bench.FIRST)
    bench.run(wait - 0.1)
    bench.first.send(PUBLIC)
    bench.run()
    assert bool(sink.received) is passes


@pytest.mark.parametrize(("wait", "passes"), [(119.0, True), (121.0, False)])
def testRepliedLifetime(wait: float, passes: bool) -> None:
    """A flow that was answered lasts 120 s."""
    bench = Bench()
    bench.first.answers = True
    sink = Sink(bench.client, 5000)
    bench.seen(sink, Bench.FIRST)
    bench.run(wait - 0.1)
    bench.first.send(PUBLIC)
    bench.run()
    assert len(sink.received) == (2 if passes else 1)


@pytest.mark.parametrize("inbound", [True, False])
@pytest.mark.parametrize("outbound", [True, False])
def testRefresh(inbound: bool, outbound: bool) -> None:
    """Traffic in a direction prolongs a flow only where that direction does."""
    lifetimes = Lifetimes((20, 20), refreshInbound=inbound, refreshOutbound=outbound)
    for byServer in (True, False):
        bench = Bench(lifetimes=lifetimes)
        sink = Sink(bench.client, 5000)
        bench.seen(sink, Bench.FIRST)
        # Three packets, 15 s apart; the flow lives 20 s without refresh.
        for _ in range(3):
            bench.run(14.9)
            if byServer:
                bench.first.send(PUBLIC)
            elif bench.nat.mappings():
                sink.send(Bench.FIRST)
            bench.run(0.1)
        alive = bool(bench.nat.mappings())
        assert alive is (inbound if byServer else outbound)


def testExpiredMappingMoves() -> None:
    """After expiry, the next packet is given another port."""
    bench = Bench(allocation=RandomPorts())
    sink = Sink(bench.client)
    before = bench.seen(sink, Bench.FIRST)
    bench.run(29)
    assert bench.seen(sink, Bench.FIRST) == before
    bench.run(31)
    assert bench.seen(sink, Bench.FIRST) != before


def testOneFlowKeepsTheMapping() -> None:
    """A mapping lives with any of its flows, the others' filters do not."""
    bench = Bench(allocation=RandomPorts())
    sink = Sink(bench.client)
    outside = bench.seen(sink, Bench.FIRST)
    for _ in range(4):
        bench.run(20)
        assert bench.seen(sink, Bench.OTHER) == outside
    bench.first.send(outside, b"stale")
    bench.other.send(outside, b"live")
    bench.run()
    assert sink.data == [b"live"]


@pytest.mark.parametrize("hairpin", [True, False])
def testHairpin(hairpin: bool) -> None:
    """Inside hosts see each other's outside addresses, or nothing."""
    bench = Bench(hosts=2, hairpin=hairpin)
    one, two = Sink(bench.clients[0], 5001), Sink(bench.clients[1], 5002)
    for sink in (one, two):
        bench.seen(sink, Bench.FIRST)
    for _ in range(2):
        one.send(("198.51.100.10", 5002))
        two.send(("198.51.100.10", 5001))
        bench.run()
    if hairpin:
        assert set(two.sources) == {("198.51.100.10", 5001)}
        assert set(one.sources) == {("198.51.100.10", 5002)}
    else:
        assert one.received == two.received == []
        assert bench.network.dropped["hairpin"] == 4


def testEarlyPacketTakesTheTuple() -> None:
    """
    Where unsolicited packets are not dropped, one that comes before ours takes
    the tuple: our flow to its sender, and only that, gets another port.
    """
    bench = Bench(unsolicited=Unsolicited.CLAIM)
    sink = Sink(bench.client, 5000)
    assert bench.seen(sink, Bench.FIRST) == PUBLIC
    bench.other.send(PUBLIC)
    bench.run()
    assert bench.network.dropped == Counter({"claimed": 1})
    moved = bench.seen(sink, Bench.OTHER)
    assert moved != PUBLIC
    # Answers to the old port never enter; to the new one they do.
    bench.other.send(PUBLIC, b"old")
    bench.other.send(moved, b"new")
    bench.run()
    assert sink.data == [b"new"]
    assert bench.seen(sink, Bench.FIRST) == PUBLIC
    assert bench.seen(sink, Bench.SECOND) == PUBLIC
    assert bench.seen(sink, Bench.OTHER) == moved


def testEarlyPacketAfterOursIsHarmless() -> None:
    """Once our packet is out, theirs belongs to our flow."""
    bench = Bench(unsolicited=Unsolicited.CLAIM)
    sink = Sink(bench.client, 5000)
    sink.send(Bench.OTHER, ttl=2)
    bench.run()
    assert bench.other.received == []
    bench.other.send(PUBLIC, b"early")
    bench.run()
    assert sink.data == [b"early"]
    assert bench.seen(sink, Bench.OTHER) == PUBLIC


def testClaimExpires() -> None:
    """The tuple is free again when the stranger has been silent for 30 s."""
    bench = Bench(unsolicited=Unsolicited.CLAIM)
    sink = Sink(bench.client, 5000)
    bench.other.send(PUBLIC)
    bench.run(31)
    assert bench.seen(sink, Bench.OTHER) == PUBLIC
