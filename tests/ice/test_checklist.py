"""
Which pairs there are, in which order and at what pace they are checked.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from punchd.ice.candidate import (
    Candidate,
    hostCandidate,
    reflexiveCandidate,
    relayedCandidate,
)
from punchd.ice.events import PairSucceeded, RemoteCandidateLearned
from punchd.ice.pair import CandidatePair, CheckState
from punchd.ice.pending import MOST, Pending, Transmission
from punchd.ice.timing import Limits, Timing
from tests.ice.link import Link, Peer, connected, dial, pairOfPeers


def alone(limits: Limits | None = None) -> tuple[Link, Peer]:
    """
    @return: an agent that may check, with one base, and nobody there.
    """
    link = Link()
    a = link.peer("a", controlling=True, limits=limits)
    b = link.peer("b", controlling=False)
    a.gather()
    a.hear(b, candidates=False)
    link.peers.remove(b)
    return link, a


def remote(number: int, rank: int = 0) -> Candidate:
    """
    @return: a host candidate of a peer.
    """
    return hostCandidate(("198.51.100.1", number), rank=rank)


def test_pace() -> None:
    """
    16 first checks leave at once, the others one every 20 ms, the best first.
    """
    link, a = alone()
    for number in range(20):
        a.agent.addRemoteCandidate(remote(1000 + number, rank=20 - number), link.now)
    # What was added first had nothing better to wait for.
    assert a.agent.checksSent == 16
    started = []
    for _ in range(4):
        link.run(0.02)
        waiting = [p for p in a.agent.pairs if p.state is CheckState.WAITING]
        started.append(len(waiting))
    assert started == [3, 2, 1, 0]


def test_retryBurst() -> None:
    """
    A new round begins with a burst again.
    """
    link, a = alone()
    for number in range(20):
        a.agent.addRemoteCandidate(remote(1000 + number), link.now)
    link.run(20)
    checks = a.agent.checksSent
    a.agent.retry(link.now)
    assert a.agent.checksSent == checks + 16


def test_learnedPairsKeepThePace() -> None:
    """
    A peer that checks from new addresses once the burst is over makes us open
    no more than one flow every 20 ms.
    """
    link = Link()
    a = link.peer("a", controlling=True, nat="open", timing=Timing(burst=1))
    b = link.peer("b", controlling=False, nat="symmetric")
    a.gather()
    b.gather()
    a.hear(b)
    b.hear(a)
    link.run(1, connected(a, b))
    a.events.clear()
    for number in range(5):
        b.nat.host = f"198.51.100.{number + 1}"
        b.nat._out.clear()
        b.agent.probe(b.agent.validPairs[0], link.now)
        link.run(0.006)
    link.run(0.0195)
    assert len(a.all(RemoteCandidateLearned)) == 5
    waiting = [p for p in a.agent.pairs if p.state is CheckState.WAITING]
    assert len(waiting) == 3


def test_earlyChecksFirst() -> None:
    """
    When the peer's credentials come, the pair on which it has checked already
    is checked before better ones.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "fullcone")
    b.hear(a)
    link.run(0.03)
    assert [p.heard for p in a.agent.pairs] == [True]
    for number in range(20):
        a.agent.addRemoteCandidate(remote(1000 + number), link.now)
    a.agent.setRemoteCredentials(b.agent.credentials, link.now)
    first, *others = a.agent.takeDatagrams()
    assert first.remote == (b.nat.host, 40000)
    assert len(others) == 15


def test_bestFirst() -> None:
    """
    Waiting pairs are taken by priority, whatever the order they came in.
    """
    link = Link()
    a = link.peer("a", controlling=True)
    b = link.peer("b", controlling=False)
    a.gather()
    for number, rank in enumerate((7, 3, 9)):
        a.agent.addRemoteCandidate(remote(1000 + number, rank), link.now)
    assert a.agent.deadline() is None
    a.agent.setRemoteCredentials(b.agent.credentials, link.now)
    ports = [d.remote[1] for d in a.agent.takeDatagrams()]
    assert ports == [1001, 1000, 1002]


def test_reflexiveCandidatesAddNoPairs() -> None:
    """
    A server-reflexive candidate is checked from its base, once.
    """
    link, a = alone()
    base = a.base
    other = reflexiveCandidate(("203.0.113.77", 1), base, source="mapped")
    a.agent.addLocalCandidate(other, link.now)
    a.agent.addRemoteCandidate(remote(1000), link.now)
    assert [p.key for p in a.agent.pairs] == [(base, ("198.51.100.1", 1000))]


def test_baseWithoutHostCandidate() -> None:
    """
    A server-reflexive candidate is checked from its base even when the host
    candidate is kept private; that one takes its place when it comes.
    """
    link = Link()
    a = link.peer("a", controlling=True)
    a.gather(host=False)
    a.agent.addRemoteCandidate(remote(1000), link.now)
    (pair,) = a.agent.pairs
    assert pair.local.base == a.base
    a.agent.addLocalCandidate(hostCandidate(a.base), link.now)
    assert a.agent.pairs == [pair]
    assert pair.local == hostCandidate(a.base)


@pytest.mark.parametrize(
    "candidate",
    [
        remote(0),
        hostCandidate(("127.0.0.1", 5000)),
        hostCandidate(("::1", 5000)),
        hostCandidate(("0.0.0.0", 5000)),
        hostCandidate(("224.0.0.1", 5000)),
        hostCandidate(("fe80::1", 5000)),
        replace(remote(1000), component=2),
        replace(remote(1000), transport="tcp"),
    ],
)
def test_neverPaired(candidate: Candidate) -> None:
    """
    Loopback and its like, other components and transports: refused, counted,
    on both sides.
    """
    link, a = alone()
    before = len(a.agent.localCandidates)
    assert not a.agent.addRemoteCandidate(candidate, link.now)
    assert not a.agent.addLocalCandidate(candidate, link.now)
    assert a.agent.pairs == []
    assert len(a.agent.localCandidates) == before
    assert sum(a.agent.garbage.values()) == 2


def test_familiesAreNotMixed() -> None:
    """
    IPv4 is paired with IPv4 only.
    """
    link, a = alone()
    six = hostCandidate(("2001:db8::1", 5000))
    a.agent.addLocalCandidate(six, link.now)
    a.agent.addRemoteCandidate(remote(1000), link.now)
    a.agent.addRemoteCandidate(hostCandidate(("2001:db8::2", 5000)), link.now)
    keys = {(p.local.family, p.remote.family) for p in a.agent.pairs}
    assert keys == {(4, 4), (6, 6)}


def test_signalledLimit() -> None:
    """
    Of more than 20 signalled candidates the others are refused.
    """
    link, a = alone()
    taken = [
        a.agent.addRemoteCandidate(remote(1000 + number), link.now)
        for number in range(25)
    ]
    assert taken == [True] * 20 + [False] * 5
    assert a.agent.garbage["too many remote candidates"] == 5


def test_pairLimit() -> None:
    """
    Of more pairs than fit, the best stay.
    """
    link, a = alone(Limits(pairs=4))
    for number in range(6):
        rank = (0, 1, 2, 3, 9, -10)[number]
        a.agent.addRemoteCandidate(remote(1000 + number, rank + 10), link.now)
    ports = [p.remote.address[1] for p in a.agent.pairs]
    assert ports == [1005, 1000, 1001, 1002]


def test_duplicateCandidates() -> None:
    """
    The same address twice is one candidate, of the better priority.
    """
    link, a = alone()
    a.agent.addRemoteCandidate(remote(1000, rank=5), link.now)
    checks = a.agent.checksSent
    assert a.agent.addRemoteCandidate(remote(1000, rank=1), link.now)
    assert a.agent.addRemoteCandidate(remote(1000, rank=3), link.now)
    (pair,) = a.agent.pairs
    assert pair.remote == remote(1000, rank=1)
    assert a.agent.checksSent == checks


def test_learnedLimit() -> None:
    """
    A peer that checks from ever new addresses is answered, but makes us check
    ten of them in one check time.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "symmetric")
    b.hear(a)
    a.hear(b, candidates=False)
    link.run(1, connected(a, b))
    for number in range(30):
        b.nat.host = f"198.51.100.{number + 1}"
        b.nat._out.clear()
        b.agent.probe(b.agent.pairs[0], link.now)
        link.run(0.02)
    link.run(0.1)
    assert len(a.all(RemoteCandidateLearned)) == 10
    assert len(a.agent.pairs) == 10
    why = "request on more pairs than there is room for"
    assert a.agent.garbage[why] >= 15
    # Later, those that never worked make room.
    link.run(20)
    b.nat.host = "198.51.100.99"
    b.nat._out.clear()
    b.agent.retry(link.now)
    b.agent.probe(b.agent.pairs[0], link.now)
    assert link.run(5, connected(a, b)) is not None
    assert len(a.agent.remoteCandidates) <= 10


def test_learnedThenSignalled() -> None:
    """
    A candidate that a check told first keeps its pair and gets its true type;
    it is paired with our other bases only then.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "fullcone")
    a.gather(relay=("203.0.113.10", 50001))
    b.agent.setRemoteCredentials(a.agent.credentials, link.now)
    b.agent.addRemoteCandidate(hostCandidate(a.base), link.now)
    a.hear(b, candidates=False)
    assert link.run(1, connected(a, b)) is not None
    (pair,) = a.agent.pairs
    assert pair.strategy == "prflx"
    a.hear(b)
    assert pair in a.agent.pairs
    assert pair.valid
    assert pair.strategy == "srflx"
    assert a.agent.pairOf(("203.0.113.10", 50001), pair.remote.address) is not None


def test_earlyChecks() -> None:
    """
    Checks that arrive before the peer's credentials are answered at once, and
    checked in return as soon as those are known.
    """
    link = Link()
    a, b = pairOfPeers(link, "open", "portrestricted")
    b.hear(a)
    link.run(1)
    assert b.agent.validPairs
    assert a.agent.checksSent == 0
    assert a.agent.deadline() is None
    assert not a.agent.validPairs
    a.hear(b)
    assert link.run(1, connected(a, b)) is not None
    began = link.now
    assert a.first(PairSucceeded)[0] == began


def test_learnedRelayBase() -> None:
    """
    A relayed base is checked from like any other, and added at any time.
    """
    link = Link()
    a, b = pairOfPeers(link, "symmetric", "portrestricted")
    dial(link, a, b)
    link.run(1)
    assert not a.agent.validPairs
    a.relayed = ("203.0.113.10", 50001)
    a.agent.addLocalCandidate(relayedCandidate(a.relayed), link.now)
    b.agent.addRemoteCandidate(relayedCandidate(a.relayed), link.now)
    assert link.run(1, connected(a, b)) is not None
    assert a.agent.validPairs[0].local.base == a.relayed
    assert b.agent.validPairs[0].kind == "relayed"


def test_pendingIsBounded() -> None:
    """
    Transmissions are forgotten by age and by number.
    """
    pair = CandidatePair(remote(1), remote(2))
    mark = pair.delivery.mark(0.0)
    pending = Pending(memory=30.0)
    for number in range(MOST + 100):
        sent = Transmission(pair, number * 0.001, True, False, mark)
        pending.add(number.to_bytes(12, "big"), sent)
    assert len(pending) == MOST
    assert pending.get((99).to_bytes(12, "big")) is None
    assert pending.get((100).to_bytes(12, "big")) is not None
    pending.add(b"y" * 12, Transmission(pair, 100.0, True, False, mark))
    assert len(pending) == 1
