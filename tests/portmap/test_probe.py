"""
Whether the router opens ports, tried and given back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer
from zope.interface.verify import verifyClass

from punchd.interfaces import ICandidateSearch, ICandidateSource
from punchd.portmap.gateway import Gateway
from punchd.services.portprobe import probePorts
from punchd.testing.scenario import Scenario

OUTSIDE = ("198.51.100.10", 40000)


@implementer(ICandidateSearch)
class Search:
    """
    A search that does as it is told when it is to open a port.
    """

    def __init__(self, source: Source, seeker: Any) -> None:
        self.source = source
        self.seeker = seeker

    def map(self) -> None:
        self.source.asked += 1
        self.source.onMap(self.seeker)

    def stop(self) -> Deferred[None]:
        self.source.stopped += 1
        return succeed(None)


@implementer(ICandidateSource)
class Source:
    """
    A protocol that the router speaks, if C{speaks}.
    """

    families = (4,)

    def __init__(
        self, name: str, speaks: bool, onMap: Callable[[Any], Any] = print
    ) -> None:
        self.name = name
        self.preference = 10
        self.onMap = onMap
        self.asked = self.stopped = 0
        self.speaks = speaks

    def seek(self, network: Any, base: Any, gateway: Any, seeker: Any) -> Search:
        if self.speaks:
            network.reactor.callLater(0.01, seeker.available, None)
        return Search(self, seeker)


class Gateways:
    """
    The routes of the scenario's host.
    """

    def defaultGateway(self, family: int) -> Gateway | None:
        return Gateway("192.168.1.1", "eth0") if family == 4 else None


def probe(*sources: Source, gateways: Any = None) -> tuple[dict[str, Any], float]:
    """
    @return: what became of each source, and how long that took.
    """
    scenario = Scenario("portrestricted", "open", 1)
    work = probePorts(scenario.hostA, sources, gateways or Gateways())
    found = scenario.network.runUntil(Deferred.fromCoroutine(work), 20.0)
    return {each["service"]: each for each in found}, scenario.clock.seconds()


def testFakes() -> None:
    """The fakes are what they stand for."""
    verifyClass(ICandidateSearch, Search)
    verifyClass(ICandidateSource, Source, tentative=True)


def testOpened() -> None:
    """A port that the router opens is told of, and closed again."""
    good = Source("good", True, lambda seeker: seeker.mapped(OUTSIDE))
    found, seconds = probe(good)
    assert (found["good"]["state"], found["good"]["address"]) == (
        "mapped",
        list(OUTSIDE),
    )
    assert (good.asked, good.stopped) == (1, 1)
    assert seconds < 1.0


def testSilence() -> None:
    """Who does not answer in some seconds does not."""
    found, seconds = probe(Source("silent", False))
    assert (found["silent"]["state"], found["silent"]["reason"]) == (
        "failed",
        "no answer",
    )
    assert 4.0 <= seconds < 5.0


def testNoGateway() -> None:
    """Without a router there is nobody to ask, and nothing to wait for."""

    class Nowhere:
        def defaultGateway(self, family: int) -> None:
            return None

    found, seconds = probe(Source("good", True), gateways=Nowhere())
    assert found == {}
    assert seconds < 0.5
