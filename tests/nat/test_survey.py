"""
The survey: discovery and samples by the shell, against the real rendezvous in the
simulator.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from punchd.identity import Identity
from punchd.nat.lifetime import BindingTested
from punchd.nat.steps import StepEnded
from punchd.net.tls import ServerCredentials
from punchd.services.rendezvous import Rendezvous, Settings
from punchd.services.survey import Knowledge, Survey
from punchd.testing.pair import Pair
from punchd.testing.router import Lifetimes
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario

SERVER = ("203.0.113.10", 3478)


class Place:
    """
    A rendezvous, its URL, and a host behind a NAT that is surveyed.
    """

    def __init__(
        self, kind: str, seed: int = 0, alternatePort: int | None = 3479, **options: Any
    ) -> None:
        self.scenario = Scenario(kind, "open", seed, **options)
        self.network = self.scenario.network
        self.rendezvous = Rendezvous(
            self.scenario.rendezvous,
            ServerCredentials(Identity.create()),
            Settings(alternatePort=alternatePort),
        )
        self.rendezvous.privilegedStartService()
        self.rendezvous.startService()
        assert self.rendezvous.url is not None
        self.url = self.rendezvous.url
        self.survey = Survey(self.scenario.hostA)

    def measure(self, **options: Any) -> Knowledge:
        """
        Survey it.
        """
        found: Knowledge = self.network.runUntil(
            self.survey.behavior(SERVER, **options), 10.0
        )
        return found


@pytest.mark.parametrize(
    ("kind", "mapping", "filtering", "allocation", "seconds"),
    [
        ("open", "endpoint-independent", "endpoint-independent", "preserving", 1.5),
        ("fullcone", "endpoint-independent", "endpoint-independent", "preserving", 1.5),
        (
            "portrestricted",
            "endpoint-independent",
            "address-and-port-dependent",
            "preserving",
            1.5,
        ),
        ("symmetric", *["address-and-port-dependent"] * 2, "random", 2.0),
        ("sequential", *["address-and-port-dependent"] * 2, "sequential +1", 4.5),
        ("sequentialdown", *["address-and-port-dependent"] * 2, "sequential -1", 4.5),
        ("parity", *["address-and-port-dependent"] * 2, "parity", 2.0),
    ],
)
def test_kinds(
    kind: str, mapping: str, filtering: str, allocation: str, seconds: float
) -> None:
    """Mapping, filtering and allocation, as status shows them."""
    place = Place(kind)
    found = place.measure()
    nat = found.toDict()
    assert (nat["mapping"], nat["filtering"]) == (mapping, filtering)
    assert nat["allocation"] == allocation
    assert place.network.clock.seconds() < seconds
    assert not place.survey.running
    assert place.scenario.hostA.reactor.getDelayedCalls() == []


def test_block() -> None:
    """A block is shown with its range."""
    found = Place("block1024", 3).measure()
    assert found.allocation.startswith("block ")
    assert found.model.size >= 512


def test_withoutAlternatePort() -> None:
    """The default rendezvous, two hosts and one port, does as well as it can."""
    found = Place("portrestricted", alternatePort=None).measure()
    assert found.behavior.mapping == "endpoint-independent"
    assert found.behavior.assumed == ("filtering",)


def test_blocked() -> None:
    """Where UDP is blocked, nothing is known, and that soon."""
    found = Place("udpblocked").measure()
    assert not found.reachable
    assert found.allocation == "unknown"


def test_flowRate() -> None:
    """After the first few, 20 ms pass between two new flows; 20 in all."""
    place = Place("symmetric")
    capture = place.network.capture("sent")
    place.measure()
    seen: set[Any] = set()
    begun = []
    for record in capture.stop():
        flow = (record.source, record.destination)
        if record.where == "hostA" and flow not in seen:
            seen.add(flow)
            begun.append(record.time)
    assert len(begun) <= 20
    assert max(sum(a <= b < a + 0.1 for b in begun) for a in begun) <= 8
    # The samples come last.
    assert min(b - a for a, b in pairwise(begun[-8:])) >= 0.0199


def test_progress() -> None:
    """Each step is told."""
    told: list[Any] = []
    Place("hairpin").measure(progress=told.append)
    assert sum(isinstance(each, StepEnded) for each in told) >= 6


def test_lifetime() -> None:
    """The lifetime against the real rendezvous."""
    lifetimes = Lifetimes(udp=(30.5, 121.0))
    place = Place("portrestricted", optionsA={"lifetimes": lifetimes})
    told: list[Any] = []
    found = place.network.runUntil(
        place.survey.lifetime(SERVER, progress=told.append), 900.0
    )
    assert found.twoWay is not None
    assert found.oneWay is not None
    assert found.twoWay.low >= 120.0
    assert found.oneWay.low >= 30.0
    assert any(isinstance(each, BindingTested) for each in told)
    assert place.scenario.hostA.reactor.getDelayedCalls() == []


def test_stopped() -> None:
    """A survey that is stopped leaves no socket and no timer."""
    place = Place("symmetric")
    caught: list[Any] = []
    place.survey.behavior(SERVER).addErrback(caught.append)
    place.network.advance(0.1)
    place.survey.stop()
    assert len(caught) == 1
    assert not place.survey.running
    assert place.scenario.hostA.reactor.getDelayedCalls() == []


def pair(kind: str) -> Pair:
    """
    Two clients that are registered, one of them behind a NAT of a kind.
    """
    found = Pair(Scenario(kind, "open", 1))
    found.ready()
    return found


def test_status() -> None:
    """Some seconds after the registration C{status} and C{why} know the NAT."""
    both = pair("sequential")
    assert both.a.status()["nat"]["filtering"] == "unknown"
    both.network.advance(10.0)
    nat = both.a.status()["nat"]
    assert nat["filtering"] == "address-and-port-dependent"
    assert nat["allocation"] == "sequential +1"
    assert nat["mapping"].startswith("address-")
    assert both.b.status()["nat"]["filtering"] == "endpoint-independent"
    both.stop()
    assert both.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("kind", "hairpin"), [("hairpin", True), ("restricted", False)]
)
def test_punchingSocket(kind: str, hairpin: bool) -> None:
    """
    The punching socket itself asks for its mapping, and sends to ourselves by our
    outside address; nobody else gets in by that.  The survey closes its own sockets,
    and listens to nobody any more.
    """
    both = pair(kind)
    port = both.a.socket.bases()[0][1]
    routes = set(both.a.socket.demux._remotes)
    capture = both.network.capture(
        "sent", matches=lambda r: r.where == "hostA" and r.protocol == "udp"
    )
    both.network.advance(10.0)
    records = capture.stop()
    assert {r.source[1] for r in records} - {port}
    destinations = {r.destination for r in records if r.source[1] == port}
    ourselves = {each for each in destinations if each[0] == "198.51.100.10"}
    # One question, sent again where nothing comes back.
    assert len(ourselves) == 1
    assert {host for host, _ in destinations - ourselves} <= set(RENDEZVOUS_HOSTS)
    assert both.a.status()["nat"]["hairpin"] is hairpin
    assert set(both.a.socket.demux._remotes) == routes
    # Six of that, and little beside the keepalives.
    assert sum(r.source[1] == port for r in records) <= 6 + 8
    assert len(both.scenario.hostA._datagramPorts) == 2
    both.stop()


def test_measuredOnceANetwork() -> None:
    """A rendezvous that was away is no reason to survey again; a move is."""
    both = pair("portrestricted")
    both.network.advance(10.0)
    surveyor = both.a.presence.surveyor
    first = surveyor.knowledge
    assert first is not None
    surveyor.soon(SERVER, None)
    both.network.advance(10.0)
    assert surveyor.knowledge is first
    surveyor.soon(SERVER, None, again=True)
    both.network.advance(10.0)
    assert surveyor.knowledge is not first
    both.stop()


def test_stoppedBeforeTheSurvey() -> None:
    """A client that stops at once, or amidst the survey, leaves nothing."""
    for wait in (0.0, 2.2):
        both = pair("symmetric")
        both.network.advance(wait)
        both.stop()
        assert both.clock.getDelayedCalls() == []
