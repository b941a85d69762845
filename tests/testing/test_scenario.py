"""
What the simulator is for: which NATs let holes be punched, and that a run can
be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from punchd.core import Address
from punchd.testing.link import Link
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario
from tests.testing.helpers import Sink

RENDEZVOUS = (RENDEZVOUS_HOSTS[0], 3478)


class Puncher:
    """
    The naive way: each host tells the rendezvous its address, and both then
    send to where the other was seen, and answer to where they hear from.
    """

    def __init__(self, scenario: Scenario, opener: int | None = None) -> None:
        self.scenario = scenario
        self.server = Sink(scenario.rendezvous, 3478)
        self.sinks = [Sink(scenario.hostA, 5000), Sink(scenario.hostB, 5000)]
        self.seen: list[Address] = []
        for sink in self.sinks:
            sink.send(RENDEZVOUS, b"who am I?")
            scenario.network.advance(0.2)
            self.seen.append(self.server.sources[-1])
        self.opener = opener

    def punch(self, rounds: int = 4, gap: float = 0.04, late: float = 0.0) -> bool:
        """
        @param gap: seconds between two rounds.
        @param late: seconds by which the second host begins later.

        @return: whether both heard the other.
        """
        one, two = self.sinks
        if self.opener:
            one.send(self.seen[1], b"open", self.opener)
            self.scenario.network.advance(late)
            two.send(self.seen[0], b"open", self.opener)
            self.scenario.network.advance(0.1)
        for _ in range(rounds):
            one.send(self._target(one, self.seen[1]), b"punch")
            self.scenario.network.advance(late)
            two.send(self._target(two, self.seen[0]), b"punch")
            self.scenario.network.advance(gap)
        self.scenario.network.advance(1)
        return all(self._heard(sink) for sink in self.sinks)

    def _target(self, sink: Sink, guess: Address) -> Address:
        return sink.sources[-1] if sink.received else guess

    def _heard(self, sink: Sink) -> bool:
        return b"punch" in sink.data


def pairs() -> Iterator[tuple[str, str, bool]]:
    """
    @return: every pair of the classical kinds, and whether a hole can be made.
    """
    cones = ["open", "fullcone", "restricted", "portrestricted", "cgnat", "hairpin"]
    hard = ["symmetric", "sequential", "block1024"]
    for n, a in enumerate(cones):
        for b in cones[n:]:
            yield a, b, True
        for b in hard:
            yield a, b, a in ("open", "fullcone", "restricted")
    for n, a in enumerate(hard):
        for b in hard[n:]:
            yield a, b, False
    yield "portrestricted", "udpblocked", False
    yield "portrestricted", "cgnat-symmetric", False
    yield "cgnat", "cgnat", True


@pytest.mark.parametrize(("kindA", "kindB", "works"), list(pairs()))
def testPairs(kindA: str, kindB: str, works: bool) -> None:
    """The naive way works just where the theory says that it can."""
    scenario = Scenario(kindA, kindB, seed=1)
    assert Puncher(scenario).punch() is works


@pytest.mark.parametrize("opener", [None, 2, 3])
def testOpenerSavesPairsThatClaim(opener: int | None) -> None:
    """
    Where early packets take the tuple, a packet that dies between the NATs has
    to open them first; without it the later side's port moves for good.
    """
    scenario = Scenario("noinputfilter", "noinputfilter")
    assert Puncher(scenario, opener).punch(late=0.03) is (opener is not None)


def testOpenerThatReachesTheOtherNatHarms() -> None:
    """A TTL that is too large makes the opener itself the early packet."""
    scenario = Scenario("noinputfilter", "noinputfilter")
    # Our NAT, two public routers, and then it is there.
    assert not Puncher(scenario, 4).punch(late=0.03)


@pytest.mark.parametrize("kind", ["portrestricted", "hairpin"])
def testNeighboursByTheirOutsideAddress(kind: str) -> None:
    """Two hosts behind one NAT meet outside only by a hairpin."""
    scenario = Scenario(kind, kind, sameNat=True)
    puncher = Puncher(scenario)
    assert puncher.punch() is (kind == "hairpin")


@pytest.mark.parametrize("lifetime", [20.0, None])
def testHoleCloses(lifetime: float | None) -> None:
    """A hole that is not used for longer than its life is closed."""
    scenario = Scenario("portrestricted", "portrestricted", udpLifetime=lifetime)
    puncher = Puncher(scenario)
    assert puncher.punch()
    for sink in puncher.sinks:
        sink.received.clear()
    scenario.network.advance(60)
    puncher.sinks[0].send(puncher.seen[1], b"punch")
    scenario.network.advance(1)
    assert (puncher.sinks[1].data == [b"punch"]) is (lifetime is None)


def run(seed: int, **options: Any) -> list[tuple[object, ...]]:
    """
    @return: everything that happened.
    """
    link = Link(0.025, jitter=0.01, loss=0.2, duplication=0.1, reordering=0.1)
    scenario = Scenario("sequential", "symmetric", seed, link=link, **options)
    capture = scenario.network.capture("sent", "public", "received", "dropped")
    server = Sink(scenario.rendezvous, 3478)
    server.answers = True
    sinks = [Sink(host) for host in (scenario.hostA, scenario.hostB) for _ in range(20)]
    for _ in range(20):
        for sink in sinks:
            sink.send(RENDEZVOUS, scenario.hostA.entropy(20))
        scenario.network.advance(0.05)
    return [tuple(record) for record in capture.stop()]


def testSameSeedSameRun() -> None:
    """A seed tells every packet: its time, ports, fate and content."""
    options = {"optionsA": {"foreign": 35.0}}
    first = run(7, **options)
    assert len(first) > 2000
    assert run(7, **options) == first
    assert run(8, **options) != first


def testForeignFlows() -> None:
    """Other people's flows move the ports of a sequential NAT."""

    def steps(foreign: float) -> list[int]:
        scenario = Scenario("sequential", "open", 3, optionsA={"foreign": foreign})
        server = Sink(scenario.rendezvous, 3478)
        for _ in range(6):
            Sink(scenario.hostA).send(RENDEZVOUS)
            scenario.network.advance(1)
        ports = [port for _, port in server.sources]
        return [b - a for a, b in pairwise(ports)]

    assert steps(0) == [1, 1, 1, 1, 1]
    assert all(15 < step < 60 for step in steps(35))
