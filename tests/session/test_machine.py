"""
Tests for L{punchd.session.machine}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from punchd.errors import PathsExhausted, PeerUnavailable, SessionLost
from punchd.session.life import Core, Life
from punchd.session.machine import (
    GONE_PATIENCE,
    GOODBYE,
    HEAD_START,
    RETRIES,
    SessionMachine,
)
from punchd.traversal.verdict import Outcome, Reason, Verdict

FAILED = Verdict("checks", Outcome.FAILED, Reason.NO_ANSWER)
REASON = Failure(SessionLost("over"))

INPUTS: dict[str, tuple[Any, ...]] = {
    name: () for name in vars(Life) if not name.startswith("_")
}
INPUTS |= {
    "attemptEnded": (FAILED,),
    "dialFailed": (REASON,),
    "failed": (REASON,),
    "peerClosed": (REASON,),
    "stop": (REASON,),
    "streamsChanged": (1,),
}

#: How to get into each state from the first.
ROADS: dict[str, list[tuple[Any, ...]]] = {
    "idle": [],
    "signaling": [("dial",)],
    "checking": [("accept",)],
    "relayed": [("accept",), ("relayTookOver",)],
    "direct": [("accept",), ("carriedDirectly",)],
    "recovering": [("accept",), ("carriedDirectly",), ("pathsLost",)],
    "closing": [("accept",), ("stop", REASON)],
    "closed": [("stop", REASON)],
}


class FakeWorld:
    """
    Records what the machine makes happen.
    """

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.offer: Deferred[None] = Deferred()
        self.attempts: dict[str, Deferred[Verdict]] = {}
        self.broken = False

    def sendOffer(self) -> Deferred[None]:
        self.log.append("offer")
        return self.offer

    def _attempts(self, *names: str) -> Mapping[str, Deferred[Verdict]]:
        self.log.append(names)
        if self.broken:
            raise ZeroDivisionError()
        started = {name: Deferred[Verdict]() for name in names}
        self.attempts.update(started)
        return started

    def startAttempts(self) -> Mapping[str, Deferred[Verdict]]:
        return self._attempts("checks", "relay")

    def startRecovery(self) -> Mapping[str, Deferred[Verdict]]:
        return self._attempts("checks", "restart")

    def sendKeepalives(self) -> float:
        self.log.append("keepalive")
        return 15.0

    def suspectPaths(self) -> None:
        self.log.append("suspect")

    def carried(self, kind: str | None) -> None:
        self.log.append(kind)

    def noteVerdict(self, verdict: Verdict) -> None:
        self.log.append(verdict)

    def sayGoodbye(self, reason: Failure) -> None:
        self.log.append("goodbye")

    def release(self, reason: Failure) -> None:
        self.log.append(reason.type)


def make(road: str = "idle") -> tuple[FakeWorld, Core, Clock, Life]:
    """
    A machine that has gone down a road.
    """
    world, clock = FakeWorld(), Clock()
    core = Core(world, clock)
    life = SessionMachine(core)
    for name, *arguments in ROADS[road]:
        getattr(life, name)(*arguments)
    assert core.state == road
    world.log.clear()
    return world, core, clock, life


def test_total() -> None:
    """
    Every input is declared in every state.
    """
    transitions = SessionMachine.__automat_automaton__  # type: ignore[attr-defined]
    declared = {
        (state.name.lower(), input)
        for state, input, _, _ in transitions.allTransitions()
    }
    assert declared == {(state, input) for state in ROADS for input in INPUTS}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", INPUTS)
def test_nothingLeaksWhateverHappens(road: str, name: str) -> None:
    """
    After any input in any state, ending the session leaves no delayed call and
    no running attempt.
    """
    world, core, clock, life = make(road)
    getattr(life, name)(*INPUTS[name])
    life.stop(REASON)
    clock.advance(GOODBYE)
    if road == "idle" and name not in ("dial", "accept"):
        assert core.state == "closed"
    assert core.state == "closed"
    assert clock.getDelayedCalls() == []
    assert all(attempt.called for attempt in world.attempts.values())


def test_dialThenDirect() -> None:
    """
    The usual life of a dialled session.
    """
    world, core, clock, life = make()
    life.dial()
    world.offer.callback(None)
    assert world.log == ["offer", ("checks", "relay")]
    life.carriedDirectly()
    assert core.state == "direct"
    assert world.log[2:] == ["direct", "keepalive"]
    clock.advance(15.0)
    assert world.log[4:] == ["keepalive"]


def test_dialRefused() -> None:
    """
    A dial that fails ends the session with its reason.
    """
    world, core, _, _life = make("signaling")
    world.offer.errback(Failure(PeerUnavailable()))
    assert core.state == "closed"
    assert world.log == [PeerUnavailable]


def test_stopCancelsTheDial() -> None:
    """
    A session that is stopped while it dials lets go of the dial.
    """
    world, core, _, life = make("signaling")
    life.stop(REASON)
    assert core.state == "closed"
    assert world.offer.called
    assert world.log == [SessionLost]


def test_directComesFirst() -> None:
    """
    A direct path that is proven within the head start is never called relayed.
    """
    world, core, clock, life = make("checking")
    life.carriedByRelay()
    clock.advance(HEAD_START / 2)
    assert core.state == "checking"
    life.carriedDirectly()
    clock.advance(HEAD_START)
    assert core.state == "direct"
    assert "relayed" not in world.log


def test_relayAfterTheHeadStart() -> None:
    """
    Without a direct path the session is relayed after the head start.
    """
    _, core, clock, life = make("checking")
    life.carriedByRelay()
    clock.advance(HEAD_START)
    assert core.state == "relayed"


def test_relayIsLateItself() -> None:
    """
    A relay that is proven after the head start carries the session at once.
    """
    _, core, clock, life = make("checking")
    clock.advance(HEAD_START)
    assert core.state == "checking"
    life.carriedByRelay()
    assert core.state == "relayed"


def test_attemptsGoOnOverTheRelay() -> None:
    """
    The checks that run when the relay takes over go on, and their verdict
    brings the next round, with growing patience.
    """
    world, _core, clock, _life = make("relayed")
    first = world.attempts["checks"]
    assert not first.called
    world.attempts["relay"].callback(Verdict("relay", Outcome.SUCCEEDED, Reason.PROVEN))
    first.callback(FAILED)
    for delay in RETRIES[:3]:
        rounds = world.log.count(("checks", "relay"))
        clock.advance(delay - 0.01)
        assert world.log.count(("checks", "relay")) == rounds
        clock.advance(0.01)
        assert world.log.count(("checks", "relay")) == rounds + 1
        for attempt in list(world.attempts.values()):
            if not attempt.called:
                attempt.callback(FAILED)


def test_aChangedNetworkIsTriedAtOnce() -> None:
    """
    The back-off does not outlive a change of network.
    """
    world, _core, clock, life = make("relayed")
    for attempt in world.attempts.values():
        attempt.callback(FAILED)
    world.log.clear()
    life.networkChanged()
    clock.advance(0)
    assert world.log == ["suspect", ("checks", "relay")]


def test_recovery() -> None:
    """
    A session without a path tries at once, again and again, and lives on when
    a path comes.
    """
    world, core, clock, life = make("direct")
    life.pathsLost()
    assert core.state == "recovering"
    clock.advance(0)
    assert world.log == [None, ("checks", "restart")]
    for attempt in list(world.attempts.values()):
        if not attempt.called:
            attempt.callback(FAILED)
    clock.advance(1.0)
    assert world.log.count(("checks", "restart")) == 2
    life.carriedByRelay()
    assert core.state == "relayed"


def test_patienceEnds() -> None:
    """
    A session that finds no path fails after its patience, not before.
    """
    world, core, clock, _life = make("recovering")
    clock.advance(119.9)
    assert core.state == "recovering"
    clock.advance(0.2)
    assert core.state == "closed"
    assert world.log[-1] is PathsExhausted


@pytest.mark.parametrize("before", [True, False])
def test_patienceIsShorterForAPeerThatLeft(before: bool) -> None:
    """
    When the rendezvous saw the peer leave, before or after the paths were
    lost, the session waits for 30 seconds only.
    """
    world, core, clock, life = make("direct")
    if before:
        life.peerGone()
    life.pathsLost()
    if not before:
        life.peerGone()
    clock.advance(GONE_PATIENCE - 0.1)
    assert core.state == "recovering"
    clock.advance(0.2)
    assert world.log[-1] is PathsExhausted


def test_aPeerThatLeftIsSuspected() -> None:
    """
    Paths are checked at once when the rendezvous saw the peer leave, and
    falling back on an older path does not show that it is there again.
    """
    world, core, clock, life = make("direct")
    life.peerGone()
    assert world.log == ["suspect"]
    life.carriedByRelay()
    life.pathsLost()
    clock.advance(GONE_PATIENCE + 0.1)
    assert core.state == "closed"


@pytest.mark.parametrize("before", [True, False])
def test_aPeerThatReturned(before: bool) -> None:
    """
    A peer that the rendezvous sees again has all the patience there is.
    """
    world, core, clock, life = make("direct")
    life.peerGone()
    if before:
        life.peerReturned()
    life.pathsLost()
    if not before:
        life.peerReturned()
        assert world.log[-1] == "suspect"
    clock.advance(core.patience - 0.1)
    assert core.state == "recovering"
    clock.advance(0.2)
    assert world.log[-1] is PathsExhausted


def test_lingers() -> None:
    """
    A session ends when it had no stream for as long as it lingers.
    """
    _world, core, clock, life = make("direct")
    life.streamsChanged(1)
    life.streamsChanged(0)
    clock.advance(300)
    life.streamsChanged(1)
    clock.advance(1000)
    assert core.state == "direct"
    life.streamsChanged(0)
    clock.advance(600)
    assert core.state == "closing"
    clock.advance(GOODBYE)
    assert core.state == "closed"


def test_aBrokenStepFailsTheSession(
    flushLoggedErrors: Callable[..., list[Failure]],
) -> None:
    """
    What raises while the machine calls out becomes the input C{failed}; the
    session says goodbye and ends with that reason.
    """
    world, core, clock, life = make("idle")
    world.broken = True
    life.accept()
    assert core.state == "closing"
    clock.advance(GOODBYE)
    assert world.log[-1] is ZeroDivisionError
    assert len(flushLoggedErrors(ZeroDivisionError)) == 1


def test_goodbyeIsAnswered() -> None:
    """
    When the peer says goodbye too, the session ends at once, for the reason
    that was given here.
    """
    world, core, clock, life = make("closing")
    life.peerClosed(Failure(ZeroDivisionError()))
    assert core.state == "closed"
    assert world.log == [SessionLost]
    assert clock.getDelayedCalls() == []
