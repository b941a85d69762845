"""
Two agents find each other through NATs, and how fast.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from punchd.ice.candidate import CandidateType
from punchd.ice.events import CheckReceived, ChecksFinished, PairSucceeded
from tests.ice.link import Link, connected, dial, pairOfPeers

CONES = ("open", "fullcone", "restricted", "portrestricted")


@pytest.mark.parametrize("natA", CONES)
@pytest.mark.parametrize("natB", CONES)
def test_conesMeetWithinTwoAndAHalfRoundTrips(natA: str, natB: str) -> None:
    """
    Endpoint-independent NATs: both have a valid pair 2.5 round trips after the
    answerer began.
    """
    link = Link()
    a, b = pairOfPeers(link, natA, natB)
    began = link.now
    dial(link, a, b)
    assert link.run(5, connected(a, b)) is not None
    assert link.now - began <= 2.5 * 0.05 + 1e-9
    assert {pair.kind for pair in a.agent.validPairs} == {"direct"}


def test_portRestrictedTimeline() -> None:
    """
    The answerer's first check dies, the dialler's passes: the dialler has a
    pair 1.5 round trips after the answerer began, the answerer too.
    """
    link = Link()
    a, b = pairOfPeers(link)
    began = link.now
    dial(link, a, b)
    link.run(5, connected(a, b))
    assert a.first(PairSucceeded)[0] - began == pytest.approx(0.075)
    assert b.first(PairSucceeded)[0] - began == pytest.approx(0.075)
    assert a.agent.validPairs[0].rtt == pytest.approx(0.05)
    assert a.agent.validPairs[0].strategy == "srflx"


def test_portRestrictedPackets() -> None:
    """
    Port-restricted pairs take exactly this many checks; of each three are
    those to the host candidate behind the other NAT, two at the dialler.
    """
    link = Link()
    a, b = pairOfPeers(link)
    dial(link, a, b)
    link.run(5, connected(a, b))
    assert (a.agent.checksSent, b.agent.checksSent) == (4, 6)


@pytest.mark.parametrize("delay", [0.0, 0.0005, 0.15, 0.4])
def test_noCliff(delay: float) -> None:
    """
    When the round trip was not told, nothing waits for a 500 ms timer, at any
    delay.
    """
    link = Link(delay=delay)
    a, b = pairOfPeers(link)
    began = link.now
    dial(link, a, b)
    assert link.run(20, connected(a, b)) is not None
    assert link.now - began <= 1.5 * 2 * delay + 0.1


def test_lateAnswer() -> None:
    """
    An answer that takes 3 s finds an answerer that still sends.
    """
    link = Link()
    a, b = pairOfPeers(link)
    dial(link, a, b, back=3.0)
    began = link.now + 3.0
    assert link.run(9, connected(a, b)) is not None
    assert link.now - began <= 1.5 * 0.05 + 1e-9


@pytest.mark.parametrize("cone", ["open", "fullcone", "restricted"])
def test_symmetricByPeerReflexive(cone: str) -> None:
    """
    A symmetric NAT on one side: the other learns its port from its checks.
    """
    link = Link()
    a, b = pairOfPeers(link, cone, "symmetric")
    dial(link, a, b)
    assert link.run(5, connected(a, b)) is not None
    learned = [c for c in a.agent.remoteCandidates if c.type is CandidateType.PRFLX]
    assert [c.address[0] for c in learned] == [b.nat.host]
    assert a.agent.validPairs[0].remote == learned[0]
    assert a.agent.validPairs[0].strategy == "prflx"
    # And the other end was told its address by the response.
    assert learned[0].address in [c.address for c in b.agent.localCandidates]


def test_symmetricByPortRestrictedFails() -> None:
    """
    Port-restricted by symmetric is none that checks alone get through: all
    pairs fail after the check time, then nothing is sent any more.
    """
    link = Link()
    a, b = pairOfPeers(link, "portrestricted", "symmetric")
    began = link.now
    dial(link, a, b)
    assert link.run(30) is None
    assert a.agent.validPairs == b.agent.validPairs == []
    assert 8.0 <= a.first(ChecksFinished)[0] - began <= 8.1
    assert a.agent.deadline() is None
    assert b.agent.deadline() is None


def test_finishedComesOnce() -> None:
    """
    ChecksFinished is said once a round.
    """
    link = Link()
    a, b = pairOfPeers(link)
    dial(link, a, b)
    link.run(20)
    assert len(a.all(ChecksFinished)) == 1
    assert len(b.all(ChecksFinished)) == 1


def test_checkReceivedOnce() -> None:
    """
    That the peer reaches us is said once a pair and round.
    """
    link = Link()
    a, b = pairOfPeers(link)
    dial(link, a, b)
    link.run(20)
    assert len(a.all(CheckReceived)) == len(b.all(CheckReceived)) == 1


def test_checkReceivedAgainInANewRound() -> None:
    """
    While our checks get no answer, each round says once that the peer's come.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "open")
    link.drop = lambda datagram: datagram.local == a.base
    dial(link, a, b)
    link.run(1)
    assert len(a.all(CheckReceived)) == 1
    a.agent.retry(link.now)
    link.run(1)
    assert len(a.all(CheckReceived)) == 2


def test_retryAfterFailure() -> None:
    """
    A network that was down for the whole round works in the next one.
    """
    link = Link()
    a, b = pairOfPeers(link)
    link.drop = lambda datagram: True
    dial(link, a, b)
    link.run(10)
    assert a.agent.validPairs == []
    link.drop = lambda datagram: False
    for peer in (a, b):
        peer.agent.retry(link.now)
    began = link.now
    assert link.run(5, connected(a, b)) is not None
    assert link.now - began <= 0.05 + 1e-9


def test_relayedPairs() -> None:
    """
    Relayed candidates make pairs like any others, of kind relayed, and
    relay by relay always works.
    """
    link = Link()
    a, b = pairOfPeers(link, "symmetric", "symmetric")
    a.gather(relay=("203.0.113.10", 50001))
    b.gather(relay=("203.0.113.10", 50002))
    dial(link, a, b)
    assert link.run(5, connected(a, b)) is not None
    link.run(1)
    assert {pair.kind for pair in a.agent.validPairs} == {"relayed"}
    assert {pair.strategy for pair in a.agent.validPairs} == {"relay"}
    assert a.agent.pairOf(a.relayed, b.relayed).valid  # type: ignore[arg-type,union-attr]


def test_relayLearnedFromCheckIsRelayed() -> None:
    """
    A relayed candidate that a check tells before signaling does is known as
    one, so that nobody takes the path for a direct one.
    """
    link = Link()
    a = link.peer("a", controlling=True, nat="open")
    b = link.peer("b", controlling=False, nat="symmetric")
    a.gather()
    b.gather(relay=("203.0.113.10", 50002), host=False)
    a.hear(b, candidates=False)
    b.hear(a)
    link.run(1)
    found = {c.address: c.type for c in a.agent.remoteCandidates}
    assert found["203.0.113.10", 50002] is CandidateType.RELAY
    assert CandidateType.PRFLX in found.values()


@pytest.mark.parametrize("seed", range(30))
def test_lossReorderingDuplication(seed: int) -> None:
    """
    With 20 % loss, 30 ms of jitter and 20 % duplicates it takes a little
    longer.
    """
    link = Link(loss=0.2, jitter=0.03, duplication=0.2, seed=seed)
    a, b = pairOfPeers(link)
    began = link.now
    dial(link, a, b)
    assert link.run(9, connected(a, b)) is not None
    assert link.now - began <= 1.0


@pytest.mark.parametrize(("told", "wait"), [(0.3, 0.15), (0.001, 0.02)])
def test_rttHint(told: float, wait: float) -> None:
    """
    The first two repetitions follow after half the round trip that was told
    each, but never sooner than 20 ms.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "open")
    a.agent.setRtt(told)
    times: list[float] = []
    link.drop = lambda datagram: not times.append(link.now)  # type: ignore[func-returns-value]
    a.hear(b)
    link.run(2)
    waits = [later - sooner for sooner, later in pairwise(times[:4])]
    assert waits == pytest.approx([wait, wait, wait * 1.5])


def test_packetsOfAFailingPair() -> None:
    """
    A pair that does not work costs this many checks in a round, and no more
    than 8 s.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "open")
    link.drop = lambda datagram: True
    a.hear(b)
    link.run(60)
    assert a.agent.checksSent == 23
