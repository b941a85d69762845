"""
Roles, their conflicts, and nomination.
"""

from __future__ import annotations

import itertools

import pytest

from punchd.core import Datagram
from punchd.ice.events import Nominated, RoleChanged
from punchd.stun.message import MessageClass, parse
from tests.ice.link import Link, Peer, connected, dial, pairOfPeers


def withRelays() -> tuple[Link, Peer, Peer]:
    """
    @return: two agents with direct and relayed valid pairs.
    """
    link = Link()
    a, b = pairOfPeers(link)
    a.gather(relay=("203.0.113.10", 50001))
    b.gather(relay=("203.0.113.10", 50002))
    dial(link, a, b)
    link.run(2)
    assert len(a.agent.validPairs) >= 3
    return link, a, b


def agree(a: Peer, b: Peer) -> bool:
    """
    @return: whether both have nominated the same 5-tuple, as each sees it.
    """
    ours, theirs = a.agent.nominatedPair, b.agent.nominatedPair
    if ours is None or theirs is None:
        return False
    return ours.mapped == theirs.remote.address and ours.nominated and theirs.nominated


def test_nominate() -> None:
    """
    A nomination is agreed on within a round trip.
    """
    link, a, b = withRelays()
    pair = a.agent.validPairs[0]
    began = link.now
    assert a.agent.nominate(pair, link.now)
    assert link.run(1, lambda: agree(a, b)) is not None
    assert link.now - began == pytest.approx(0.05)
    assert a.all(Nominated) == [Nominated(pair)]


def test_nominateAgain() -> None:
    """
    The last nomination counts, to a better pair and back.
    """
    link, a, b = withRelays()
    best, *_, worst = a.agent.validPairs
    for pair in (worst, best, worst):
        assert a.agent.nominate(pair, link.now)
        link.run(0.2)
        assert a.agent.nominatedPair is pair
        assert agree(a, b)
    assert [p for p in b.agent.pairs if p.nominated] == [b.agent.nominatedPair]
    assert len(b.all(Nominated)) == 3


def test_nominationSurvivesLoss() -> None:
    """
    The first nominating checks are lost; others follow soon, even when an
    answer to an earlier check arrives in between.
    """
    link, a, b = withRelays()
    pair = a.agent.validPairs[0]
    count = itertools.count()
    a.agent.probe(pair, link.now)
    link.run(0.01)
    mapped = pair.mapped
    link.drop = lambda datagram: datagram.local == mapped and next(count) < 2
    assert a.agent.nominate(pair, link.now)
    link.run(0.05)
    assert not pair.probed
    assert link.run(1, lambda: agree(a, b)) is not None


def test_nominatedBeforeItIsValid() -> None:
    """
    USE-CANDIDATE arrives while the controlled agent's own check has got no
    answer yet: the pair is nominated when it gets one.
    """
    link = Link()
    a, b = pairOfPeers(link)
    mine = a.nat.outward(a.base, b.base, link.now)

    def losesResponses(datagram: Datagram) -> bool:
        message = parse(datagram.data)
        return datagram.local == mine and message.messageClass is MessageClass.SUCCESS

    link.drop = losesResponses
    dial(link, a, b)
    link.run(1)
    assert a.agent.nominate(a.agent.validPairs[0], link.now)
    link.run(0.5)
    assert a.agent.nominatedPair is not None
    assert b.agent.validPairs == []
    link.drop = lambda datagram: False
    assert link.run(1, lambda: agree(a, b)) is not None


def test_onlyTheControllingNominates() -> None:
    """
    The controlled agent may not, and nobody a pair that is not valid.
    """
    link, a, b = withRelays()
    assert not b.agent.nominate(b.agent.validPairs[0], link.now)
    dead = next(pair for pair in a.agent.pairs if not pair.valid)
    assert not a.agent.nominate(dead, link.now)


def test_nominationEndsWithThePair() -> None:
    """
    A nominated pair that is lost is not nominated; when it is back, it is
    again, at both sides.
    """
    link, a, b = withRelays()
    pair = a.agent.validPairs[0]
    a.agent.nominate(pair, link.now)
    link.run(1)
    link.drop = lambda datagram: True
    link.run(60)
    assert a.agent.nominatedPair is None
    assert b.agent.nominatedPair is None
    link.drop = lambda datagram: False
    assert link.run(20, lambda: agree(a, b)) is not None
    assert a.agent.nominatedPair is pair


@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1), (7, 7)])
@pytest.mark.parametrize("back", [0.0, 0.025, 0.3])
def test_glare(controlling: bool, numbers: tuple[int, int], back: float) -> None:
    """
    Both begin with the same role, at the same time or not: they connect, end
    with different roles, and the larger number controls.
    """
    link = Link()
    first, second = numbers
    a = link.peer("a", controlling=controlling, tieBreaker=first)
    b = link.peer("b", controlling=controlling, tieBreaker=second)
    a.gather()
    b.gather()
    dial(link, a, b, back=back)
    assert link.run(5, connected(a, b)) is not None
    # Equal numbers need a second conflict, at the next check.
    link.run(1 if first != second else 40)
    assert a.agent.controlling is not b.agent.controlling
    if first != second:
        assert a.agent.controlling is (first > second)
        assert len(a.all(RoleChanged)) + len(b.all(RoleChanged)) == 1
    leader = a if a.agent.controlling else b
    assert leader.agent.nominate(leader.agent.validPairs[0], link.now)
    assert link.run(1, lambda: agree(a, b)) is not None


@pytest.mark.parametrize("seed", range(20))
def test_glareWithLoss(seed: int) -> None:
    """
    Conflicts are solved with loss and reordering too.
    """
    link = Link(loss=0.2, jitter=0.04, duplication=0.1, seed=seed)
    a = link.peer("a", controlling=True, tieBreaker=seed % 3)
    b = link.peer("b", controlling=True, tieBreaker=1)
    a.gather()
    b.gather()
    dial(link, a, b)
    link.run(9, connected(a, b))
    link.run(20)
    assert a.agent.controlling is not b.agent.controlling
    assert connected(a, b)()
