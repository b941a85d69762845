"""
Tests for L{punchd.session.paths}.
"""

from __future__ import annotations

from itertools import pairwise

from punchd.ice.candidate import (
    Candidate,
    CandidateType,
    hostCandidate,
    reflexiveCandidate,
    relayedCandidate,
    tcpCandidate,
)
from punchd.ice.pair import CandidatePair, CheckState
from punchd.ice.report import Report
from punchd.session.paths import (
    FULL_SIZE,
    PROOF_HASTE,
    STALE_PATIENCE,
    Paths,
)
from punchd.session.speculation import SPECULATION
from punchd.session.usage import DOUBT, Found, Probe, Prove, Switched

HERE = hostCandidate(("10.0.0.2", 4000))
NEAR = hostCandidate(("10.0.0.3", 4000))
FAR = reflexiveCandidate(("203.0.113.7", 4000), ("203.0.113.7", 4000))
LENT = relayedCandidate(("203.0.113.10", 50000))


def makePair(local: Candidate = HERE, remote: Candidate = FAR) -> CandidatePair:
    """
    A pair that answered a check.
    """
    return CandidatePair(local, remote, CheckState.SUCCEEDED, rtt=0.05)


def prove(paths: Paths, pair: CandidatePair, now: float = 0.0) -> None:
    """
    Have the peer report a full-size datagram.
    """
    paths.pairSucceeded(pair, now)
    pair.reported = Report(1, FULL_SIZE)
    paths.pairReported(pair, now)


def test_anAnswerIsNoProof() -> None:
    """
    A pair that answers checks is put to the proof, and does not carry the
    session before the peer reports a full-size datagram.
    """
    paths, pair = Paths(), makePair()
    paths.pairSucceeded(pair, 0.0)
    assert paths.takeEvents() == [Prove(pair)]
    pair.reported = Report(5, FULL_SIZE - 1)
    paths.pairReported(pair, 0.1)
    assert paths.current is None
    pair.reported = Report(6, FULL_SIZE)
    paths.pairReported(pair, 0.2)
    assert paths.current is pair
    assert paths.takeEvents() == [Switched(pair, None)]


def test_theProofIsAskedForAgain() -> None:
    """
    While no report comes, a proof is asked for at first in haste and then at
    leisure, never in a loop.
    """
    paths, pair = Paths(), makePair()
    paths.pairSucceeded(pair, 0.0)
    times = []
    for _ in range(PROOF_HASTE + 3):
        paths.takeEvents()
        now = paths.deadline()
        assert now is not None
        times.append(now)
        paths.timeReached(now)
        assert paths.takeEvents() == [Prove(pair)]
    waits = [b - a for a, b in pairwise(times)]
    assert all(wait > 0.1 for wait in waits)
    assert round(waits[-1], 3) == 5.0


def test_speculationIsBounded() -> None:
    """
    Before any answer, copies go to the most plausible pairs and path zero; the
    copies have a limit, path zero keeps its own.
    """
    paths = Paths()
    pairs = [makePair(remote=remote) for remote in (NEAR, FAR)]
    paths.pairTried(pairs)
    copies = 0
    for _ in range(100):
        routes, zero = paths.routes(1, 0.0)
        assert zero
        copies += len(routes)
    assert copies == SPECULATION


def test_whoReachedUsComesFirst() -> None:
    """
    A pair on which the peer's check arrived is the first that gets a copy.
    """
    paths = Paths()
    near, far = makePair(remote=NEAR), makePair(remote=FAR)
    paths.pairTried([near, far])
    paths.checkReceived(far, 0.0)
    assert list(paths.routes(1, 0.0)[0]) == [far, near]


def test_theRelayCrowdsNobodyOut() -> None:
    """
    However many relayed pairs the peer's checks arrived on, copies go to direct
    pairs too.
    """
    paths = Paths()
    direct = makePair()
    paths.pairTried([direct])
    relayed = [
        makePair(LENT, reflexiveCandidate((f"203.0.113.{n}", 1000), FAR.base))
        for n in range(20, 25)
    ]
    for pair in relayed:
        paths.checkReceived(pair, 0.0)
    assert list(paths.routes(1, 0.0)[0]) == [relayed[-1], direct]


def test_directBeatsRelayed() -> None:
    """
    A direct path takes over from a relayed one, never the other way round
    while it works.
    """
    paths = Paths()
    relayed, direct = makePair(LENT), makePair()
    prove(paths, relayed)
    prove(paths, direct)
    assert paths.current is direct
    paths.pairLost(relayed, 1.0)
    prove(paths, relayed, 2.0)
    assert paths.current is direct
    assert paths.changes == 1


def test_udpBeatsTcp() -> None:
    """
    A direct path over TCP takes over from a relay and gives way to one over UDP,
    and becomes the fallback of that.
    """
    base = ("10.0.0.2", 4001)
    stream = makePair(tcpCandidate(base, base, CandidateType.SRFLX))
    assert (stream.transport, stream.kind, stream.strategy) == ("tcp", "direct", "tcp")
    relayed, direct = makePair(LENT), makePair()
    paths = Paths()
    for each in (relayed, stream, direct):
        prove(paths, each)
        assert paths.current is each
    prove(paths, stream)
    assert paths.current is direct
    paths.pairLost(direct, 1.0)
    assert paths.current is stream
    paths.pairLost(stream, 2.0)
    assert paths.current is relayed


def test_oneRelayBeatsTwo() -> None:
    """
    A path through both sides' relays gives way to one through either of them, and
    between those there is no reason to switch.
    """
    theirs = relayedCandidate(("203.0.113.10", 50001))
    both = makePair(LENT, theirs)
    ours, other = makePair(LENT, FAR), makePair(HERE, theirs)
    for better, equal in ((ours, other), (other, ours)):
        paths = Paths()
        prove(paths, both)
        assert paths.current is both
        prove(paths, better)
        assert paths.current is better
        prove(paths, equal)
        prove(paths, both)
        assert paths.current is better


def test_theRelayTakesOverAtOnce() -> None:
    """
    When the direct path is lost, a proven relayed one carries the session
    without a new proof.
    """
    paths = Paths()
    relayed, direct = makePair(LENT), makePair()
    prove(paths, relayed)
    prove(paths, direct)
    paths.takeEvents()
    paths.pairLost(direct, 1.0)
    assert paths.takeEvents() == [Switched(relayed, direct)]
    paths.pairLost(relayed, 1.0)
    assert paths.takeEvents() == [Switched(None, relayed)]


def test_silenceIsADoubt() -> None:
    """
    Silence while sending brings a check and copies over the relay; anything
    that is heard ends the doubt.
    """
    paths = Paths()
    relayed, direct = makePair(LENT), makePair()
    prove(paths, relayed)
    prove(paths, direct)
    paths.takeEvents()
    assert paths.routes(1, 10.0) == ((direct,), False)
    assert paths.deadline() == 10.0 + DOUBT
    paths.timeReached(10.0 + DOUBT)
    # A lone datagram may have been an answer: all else is not asked yet.
    assert paths.takeEvents() == [Probe(direct, widely=False)]
    assert paths.routes(1, 10.0 + DOUBT) == ((direct, relayed), False)
    paths.timeReached(10.0 + 2 * DOUBT)
    assert paths.takeEvents() == [Probe(direct, widely=True)]
    paths.received(direct.local.base, direct.remote.address, 11.0)
    assert paths.routes(1, 11.0) == ((direct,), False)


def test_anIdlePathIsNotDoubted() -> None:
    """
    A path on which nothing is sent may be silent for as long as it likes.
    """
    paths, direct = Paths(), makePair()
    prove(paths, direct)
    assert not paths.inDoubt(10_000.0)
    assert paths.deadline() is None


def test_whatTheUserWants() -> None:
    """
    With C{--path=relay} no direct pair carries the session, nor is it put to
    the proof; with C{--path=direct} no relayed one.
    """
    relayed, direct = makePair(LENT), makePair()
    for mode, wanted in (("relay", relayed), ("direct", direct)):
        paths = Paths(mode=mode)
        relayed.reported = direct.reported = None
        prove(paths, relayed)
        prove(paths, direct)
        assert paths.current is wanted
        assert [e for e in paths.takeEvents() if isinstance(e, Prove)] == [
            Prove(wanted)
        ]


def test_aRestartKeepsThePathUntilABetterIsProven() -> None:
    """
    After an ICE restart the path in use goes on, any proven pair of the new
    agent replaces it, and it is given up when it stays silent.
    """
    paths, old, new = Paths(), makePair(remote=NEAR), makePair()
    prove(paths, old)
    paths.forget()
    assert paths.current is old
    prove(paths, new)
    assert paths.current is new
    paths.forget()
    paths.takeEvents()
    paths.routes(1, 20.0)
    now = 20.0
    while paths.current is not None:
        deadline = paths.deadline()
        assert deadline is not None
        now = deadline
        paths.timeReached(now)
    assert STALE_PATIENCE <= now - 20.0 < STALE_PATIENCE + 2 * DOUBT


def test_aWayThatTurnsUpIsTold() -> None:
    """
    A pair nobody knew, on which the peer's check comes in after datagrams were
    sent elsewhere, is told once; one that was tried anyway is not.
    """
    paths, tried, found = Paths(), makePair(), makePair(remote=NEAR)
    paths.checkReceived(tried, 0.0)
    paths.routes(1, 0.0)
    paths.checkReceived(tried, 0.1)
    assert paths.takeEvents() == []
    paths.checkReceived(found, 0.2)
    paths.checkReceived(found, 0.3)
    assert paths.takeEvents() == [Found(found)]
    assert paths.routes(1, 0.3)[0][0] is found


def test_twoRestarts() -> None:
    """
    The path in use outlives two restarts though the agent between them had a
    pair of the same addresses, and is given up when it stays silent.
    """
    paths, current, between = Paths(), makePair(), makePair()
    prove(paths, current)
    paths.forget()
    paths.pairSucceeded(between, 1.0)
    paths.forget()
    assert paths.current is current
    assert paths.routes(1, 2.0) == ((current,), False)
    paths.timeReached(2.0 + STALE_PATIENCE)
    paths.timeReached(3.0 + STALE_PATIENCE)
    assert paths.current is None
    assert paths.deadline() is None
