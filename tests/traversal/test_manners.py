"""
What strategies may never do, whatever the peer says.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.core import Address
from punchd.ice.candidate import CandidateType, tcpCandidate
from punchd.nat.model import Allocation, PortModel
from punchd.traversal.budget import Budget
from punchd.traversal.builtin import BUILTIN
from punchd.traversal.coordinator import Coordinator
from punchd.traversal.events import (
    Connect,
    LeaseReleased,
    LeaseWanted,
    Over,
    Shot,
    Tell,
    Terrain,
)

MAIN = ("192.168.1.2", 5000)
PEER = "192.0.2.10"
HOSTS = (("198.51.100.10", 1.0),)


class Sockets:
    """
    Gives sockets, and counts those that are open.
    """

    def __init__(self) -> None:
        self.opened: set[Address] = set()
        self._next = 30000

    def openSpare(self) -> Address | None:
        self._next += 1
        base = ("192.168.1.2", self._next)
        self.opened.add(base)
        return base

    def openStream(self, family: int) -> Address | None:
        return self.openSpare() if family == 4 else None

    def closeSpare(self, base: Address) -> None:
        self.opened.discard(base)


class Follower:
    """
    A coordinator that follows, with a NAT of a kind that is known already.
    """

    def __init__(self, kind: Allocation, **model: Any) -> None:
        self.sockets = Sockets()
        self.budget = Budget()
        self.shots: list[tuple[float, Shot]] = []
        self.connects: list[tuple[float, Connect]] = []
        self.told: list[dict[str, Any]] = []
        self.over: list[Over] = []
        self.leases: list[str] = []
        #: What the rendezvous says to who wants to spray; None: nothing yet.
        self.wait: float | None = 0.0
        terrain = Terrain([], MAIN, ("198.51.100.10", 5000), {PEER}, 0.1, 3)
        self.core = Coordinator(
            leader=False,
            sockets=self.sockets,
            budget=self.budget,
            strategies=BUILTIN,
            entropy=lambda count: bytes(range(count)),
            survey=lambda: terrain,
        )
        self.core.measuring.model = PortModel(kind, 0.99, 8, hosts=HOSTS, **model)
        self.core.measuring._measuredAt = 0.0

    def hear(self, now: float, **body: Any) -> None:
        """
        The leader says something.
        """
        self.core.told(body, now)
        self.drain(now)

    def drain(self, now: float) -> None:
        """
        Take what is to be done.
        """
        for event in self.core.takeEvents():
            if isinstance(event, Shot):
                self.shots.append((now, event))
            elif isinstance(event, Connect):
                self.connects.append((now, event))
            elif isinstance(event, Tell):
                self.told.append(event.body)
            elif isinstance(event, Over):
                self.over.append(event)
            elif isinstance(event, LeaseWanted):
                self.leases.append(event.name)
                if self.wait is not None:
                    self.core.leased(event.name, self.wait, now)
                    self.drain(now)
            elif isinstance(event, LeaseReleased):
                self.leases.remove(event.name)

    def run(self, now: float, until: float) -> None:
        """
        Let time pass.
        """
        while (due := self.core.deadline()) is not None and due <= until:
            now = max(now, due)
            self.core.timeReached(now)
            self.drain(now)


def model(kind: Allocation, host: str = PEER, **options: Any) -> dict[str, Any]:
    """
    @return: what the peer says of its NAT.
    """
    made = PortModel(kind, 0.99, 8, hosts=((host, 1.0),), **options)
    return made.toDict(0.0)


@pytest.mark.parametrize(
    "at",
    [
        ["203.0.113.99", 4000],
        [PEER, 53],
        [PEER, 70000],
        [PEER, "4000"],
        [PEER, True],
        PEER,
        None,
        {},
        [],
    ],
)
def test_aim(at: object) -> None:
    """
    Nothing is shot at a host where the rendezvous has not observed the peer, or
    at a port that is no NAT's.
    """
    follower = Follower(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.0, do="measure")
    sequence = model(Allocation.SEQUENTIAL, step=1)
    follower.hear(0.1, do="begin", strategy="predicted", model=sequence)
    follower.hear(0.2, do="act", strategy="predicted", round=1, at=at)
    follower.run(0.2, 5.0)
    assert follower.shots == []
    follower.hear(5.0, do="act", strategy="predicted", round=1, at=[PEER, 4000])
    follower.run(5.0, 6.0)
    assert {shot.remote for _, shot in follower.shots} == {(PEER, 4000)}


def test_sprayElsewhere() -> None:
    """
    A model with somebody else's host does not make anybody spray it.
    """
    follower = Follower(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.0, do="measure")
    foreign = model(Allocation.RANDOM, host="203.0.113.99")
    follower.hear(0.1, do="begin", strategy="spray", model=foreign)
    follower.hear(0.2, do="act", strategy="spray", go=True)
    follower.run(0.2, 100.0)
    assert follower.shots == []


def test_searcherKeepsTheBudget() -> None:
    """
    At most 1,750 probes, each at another port, at most 50 a second after 16; and
    all is over some time.
    """
    follower = Follower(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.0, do="measure")
    follower.hear(0.1, do="begin", strategy="spray", model=model(Allocation.RANDOM))
    follower.hear(0.2, do="act", strategy="spray", go=True)
    follower.run(0.2, 200.0)
    times = [time for time, _ in follower.shots]
    assert 1000 < len(times) <= 1750
    assert len({shot.remote for _, shot in follower.shots}) == len(times)
    for count, time in enumerate(times):
        assert count <= 16 + 50 * (time - times[0]) + 1
    assert len(follower.over) == 1
    assert not follower.core.running


def test_openerKeepsTheBudget() -> None:
    """
    At most 256 sockets, all of which are closed in the end, whose packets do not
    reach the peer before it has tried all that it wants to.
    """
    follower = Follower(Allocation.RANDOM)
    follower.hear(0.0, do="measure")
    independent = model(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.1, do="begin", strategy="spray", model=independent)
    follower.hear(0.2, do="act", strategy="spray", at=[PEER, 6000])
    follower.run(0.2, 20.0)
    assert len(follower.sockets.opened) == 256
    seen = set()
    for _, shot in follower.shots:
        assert shot.remote == (PEER, 6000)
        assert shot.ttl == 3
        seen.add(shot.base)
    assert len(seen) == 256
    early = len(follower.shots)
    follower.hear(20.0, do="act", strategy="spray", tried=True)
    follower.run(20.0, 28.0)
    late = [shot for _, shot in follower.shots[early:]]
    assert {shot.base for shot in late} == seen
    assert {shot.ttl for shot in late} == {None}
    follower.run(28.0, 200.0)
    assert len(follower.shots) <= 1750
    assert follower.sockets.opened == set()


def test_stop() -> None:
    """
    A success elsewhere ends it at once: no socket stays open, no shot follows.
    """
    follower = Follower(Allocation.RANDOM)
    follower.hear(0.0, do="measure")
    independent = model(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.1, do="begin", strategy="spray", model=independent)
    follower.hear(0.2, do="act", strategy="spray", at=[PEER, 6000])
    follower.run(0.2, 2.0)
    follower.core.stop(2.0)
    count = len(follower.shots)
    follower.run(2.0, 100.0)
    assert follower.core.deadline() is None
    assert len(follower.shots) == count
    assert follower.sockets.opened == set()
    assert follower.budget.beginSpray("another")


def test_refused() -> None:
    """
    A strategy that is not wanted here is refused, and so is a second spray.
    """
    follower = Follower(Allocation.RANDOM)
    assert follower.budget.beginSpray("another session")
    follower.hear(0.0, do="measure")
    independent = model(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.1, do="begin", strategy="spray", model=independent)
    assert follower.told[-1] == {"do": "refuse", "reason": "BUSY"}
    follower.hear(0.2, do="begin", strategy="magic", model=independent)
    assert follower.told[-1] == {"do": "refuse", "reason": "NOT_WANTED"}
    assert follower.shots == []


@pytest.mark.parametrize("host", ["192.168.1.1", "127.0.0.1", "224.0.0.1", "x"])
def test_claimedHost(host: str) -> None:
    """
    A guess goes to public hosts only.
    """
    follower = Follower(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.0, do="measure")
    unknown = PortModel().toDict(0.0)
    follower.hear(0.1, do="begin", strategy="optimistic", model=unknown)
    follower.hear(0.2, do="act", strategy="optimistic", round=1, at=[host, 4000])
    follower.run(0.2, 5.0)
    assert follower.shots == []


def test_claims() -> None:
    """
    However often a peer has us guess, few packets go where it was not observed.
    """
    follower = Follower(Allocation.ENDPOINT_INDEPENDENT)
    follower.hear(0.0, do="measure")
    unknown = PortModel().toDict(0.0)
    now = 0.1
    for number in range(1, 30):
        follower.hear(now, do="begin", strategy="optimistic", model=unknown)
        for round in range(1, 12):
            at = [f"203.0.113.{number}", 4000 + round]
            body = {"strategy": "optimistic", "round": round, "at": at}
            follower.hear(now, do="act", **body)
            now += 0.5
            follower.run(now - 0.5, now)
    assert 4 <= len(follower.shots) <= 16
    assert {shot.base for _, shot in follower.shots} == {MAIN}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"do": None},
        {"do": "begin"},
        {"do": "begin", "strategy": [], "model": 5},
        {"do": "begin", "strategy": "predicted", "model": {"kind": "sequential"}},
        {"do": "act", "strategy": "predicted", "round": 10**9, "at": [PEER, 4000]},
        {"do": "act", "strategy": "spray"},
        {"do": "over", "reason": {}},
        {"do": "refuse", "reason": "PROVEN"},
    ],
)
def test_nonsense(body: dict[str, Any]) -> None:
    """
    What a peer says out of turn or out of its mind does no harm.
    """
    for kind in (Allocation.RANDOM, Allocation.ENDPOINT_INDEPENDENT):
        follower = Follower(kind)
        follower.hear(0.0, **body)
        follower.hear(0.0, do="measure")
        follower.hear(0.1, **body)
        follower.run(0.1, 300.0)
        assert follower.shots == []
        assert not follower.core.running


def _meet(follower: Follower, addresses: list[Address]) -> None:
    """
    Have the leader say where its TCP ports are, round by round, each of which takes
    3 s.
    """
    follower.hear(0.0, do="measure")
    follower.hear(0.1, do="begin", strategy="tcp", model=PortModel().toDict(0.0))
    kind = CandidateType.SRFLX
    candidates = [tcpCandidate(each, each, kind).toDict() for each in addresses]
    for number in (1, 2, 3):
        began = 3.0 * number
        body = {"round": number, "candidates": candidates}
        follower.hear(began, do="act", strategy="tcp", **body)
        follower.run(began, began + 3.0)


def test_claimed() -> None:
    """
    Who gets no UDP through has been observed nowhere: TCP may be tried at the hosts
    that it claims, but at four others than the observed one, never at ports of
    services or at this machine.
    """
    follower = Follower(Allocation.ENDPOINT_INDEPENDENT)
    strangers = [(f"203.0.113.{number}", 4000) for number in range(50, 60)]
    forbidden = [("127.0.0.1", 4000), (PEER, 22), (PEER, 443)]
    _meet(follower, [*forbidden, *strangers, (PEER, 4000)])
    remotes = {connect.remote for _, connect in follower.connects}
    assert remotes == {*strangers[:4], (PEER, 4000)}


def test_connectsAreFew() -> None:
    """
    There are 96 attempts to connect at the most, 50 a second after 16, from one port
    a round, all of which are closed in the end.
    """
    follower = Follower(Allocation.ENDPOINT_INDEPENDENT)
    ports = [(PEER, 4000 + number) for number in range(12)]
    _meet(follower, ports)
    times = [time for time, _ in follower.connects]
    assert 16 < len(times) <= 96
    for count, time in enumerate(times):
        assert count <= 16 + 50 * (time - times[0]) + 1
    assert len({connect.base for _, connect in follower.connects}) == 3
    follower.run(9.0, 60.0)
    assert follower.sockets.opened == set()
