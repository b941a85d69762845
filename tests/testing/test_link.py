"""
What links do to packets.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from punchd.testing.link import Link
from punchd.testing.network import Network
from tests.testing.helpers import Bench, Sink

A, B = "198.51.100.1", "198.51.100.2"


class Pair:
    """
    Two hosts on the internet.
    """

    def __init__(self, link: Link, seed: int = 0, access: Link | None = None) -> None:
        self.network = Network(seed, link)
        self.one = Sink(self.network.addHost("one", A, access=access), 1000)
        self.two = Sink(self.network.addHost("two", B), 2000)
        self.arrivals: list[float] = []
        capture = self.network.capture("received")
        self.records = capture.records

    def burst(self, count: int, gap: float = 0.0, size: int = 100) -> list[int]:
        """
        Send numbered datagrams.

        @return: the numbers in the order in which they came.
        """
        for n in range(count):
            self.one.send((B, 2000), (b"%d " % n).ljust(size))
            self.network.advance(gap)
        self.network.advance(10)
        return [int(data.split()[0]) for data in self.two.data]


def testDelay() -> None:
    """A packet takes the delay, and so does the answer."""
    pair = Pair(Link(0.025))
    pair.two.answers = True
    pair.burst(1)
    assert [record.time for record in pair.records] == [0.025, 0.05]


def testLoss() -> None:
    """As many are lost as the probability says, give or take."""
    pair = Pair(Link(0.01, loss=0.2))
    assert 760 < len(pair.burst(1000)) < 840
    assert pair.network.dropped["loss"] + len(pair.two.received) == 1000


def testDuplication() -> None:
    """Some arrive twice, none is lost."""
    pair = Pair(Link(0.01, duplication=0.1))
    came = pair.burst(1000)
    assert set(came) == set(range(1000))
    assert 1060 < len(came) < 1140


def testJitterKeepsOrder() -> None:
    """Jitter spreads the arrivals but does not reorder a flow."""
    pair = Pair(Link(0.01, jitter=0.03))
    came = pair.burst(500, gap=0.001)
    assert came == sorted(came)
    delays = [r.time - n * 0.001 for n, r in enumerate(pair.records)]
    assert min(delays) >= 0.01
    assert 0.035 < max(delays) <= 0.0401


def testReordering() -> None:
    """Some are overtaken, none is lost."""
    pair = Pair(Link(0.01, reordering=0.1, reorderDelay=0.005))
    came = pair.burst(1000, gap=0.001)
    late = sum(1 for a, b in pairwise(came) if b < a)
    assert sorted(came) == list(range(1000))
    assert 50 < late < 150


def testMtu() -> None:
    """What is larger than the MTU with its headers is dropped."""
    pair = Pair(Link(0.01, mtu=1300))
    pair.one.send((B, 2000), b"x" * (1300 - 28))
    pair.one.send((B, 2000), b"x" * (1300 - 27))
    pair.network.advance(1)
    assert len(pair.two.received) == 1
    assert pair.network.dropped == Counter({"mtu": 1})


def testMtuOfALan() -> None:
    """The MTU of a link that costs no time, up to a router, counts as well."""
    bench = Bench()
    bench.lan.link = Link(mtu=1300)
    sink = Sink(bench.client)
    for size in (1272, 1273):
        sink.send(Bench.FIRST, b"x" * size)
    bench.run()
    assert [len(data) for data in bench.first.data] == [1272]
    assert bench.network.dropped == Counter({"mtu": 1})


def testBandwidth() -> None:
    """Packets wait for the line, and are dropped when they would wait long."""
    pair = Pair(Link(), access=Link(0.01, bandwidth=100_000, queue=0.1))
    came = pair.burst(50, size=972)
    # 1000 octets with headers: 10 ms each, so eleven fit in 100 ms of queue.
    assert came == list(range(11))
    assert pair.network.dropped["queue"] == 39
    times = [record.time for record in pair.records]
    assert times == pytest.approx([0.02 + 0.01 * n for n in range(11)])


def testAccessLinkInBothDirections() -> None:
    """A host's own line delays what it sends and what it receives."""
    pair = Pair(Link(0.01), access=Link(0.1))
    pair.two.answers = True
    pair.burst(1)
    assert [r.time for r in pair.records] == pytest.approx([0.11, 0.22])


def testLinkMayChange() -> None:
    """A link that fails in the middle loses packets until it is mended."""
    pair = Pair(Link(0.01))
    good = pair.network.internet.link
    pair.burst(10)
    pair.network.internet.link = replace(good, loss=1.0)
    pair.burst(10)
    pair.network.internet.link = good
    assert len(pair.burst(10)) == 20


def testFlowsDoNotDisturbEachOther() -> None:
    """One packet more in one flow leaves the fate of the other flows alone."""

    def run(extra: int) -> list[int]:
        pair = Pair(Link(0.01, loss=0.5, jitter=0.01), seed=3)
        stranger = Sink(pair.network.hosts["one"])
        for _ in range(extra):
            stranger.send((B, 2001))
        return pair.burst(100)

    assert run(0) == run(7)
    assert 30 < len(run(0)) < 70


def testSeedsDiffer() -> None:
    """Another seed is another fate; the same seed the same."""

    def run(seed: int) -> list[tuple[object, ...]]:
        pair = Pair(Link(0.01, loss=0.3, jitter=0.01, duplication=0.1), seed)
        pair.burst(50)
        return list(pair.records)

    assert run(1) == run(1)
    assert run(1) != run(2)
