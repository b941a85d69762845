"""
The life of a session with one peer: the one state machine.

Rules.

  1. Everything that decides whether a session lives, on which kind of path,
     and for how long it may look for one, is in this file.
  2. A state holds what must be cancelled when it is left: the L{Deferred} of
     each running attempt, and the delayed calls of keepalive, relay head
     start, patience and retry.
  3. Inputs are facts in the past tense.  They return nothing, may come in any
     state, and never raise: what they cause goes through
     L{Core.do<punchd.session.life.Core.do>}, which turns an exception into the
     input C{failed}.
  4. Packets do not come here.  L{punchd.session.paths} looks at packets, and
     tells this machine only that another kind of path carries the session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automat import TypeMachineBuilder
from twisted.python.failure import Failure

from punchd.errors import PathsExhausted, SessionLost
from punchd.traversal.verdict import Verdict

from .life import Core, Held, Life

#: A direct path has this long to prove itself before the session counts as
#: relayed; data flows meanwhile on every path that may work.
HEAD_START = 0.25
#: How long a peer may be without a path once the rendezvous saw it leave.
GONE_PATIENCE = 30.0
_GONE = "The peer left the rendezvous, and no path to it works any more."
#: How long a goodbye may take.
GOODBYE = 0.5
#: Seconds before a direct path is tried again, by the number of failures.
RETRIES = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
#: The same for a session that has no path at all.
RECOVERIES = (0.0, 1.0, 2.0, 4.0, 8.0)


def makeMachine() -> Callable[[Core], Life]:
    """
    Build the machine.
    """
    machine = TypeMachineBuilder(Life, Core)

    def signaling(life: Life, core: Core) -> Held:
        held = core.fresh(keepAttempts=False)
        core.state = "signaling"

        def send() -> None:
            offer = core.world.sendOffer()
            held.attempts["dial"] = offer
            offer.addCallbacks(lambda _: life.answered(), life.dialFailed)

        core.do(life, send)
        return held

    def checking(life: Life, core: Core) -> Held:
        # The dial has ended by itself: it is not to be cancelled.
        core.held.attempts.pop("dial", None)
        held = core.fresh(keepAttempts=False)
        core.state = "checking"
        core.later("relay head start", HEAD_START, life.headStartElapsed)
        core.later("patience", min(core.patience, 30.0), life.patienceElapsed)
        core.do(life, lambda: core.run(life, core.world.startAttempts()))
        return held

    def carry(life: Life, core: Core, kind: str) -> Held:
        held = core.fresh(keepAttempts=True)
        if core.state != "direct":
            # A path was proven just now; what a lost one leaves was before.
            core.peerIsGone = False
        core.state = kind
        core.failures = 0

        def begin() -> None:
            core.world.carried(kind)
            core.later("keepalive", core.world.sendKeepalives(), life.keepaliveElapsed)
            if kind == "relayed" and not held.attempts:
                core.later("retry", RETRIES[0], life.retryElapsed)

        core.do(life, begin)
        return held

    def relayed(life: Life, core: Core) -> Held:
        return carry(life, core, "relayed")

    def direct(life: Life, core: Core) -> Held:
        return carry(life, core, "direct")

    def recovering(life: Life, core: Core) -> Held:
        held = core.fresh(keepAttempts=False)
        core.state = "recovering"
        core.failures = 0
        patience = core.patience
        if core.peerIsGone:
            patience = min(patience, GONE_PATIENCE)
        core.later("patience", patience, life.patienceElapsed)
        core.do(life, lambda: core.world.carried(None))
        core.later("retry", RECOVERIES[0], life.retryElapsed)
        return held

    def closing(life: Life, core: Core, reason: Failure) -> Held:
        held = core.fresh(keepAttempts=False)
        core.state = "closing"
        core.reason = reason
        core.later("goodbye", GOODBYE, life.goodbyeElapsed)
        core.do(life, lambda: core.world.sayGoodbye(reason))
        return held

    # States:
    Idle = machine.state("Idle")
    Signaling = machine.state("Signaling", signaling)
    Checking = machine.state("Checking", checking)
    Relayed = machine.state("Relayed", relayed)
    Direct = machine.state("Direct", direct)
    Recovering = machine.state("Recovering", recovering)
    Closing = machine.state("Closing", closing)
    Closed = machine.state("Closed")

    alive = (Signaling, Checking, Relayed, Direct, Recovering)
    carrying = (Checking, Relayed, Direct, Recovering)

    # Behaviour-less state transitions:
    Idle.upon(Life.dial).to(Signaling).returns(None)
    Idle.upon(Life.accept).to(Checking).returns(None)
    Signaling.upon(Life.answered).to(Checking).returns(None)
    Checking.upon(Life.carriedDirectly).to(Direct).returns(None)
    Checking.upon(Life.relayTookOver).to(Relayed).returns(None)
    Relayed.upon(Life.carriedDirectly).to(Direct).returns(None)
    Direct.upon(Life.carriedByRelay).to(Relayed).returns(None)
    Recovering.upon(Life.carriedDirectly).to(Direct).returns(None)
    Recovering.upon(Life.carriedByRelay).to(Relayed).returns(None)
    Relayed.upon(Life.pathsLost).to(Recovering).returns(None)
    Direct.upon(Life.pathsLost).to(Recovering).returns(None)
    for state in carrying:
        state.upon(Life.stop).to(Closing).returns(None)
        state.upon(Life.failed).to(Closing).returns(None)

    # The end:
    def over(core: Core, reason: Failure) -> None:
        core.fresh(keepAttempts=False)
        core.state = "closed"
        if core.lingering is not None and core.lingering.active():
            core.lingering.cancel()
        try:
            core.world.release(reason)
        except Exception:
            core.log.failure("A session could not be released")

    def ended(life: Life, core: Core, reason: Failure) -> None:
        over(core, reason)

    def endedHolding(life: Life, core: Core, held: Held, reason: Failure) -> None:
        over(core, reason)

    ways = (Life.stop, Life.failed, Life.peerClosed)
    for way in ways:
        Idle.upon(way).to(Closed)(ended)
        Signaling.upon(way).to(Closed)(endedHolding)
    Signaling.upon(Life.dialFailed).to(Closed)(endedHolding)
    for state in carrying:
        state.upon(Life.peerClosed).to(Closed)(endedHolding)

    def exhausted(life: Life, core: Core, held: Held) -> None:
        over(core, Failure(PathsExhausted(*[_GONE] * core.peerIsGone)))

    for state in (Checking, Recovering):
        state.upon(Life.patienceElapsed).to(Closed)(exhausted)

    def saidGoodbye(life: Life, core: Core, held: Held) -> None:
        over(core, core.reason or Failure(SessionLost()))

    def goodbyeAnswered(life: Life, core: Core, held: Held, reason: Failure) -> None:
        saidGoodbye(life, core, held)

    Closing.upon(Life.goodbyeElapsed).to(Closed)(saidGoodbye)
    Closing.upon(Life.peerClosed).to(Closed)(goodbyeAnswered)

    # Which path comes first:
    def relayCame(life: Life, core: Core, held: Held) -> None:
        core.relayProven = True
        if "relay head start" not in held.calls:
            life.relayTookOver()

    def headStartOver(life: Life, core: Core, held: Held) -> None:
        held.calls.pop("relay head start", None)
        if core.relayProven:
            life.relayTookOver()

    def relayWent(life: Life, core: Core, held: Held) -> None:
        core.relayProven = False

    Checking.upon(Life.carriedByRelay).loop()(relayCame)
    Checking.upon(Life.headStartElapsed).loop()(headStartOver)
    Checking.upon(Life.pathsLost).loop()(relayWent)

    # Trying again:
    def tryAgainLater(life: Life, core: Core, held: Held, verdict: Verdict) -> None:
        core.do(life, lambda: core.world.noteVerdict(verdict))
        # Without any path nothing is waited for: an attempt may never end.
        mayTry = core.state == "recovering" or not held.attempts
        if mayTry and "retry" not in held.calls:
            delays = RECOVERIES if core.state == "recovering" else RETRIES
            delay = delays[min(core.failures, len(delays) - 1)]
            core.failures += 1
            core.later("retry", delay, life.retryElapsed)

    def noted(life: Life, core: Core, held: Held, verdict: Verdict) -> None:
        core.do(life, lambda: core.world.noteVerdict(verdict))

    def attempt(life: Life, core: Core, held: Held) -> None:
        held.calls.pop("retry", None)
        core.do(life, lambda: core.run(life, core.world.startAttempts()))

    def recover(life: Life, core: Core, held: Held) -> None:
        held.calls.pop("retry", None)
        core.do(life, lambda: core.run(life, core.world.startRecovery()))

    def attemptNow(life: Life, core: Core, held: Held) -> None:
        core.failures = 0
        core.do(life, core.world.suspectPaths)
        core.later("retry", 0.0, life.retryElapsed)

    for state in (Checking, Relayed, Recovering):
        state.upon(Life.attemptEnded).loop()(tryAgainLater)
    for state in (Signaling, Direct):
        state.upon(Life.attemptEnded).loop()(noted)
    for state in (Checking, Relayed, Direct):
        state.upon(Life.retryElapsed).loop()(attempt)
    Recovering.upon(Life.retryElapsed).loop()(recover)
    for state in carrying:
        state.upon(Life.networkChanged).loop()(attemptNow)

    # Staying alive:
    def keepAlive(life: Life, core: Core, held: Held) -> None:
        core.do(
            life,
            lambda: core.later(
                "keepalive", core.world.sendKeepalives(), life.keepaliveElapsed
            ),
        )

    for state in (Relayed, Direct):
        state.upon(Life.keepaliveElapsed).loop()(keepAlive)

    def peerWent(life: Life, core: Core, held: Held) -> None:
        core.peerIsGone = True
        core.do(life, core.world.suspectPaths)

    def peerWentToo(life: Life, core: Core, held: Held) -> None:
        core.peerIsGone = True
        core.later("patience", min(core.patience, GONE_PATIENCE), life.patienceElapsed)

    for state in (Signaling, Checking, Relayed, Direct):
        state.upon(Life.peerGone).loop()(peerWent)
    Recovering.upon(Life.peerGone).loop()(peerWentToo)

    def peerCame(life: Life, core: Core, held: Held) -> None:
        core.peerIsGone = False

    def peerCameToo(life: Life, core: Core, held: Held) -> None:
        core.peerIsGone = False
        core.later("patience", core.patience, life.patienceElapsed)
        attemptNow(life, core, held)

    for state in (Signaling, Checking, Relayed, Direct):
        state.upon(Life.peerReturned).loop()(peerCame)
    Recovering.upon(Life.peerReturned).loop()(peerCameToo)

    # Ending for want of use:
    def countStreams(life: Life, core: Core, held: Held, count: int) -> None:
        if core.lingering is not None and core.lingering.active():
            core.lingering.cancel()
        core.lingering = None
        if count == 0:
            core.lingering = core.clock.callLater(core.linger, life.lingerElapsed)

    def unused(life: Life, core: Core, held: Held) -> None:
        life.stop(Failure(SessionLost("The session was idle for too long.")))

    for state in alive:
        state.upon(Life.streamsChanged).loop()(countStreams)
        state.upon(Life.lingerElapsed).loop()(unused)

    # Facts that change nothing where they come:
    starts = (Life.dial, Life.accept, Life.answered)
    paths = (Life.carriedDirectly, Life.carriedByRelay, Life.pathsLost)
    timers = (
        Life.headStartElapsed,
        Life.relayTookOver,
        Life.keepaliveElapsed,
        Life.retryElapsed,
        Life.patienceElapsed,
        Life.lingerElapsed,
    )
    ends = (Life.dialFailed, Life.failed, Life.stop)
    news = (
        Life.networkChanged,
        Life.peerGone,
        Life.peerReturned,
        Life.streamsChanged,
    )
    late = (Life.headStartElapsed, Life.relayTookOver, Life.goodbyeElapsed)
    ignored: dict[Any, tuple[Callable[..., None], ...]] = {
        Idle: (
            Life.answered,
            Life.dialFailed,
            Life.attemptEnded,
            Life.goodbyeElapsed,
            *paths,
            *timers,
            *news,
        ),
        Signaling: (
            Life.dial,
            Life.accept,
            Life.keepaliveElapsed,
            Life.retryElapsed,
            Life.patienceElapsed,
            Life.networkChanged,
            *paths,
            *late,
        ),
        Checking: (
            *starts,
            Life.dialFailed,
            Life.keepaliveElapsed,
            Life.goodbyeElapsed,
        ),
        Relayed: (
            *starts,
            Life.dialFailed,
            Life.carriedByRelay,
            Life.patienceElapsed,
            *late,
        ),
        Direct: (
            *starts,
            Life.dialFailed,
            Life.carriedDirectly,
            Life.patienceElapsed,
            *late,
        ),
        Recovering: (
            *starts,
            Life.dialFailed,
            Life.pathsLost,
            Life.keepaliveElapsed,
            *late,
        ),
        Closing: (*starts, *paths, *timers, *ends, *news, Life.attemptEnded),
        Closed: (
            *starts,
            *paths,
            *timers,
            *ends,
            *news,
            Life.attemptEnded,
            Life.peerClosed,
            Life.goodbyeElapsed,
        ),
    }
    for place, facts in ignored.items():
        for harmless in facts:
            place.upon(harmless).loop().returns(None)
    return machine.build()


SessionMachine = makeMachine()
