"""
Copies on pairs that have not answered yet, and the proof that they spare.
"""

from __future__ import annotations

from punchd.ice.candidate import (
    hostCandidate,
    reflexiveCandidate,
    relayedCandidate,
)
from punchd.ice.pair import CandidatePair, CheckState
from punchd.ice.report import Report
from punchd.session.paths import FULL_SIZE, Paths
from punchd.session.speculation import SPECULATION, Speculation
from punchd.session.usage import Prove, Switched

HERE = hostCandidate(("10.0.0.2", 4000))
LENT = relayedCandidate(("203.0.113.10", 50000))


def makePair(port: int = 4000) -> CandidatePair:
    """
    A pair under check.
    """
    address = ("203.0.113.7", port)
    return CandidatePair(HERE, reflexiveCandidate(address, address))


def test_aSampleWithTheFirstCheckAndWhenThePeerIsHeard() -> None:
    """
    A full-size datagram goes ahead of the first check on a pair, and of the first one
    after the peer has come through; not of others.
    """
    speculation, pair = Speculation(), makePair()
    assert not speculation.sample(pair)
    speculation.tried([pair])
    assert [speculation.sample(pair) for _ in range(3)] == [True, False, False]
    pair.checksReceived = 1
    assert [speculation.sample(pair) for _ in range(3)] == [True, False, False]


def test_noSampleWherePathsAreKnown() -> None:
    """
    Neither a pair that has answered gets one, nor a relayed one, nor any other when
    there is a direct path.
    """
    valid, relayed, pair = (
        makePair(),
        CandidatePair(LENT, makePair().remote),
        makePair(1),
    )
    valid.state = CheckState.SUCCEEDED
    paths = Paths()
    paths.pairTried([valid, relayed, pair])
    assert not paths.sample(valid)
    assert not paths.sample(relayed)
    valid.reported = Report(1, FULL_SIZE)
    paths.pairSucceeded(valid, 0.0)
    assert paths.hasDirect
    assert not paths.sample(pair)


def test_fewSamples() -> None:
    """
    Three direct pairs get samples, which count among the copies.
    """
    speculation = Speculation()
    pairs = [makePair(port) for port in range(4000, 4010)]
    speculation.tried(pairs)
    assert [speculation.sample(pair) for pair in pairs] == [True] * 3 + [False] * 7
    copies = 3
    while found := speculation.routes(1):
        copies += len(found)
    assert SPECULATION <= copies < SPECULATION + 3
    pairs[0].checksReceived = 1
    assert not speculation.sample(pairs[0])
    speculation.forget()
    speculation.tried(pairs)
    assert speculation.sample(pairs[0])


def test_theFirstAnswerIsTheProof() -> None:
    """
    A pair whose first answer reports a full-size datagram carries the session at once.
    """
    paths, pair = Paths(), makePair()
    pair.state = CheckState.SUCCEEDED
    pair.reported = Report(1, FULL_SIZE)
    paths.pairSucceeded(pair, 0.0)
    assert paths.takeEvents() == [Switched(pair, None)]


def test_whatWasToldBeforeALossIsNoProof() -> None:
    """
    A pair that was lost has to be proven anew, by a report that is newer.
    """
    paths, pair = Paths(), makePair()
    pair.state = CheckState.SUCCEEDED
    pair.reported = Report(1, FULL_SIZE)
    paths.pairSucceeded(pair, 0.0)
    paths.pairLost(pair, 1.0)
    paths.takeEvents()
    paths.pairSucceeded(pair, 2.0)
    assert paths.takeEvents() == [Prove(pair)]
    assert paths.current is None
    paths.pairReported(pair, 2.1)
    assert paths.current is pair
