"""
The mapping of a NAT: RFC 4787, section 4.
"""

from __future__ import annotations

from collections import Counter

import pytest

from punchd.testing.allocation import Block, Parity, Preserving, RandomPorts, Sequential
from punchd.testing.router import Dependence
from tests.testing.helpers import Bench, Sink

EI = Dependence.ENDPOINT_INDEPENDENT
AD = Dependence.ADDRESS_DEPENDENT
APD = Dependence.ADDRESS_AND_PORT_DEPENDENT


@pytest.mark.parametrize(
    ("mapping", "different"), [(EI, 1), (AD, 2), (APD, 3)], ids=str
)
def testMappingDependsOn(mapping: Dependence, different: int) -> None:
    """Three destinations are seen from one, two or three ports."""
    bench = Bench(mapping=mapping, allocation=RandomPorts())
    sink = Sink(bench.client)
    seen = [
        bench.seen(sink, remote)
        for remote in (Bench.FIRST, Bench.SECOND, Bench.OTHER, Bench.FIRST)
    ]
    assert len(set(seen)) == different
    assert seen[0] == seen[3]
    assert {host for host, _ in seen} == {"198.51.100.10"}
    assert (seen[0] == seen[1]) is (mapping is not APD)


def testWordsOfTheRfcWillDo() -> None:
    """The axes may be given as plain strings; other words are refused."""
    bench = Bench(mapping="address-dependent", filtering="endpoint-independent")
    assert (bench.nat.mapping, bench.nat.filtering) == (AD, EI)
    with pytest.raises(ValueError):
        Bench(mapping="symmetric")


def testPreserving() -> None:
    """The inside port is the outside one, for each inside host that can."""
    bench = Bench(hosts=2, allocation=Preserving())
    one = Sink(bench.clients[0], 5000)
    two = Sink(bench.clients[1], 5000)
    assert bench.seen(one, Bench.FIRST) == ("198.51.100.10", 5000)
    host, port = bench.seen(two, Bench.FIRST)
    assert port != 5000
    assert bench.nat.mappings() == [
        (("10.0.0.2", 5000), ("198.51.100.10", 5000)),
        (("10.0.0.3", 5000), (host, port)),
    ]


@pytest.mark.parametrize("step", [1, 2, -1, 7])
def testSequential(step: int) -> None:
    """Each new mapping is one step from the last."""
    bench = Bench(mapping=APD, allocation=Sequential(step, last=30000))
    sink = Sink(bench.client)
    ports = [bench.seen(sink, r)[1] for r in (Bench.FIRST, Bench.SECOND, Bench.OTHER)]
    assert ports == [30000 + step, 30000 + 2 * step, 30000 + 3 * step]


def testSequentialWraps() -> None:
    """After the last port comes the first."""
    bench = Bench(mapping=APD, allocation=Sequential(1, low=2000, high=2999, last=2998))
    sink = Sink(bench.client)
    ports = [bench.seen(sink, r)[1] for r in (Bench.FIRST, Bench.SECOND, Bench.OTHER)]
    assert ports == [2999, 2000, 2001]


def testSequentialDrifts() -> None:
    """Foreign flows take ports at their rate."""
    allocation = Sequential(1, foreign=35, last=10000)
    bench = Bench(mapping=APD, allocation=allocation)
    sink = Sink(bench.client)
    first = bench.seen(sink, Bench.FIRST)[1]
    bench.run(100)
    drift = bench.seen(sink, Bench.SECOND)[1] - first - 1
    assert 3200 < drift < 3800
    assert drift != 3500


def testRandomIsSpread() -> None:
    """A random allocation uses its whole range, and nothing else."""
    bench = Bench(mapping=APD, allocation=RandomPorts(2000, 2999))
    sinks = [Sink(bench.client) for _ in range(500)]
    for sink in sinks:
        sink.send(Bench.FIRST)
    bench.run()
    ports = sorted(port for _, port in bench.first.sources)
    assert len(set(ports)) == 500
    assert 2000 <= ports[0] < 2050
    assert 2950 < ports[-1] <= 2999


def testBlock() -> None:
    """Each inside host has a block of its own."""
    bench = Bench(hosts=2, mapping=APD, allocation=Block(1024))
    ranges = []
    for client in bench.clients:
        ports = []
        for _ in range(50):
            ports.append(bench.seen(Sink(client), Bench.FIRST)[1])
        ranges.append((min(ports), max(ports)))
        assert max(ports) - min(ports) < 1024
    assert ranges[0][0] // 1024 != ranges[1][0] // 1024


def testBlockRunsOut() -> None:
    """When the block is used up, packets are dropped and counted."""
    bench = Bench(mapping=APD, allocation=Block(16))
    for _ in range(20):
        Sink(bench.client).send(Bench.FIRST)
    bench.run()
    assert len(bench.first.received) == 16
    assert bench.network.dropped["no port"] == 4


def testParity() -> None:
    """An even port stays even, an odd one odd."""
    bench = Bench(mapping=APD, allocation=Parity())
    for port in range(4000, 4020):
        seen = bench.seen(Sink(bench.client, port), Bench.FIRST)[1]
        assert seen % 2 == port % 2
        assert seen != port


@pytest.mark.parametrize("paired", [True, False])
def testSeveralPublicAddresses(paired: bool) -> None:
    """A host has one public address with pairing, any without."""
    addresses = [f"198.51.100.{n}" for n in range(10, 14)]
    bench = Bench(hosts=8, addresses=addresses, paired=paired, mapping=APD)
    hosts: list[set[str]] = []
    for client in bench.clients:
        sinks = [Sink(client) for _ in range(12)]
        hosts.append({bench.seen(sink, Bench.FIRST)[0] for sink in sinks})
    assert set().union(*hosts) <= set(addresses)
    if paired:
        assert all(len(used) == 1 for used in hosts)
        assert len(set().union(*hosts)) > 1
    else:
        assert all(len(used) > 1 for used in hosts)


def testFlowRate() -> None:
    """Beyond so many new flows a second, packets of new flows are dropped."""
    bench = Bench(flowRate=10)
    for _ in range(3):
        for _ in range(20):
            Sink(bench.client).send(Bench.FIRST)
        bench.run(0.5)
    assert len(bench.first.received) == 10 + 5 + 5
    assert bench.network.dropped["flow rate"] == 40


def testFlowRateSparesOldFlows() -> None:
    """What has a mapping already is not limited."""
    bench = Bench(flowRate=1)
    sink = Sink(bench.client)
    for _ in range(50):
        sink.send(Bench.FIRST)
    bench.run(0.1)
    assert len(bench.first.received) == 50


def testTableSize() -> None:
    """A full table takes no new flow until an old one expires."""
    bench = Bench(tableSize=5)
    for _ in range(8):
        Sink(bench.client).send(Bench.FIRST)
    bench.run()
    assert len(bench.first.received) == 5
    assert bench.network.dropped == Counter({"table full": 3})
    assert bench.nat.flowCount() == 5
    bench.run(31)
    Sink(bench.client).send(Bench.FIRST)
    bench.run()
    assert len(bench.first.received) == 6


def testForward() -> None:
    """An administrator's forward lets anybody in, for good."""
    bench = Bench()
    sink = Sink(bench.client, 5000)
    bench.nat.addForward("udp", ("198.51.100.10", 7777), ("10.0.0.2", 5000))
    bench.run(10_000)
    bench.first.send(("198.51.100.10", 7777))
    bench.run()
    assert sink.sources == [Bench.FIRST]
    bench.nat.reset()
    bench.first.send(("198.51.100.10", 7777))
    bench.run()
    assert len(sink.received) == 2
    bench.nat.removeForward("udp", ("198.51.100.10", 7777))
    bench.first.send(("198.51.100.10", 7777))
    bench.run()
    assert len(sink.received) == 2


def testReset() -> None:
    """A power cut loses the mappings."""
    bench = Bench(allocation=RandomPorts())
    sink = Sink(bench.client)
    before = bench.seen(sink, Bench.FIRST)
    bench.nat.reset()
    assert bench.seen(sink, Bench.FIRST) != before
