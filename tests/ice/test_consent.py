"""
The life of a pair after it has worked: keepalives, doubt, loss, return.
"""

from __future__ import annotations

import pytest

from punchd.core import Datagram
from punchd.ice.events import (
    CheckReceived,
    LossReason,
    PairDoubtful,
    PairLost,
    PairReported,
    PairSucceeded,
)
from punchd.ice.pair import CandidatePair, CheckState
from tests.ice.link import (
    Link,
    Peer,
    connected,
    cut,
    dial,
    established,
    mend,
)


def test_idleKeepalives() -> None:
    """
    An idle pair costs each side one check per keepalive interval, less up to
    20 %, and one response; nothing is repeated.
    """
    link, a, b, _ = established()
    checks, sent = a.agent.checksSent, link.sent
    link.run(600)
    assert 600 / 15 <= a.agent.checksSent - checks <= 600 / 12 + 1
    total = link.sent - sent
    assert 2 * 2 * 600 / 15 <= total <= 2 * 2 * (600 / 12 + 1)
    assert not a.all(PairDoubtful)
    assert not b.all(PairLost)


def test_keepaliveInterval() -> None:
    """
    The interval can be set, for the current wait too.
    """
    link, a, b, _ = established()
    for peer in (a, b):
        peer.agent.setKeepalive(100.0, link.now)
    checks = a.agent.checksSent
    link.run(1000)
    assert 10 <= a.agent.checksSent - checks <= 14
    assert a.agent.validPairs
    a.agent.setKeepalive(2.0, link.now)
    checks = a.agent.checksSent
    link.run(2.0)
    assert a.agent.checksSent > checks


def test_shortBindings() -> None:
    """
    With bindings of 20 s at both NATs an idle pair lives on.
    """
    link = Link()
    a = link.peer("a", controlling=True, lifetime=20)
    b = link.peer("b", controlling=False, lifetime=20)
    a.gather()
    b.gather()
    dial(link, a, b)
    link.run(300)
    assert a.agent.validPairs
    assert a.all(PairLost) == b.all(PairLost) == []


def test_activePairs() -> None:
    """
    An active pair is checked every 5 s, give or take 20 %.
    """
    link, a, _, pair = established()
    a.agent.setActive(pair, True, link.now)
    checks = a.agent.checksSent
    link.run(300)
    assert 300 / 6 - 1 <= a.agent.checksSent - checks <= 300 / 4 + 1


def test_activeChecksAtOnceWhenStale() -> None:
    """
    A pair that was idle for long is checked at once when it becomes active.
    """
    link, a, b, pair = established()
    a.agent.setKeepalive(100.0, link.now)
    b.agent.setKeepalive(100.0, link.now)
    link.run(50)
    checks = a.agent.checksSent
    a.agent.setActive(pair, True, link.now)
    assert a.agent.checksSent == checks + 1


def test_consentExpires() -> None:
    """
    A cut is noticed as a doubt by the next check, and consent ends 30 s after
    the last response.
    """
    link, a, _, pair = established()
    a.agent.setActive(pair, True, link.now)
    link.run(20)
    cut(link)
    began = link.now
    link.run(60, lambda: bool(a.all(PairLost)))
    doubted, _ = a.first(PairDoubtful)
    lost, event = a.first(PairLost)
    assert event == PairLost(pair, LossReason.CONSENT_EXPIRED)
    assert doubted - began <= 6 + 2.1
    assert lost == pytest.approx((pair.lastResponse or 0) + 30)
    assert pair.state is CheckState.LOST
    assert a.agent.validPairs == []


def test_shortCutIsDoubtOnly() -> None:
    """
    A cut of 10 s is a doubt, ended by a report; the pair stays valid.
    """
    link, a, _, pair = established()
    a.agent.setActive(pair, True, link.now)
    link.run(20)
    cut(link)
    link.run(10)
    assert pair.doubtful
    assert pair.valid
    mend(link)
    a.events.clear()
    link.run(6)
    assert not pair.doubtful
    assert PairReported(pair) in a.all(PairReported)
    assert a.all(PairLost) == []


def test_probeAnswered() -> None:
    """
    A probe of a pair that works costs one check and gives one report.
    """
    link, a, _, pair = established()
    a.events.clear()
    checks, began = a.agent.checksSent, link.now
    a.agent.probe(pair, link.now)
    link.run(2.5)
    assert a.agent.checksSent == checks + 1
    ((when, event),) = a.events
    assert event == PairReported(pair)
    assert when - began == pytest.approx(0.05)


def test_probeUnanswered() -> None:
    """
    A probe of a dead pair loses it after 5 checks and 2 s.
    """
    link, a, _, pair = established()
    cut(link)
    a.events.clear()
    checks, began = a.agent.checksSent, link.now
    a.agent.probe(pair, link.now)
    link.run(5, lambda: bool(a.events))
    assert a.agent.checksSent == checks + 5
    ((when, event),) = a.events
    assert event == PairLost(pair, LossReason.PROBE_UNANSWERED)
    assert when - began == pytest.approx(2.0)


def test_probesDoNotPostponeTheVerdict() -> None:
    """
    However often a probe is asked for, the verdict falls when it would have.
    """
    link, a, _, pair = established()
    cut(link)
    a.events.clear()
    began = link.now
    for _ in range(40):
        a.agent.probe(pair, link.now)
        link.run(0.1)
    assert a.first(PairLost)[0] == pytest.approx(began + 2.0)


def test_oldResponsesDoNotSettleAProbe() -> None:
    """
    A response to a check that left before the probe does not prove that the
    pair works now.
    """
    link, a, _, pair = established()
    a.agent.setActive(pair, True, link.now)
    link.run(7, lambda: pair.series is not None)
    link.run(0.03)  # The check has arrived, its response is on the way.
    cut(link)
    a.events.clear()
    a.agent.probe(pair, link.now)
    link.run(0.1)
    assert pair.lastResponse is not None
    assert pair.lastResponse > link.now - 0.1
    assert pair.probed
    link.run(5, lambda: bool(a.all(PairLost)))
    assert a.all(PairReported) == []
    assert a.first(PairLost)[1].reason is LossReason.PROBE_UNANSWERED


def test_lostPairReturns() -> None:
    """
    A lost pair is checked with growing pauses and comes back by itself.
    """
    link, a, b, pair = established()
    cut(link)
    a.agent.probe(pair, link.now)
    b.agent.probe(b.agent.validPairs[0], link.now)
    link.run(2.5)
    assert a.agent.validPairs == b.agent.validPairs == []
    times: list[float] = []
    link.drop = lambda datagram: not times.append(link.now) and True  # type: ignore[func-returns-value]
    link.run(62)
    ours = [later - sooner for sooner, later in zip(times[::2], times[2::2])]
    assert ours == pytest.approx([2, 4, 8, 15, 15, 15][: len(ours)], abs=1e-6)
    mend(link)
    a.events.clear()
    assert link.run(16, connected(a, b)) is not None
    assert PairSucceeded(pair) in a.all(PairSucceeded)


def lost() -> tuple[Link, Peer, Peer, CandidatePair]:
    """
    @return: two agents that have lost their pair, and the dialler's.
    """
    link, a, b, pair = established()
    cut(link)
    for peer in (a, b):
        peer.agent.probe(peer.agent.validPairs[0], link.now)
    link.run(40)
    assert a.agent.validPairs == b.agent.validPairs == []
    return link, a, b, pair


def test_lostPairReturnsAtTheirCheck() -> None:
    """
    The first check of one side that gets through brings the pair back at both,
    in one round trip and a half.
    """
    link, a, b, pair = lost()
    mend(link)
    began = link.now
    b.agent.probe(b.agent.pairs[1], link.now)
    assert link.run(16, connected(a, b)) is not None
    assert link.now - began <= 0.075 + 1e-9
    assert pair.valid


def test_lostPairOutlivesARound() -> None:
    """
    A round of checks that fails leaves a lost pair to return by itself.
    """
    link, a, b, pair = lost()
    a.agent.retry(link.now)
    assert pair.unsettled
    link.run(10)
    assert pair.state is CheckState.LOST
    mend(link)
    assert link.run(16, connected(a, b)) is not None


def test_checkReceivedAfterLoss() -> None:
    """
    That the peer reaches us is news again after the pair was lost.
    """
    link, a, _, pair = lost()
    mend(link)
    a.events.clear()
    link.run(16)
    assert a.all(CheckReceived) == [CheckReceived(pair)]


def test_lostPairReturnsThroughClosedNats() -> None:
    """
    When the bindings have gone during the cut, the checks of both sides open
    them again, on other ports if need be.
    """
    link = Link()
    a = link.peer("a", controlling=True, lifetime=20)
    b = link.peer("b", controlling=False, lifetime=20)
    a.gather()
    b.gather()
    dial(link, a, b)
    link.run(5, connected(a, b))
    cut(link)
    link.run(60)
    assert a.agent.validPairs == []
    mend(link)
    assert link.run(40, connected(a, b)) is not None


def test_lostPairIsGivenUp() -> None:
    """
    After ten minutes a lost pair fails, and a new round tries it again.
    """
    link, a, b, pair = established()
    cut(link)
    link.run(700)
    assert pair.state is CheckState.FAILED
    assert a.agent.deadline() is None
    mend(link)
    a.agent.retry(link.now)
    b.agent.retry(link.now)
    assert link.run(5, connected(a, b)) is not None


def test_onlyAuthenticatedStunCounts() -> None:
    """
    Responses with a broken integrity, and datagrams of the session, renew no
    consent.
    """
    link, a, _, pair = established()
    a.agent.setActive(pair, True, link.now)
    deliver = link.deliver

    def tamper(datagram: Datagram) -> None:
        datagram.data = datagram.data[:-1] + bytes([datagram.data[-1] ^ 1])
        deliver(datagram)

    link.deliver = tamper  # type: ignore[method-assign]
    end = link.now + 40
    while link.now < end and not a.all(PairLost):
        a.agent.sessionDatagramReceived(1200, *pair.key, link.now)
        link.run(1)
    assert a.first(PairLost)[1].reason is LossReason.CONSENT_EXPIRED
    assert a.agent.garbage["malformed message"] > 0


def test_removedCandidate() -> None:
    """
    When a base goes, its valid pairs are lost at once and checked no more.
    """
    link, a, _, pair = established()
    a.events.clear()
    a.agent.removeLocalCandidate(pair.local, link.now)
    link.flush(a)
    lost = PairLost(pair, LossReason.CANDIDATE_REMOVED)
    assert [e for _, e in a.events] == [lost]
    assert a.agent.pairs == []
    assert a.agent.deadline() is None
