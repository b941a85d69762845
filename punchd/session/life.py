"""
The vocabulary of a session's life: what can happen to it (L{Life}), what it
can make happen (L{World}), and what its states hold (L{Held}, L{Core}).

The machine itself is in L{punchd.session.machine}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.traversal.verdict import Verdict


class World(Protocol):
    """
    What the machine can make happen; L{punchd.session.session.Session}.
    """

    def sendOffer(self) -> Deferred[None]:
        """
        Dial: fires when the answer was taken, fails as the dial failed.
        """

    def startAttempts(self) -> Mapping[str, Deferred[Verdict]]:
        """
        Begin whatever may lead to a better path than the current one.
        """

    def startRecovery(self) -> Mapping[str, Deferred[Verdict]]:
        """
        Begin whatever may lead to any path, through the rendezvous too.
        """

    def sendKeepalives(self) -> float:
        """
        Refresh the idle paths.

        @return: seconds until this is wanted again.
        """

    def suspectPaths(self) -> None:
        """
        Find out at once which paths still work.
        """

    def carried(self, kind: str | None) -> None:
        """
        The session is now carried C{"direct"}ly, C{"relayed"}, or not at all.
        """

    def noteVerdict(self, verdict: Verdict) -> None:
        """
        An attempt ended.
        """

    def sayGoodbye(self, reason: Failure) -> None:
        """
        Tell the peer, and fail all streams.
        """

    def release(self, reason: Failure) -> None:
        """
        The session is over: give everything back.
        """


class Life(Protocol):
    """
    What can happen to a session.
    """

    def dial(self) -> None:
        """
        Somebody here wants the peer.
        """

    def accept(self) -> None:
        """
        The peer's offer was accepted.
        """

    def answered(self) -> None:
        """
        The peer's answer was taken.
        """

    def dialFailed(self, reason: Failure) -> None:
        """
        There is no answer, and none will come.
        """

    def carriedDirectly(self) -> None:
        """
        A direct path was proven and carries the session.
        """

    def carriedByRelay(self) -> None:
        """
        A relayed path carries the session.
        """

    def pathsLost(self) -> None:
        """
        No path works any more.
        """

    def attemptEnded(self, verdict: Verdict) -> None:
        """
        An attempt has its verdict.
        """

    def headStartElapsed(self) -> None:
        """
        A direct path had its chance to come first.
        """

    def relayTookOver(self) -> None:
        """
        A relayed path is there, and no direct one came before it.
        """

    def keepaliveElapsed(self) -> None:
        """
        The idle paths want a packet.
        """

    def retryElapsed(self) -> None:
        """
        It is time to try again.
        """

    def patienceElapsed(self) -> None:
        """
        The session was without a path for as long as it may be.
        """

    def networkChanged(self) -> None:
        """
        Our addresses changed, or the machine slept.
        """

    def peerGone(self) -> None:
        """
        The rendezvous saw the peer's connection close.
        """

    def peerReturned(self) -> None:
        """
        The rendezvous sees the peer again, and it is the same program.
        """

    def peerClosed(self, reason: Failure) -> None:
        """
        The peer said goodbye, or it was shown that it has no such session.
        """

    def streamsChanged(self, count: int) -> None:
        """
        C{count} streams are open now.
        """

    def lingerElapsed(self) -> None:
        """
        No stream was opened for as long as an idle session is kept.
        """

    def goodbyeElapsed(self) -> None:
        """
        The goodbye had its time.
        """

    def failed(self, reason: Failure) -> None:
        """
        The session cannot go on.
        """

    def stop(self, reason: Failure) -> None:
        """
        Somebody here ends the session.
        """


@dataclass
class Held:
    """
    What a state holds and must cancel.
    """

    attempts: dict[str, Deferred[Verdict] | Deferred[None]] = field(
        default_factory=dict
    )
    calls: dict[str, IDelayedCall] = field(default_factory=dict)

    def cancel(self) -> None:
        """
        Cancel everything that is still pending.
        """
        self.cancelCalls()
        attempts, self.attempts = self.attempts, {}
        for attempt in list(attempts.values()):
            attempt.cancel()

    def cancelCalls(self) -> None:
        """
        Cancel the delayed calls only.
        """
        calls, self.calls = self.calls, {}
        for call in calls.values():
            if call.active():
                call.cancel()


@dataclass
class Core:
    """
    What all states share.

    @ivar patience: seconds without any path before the session fails.
    @ivar linger: seconds without any stream before it ends.
    """

    world: World
    clock: IReactorTime
    patience: float = 120.0
    linger: float = 600.0

    # internal state
    held: Held = field(default_factory=Held)
    failures: int = 0
    peerIsGone: bool = False
    relayProven: bool = False
    state: str = "idle"
    reason: Failure | None = None
    lingering: IDelayedCall | None = None
    log: ClassVar[Logger] = Logger()

    def do(self, life: Life, f: Callable[[], None]) -> None:
        """
        Call out; an exception becomes the input C{failed}.
        """
        try:
            f()
        except Exception:
            reason = Failure()
            self.log.failure("A session step failed", reason)
            life.failed(reason)

    def later(self, name: str, delay: float, f: Callable[[], None]) -> None:
        """
        Hold a delayed call under a name, instead of an earlier one.
        """
        earlier = self.held.calls.pop(name, None)
        if earlier is not None and earlier.active():
            earlier.cancel()
        self.held.calls[name] = self.clock.callLater(delay, f)

    def run(self, life: Life, attempts: Mapping[str, Deferred[Verdict]]) -> None:
        """
        Hold the attempts, and feed their verdicts back.
        """
        held = self.held
        for name, attempt in attempts.items():
            held.attempts[name] = attempt

            def ended(verdict: Verdict, name: str = name) -> None:
                held.attempts.pop(name, None)
                life.attemptEnded(verdict)

            def broke(failure: Failure, name: str = name) -> None:
                held.attempts.pop(name, None)
                if failure.check(CancelledError) is None:
                    self.log.failure("The attempt {name} broke", failure, name=name)

            attempt.addCallbacks(ended, broke)

    def fresh(self, keepAttempts: bool) -> Held:
        """
        Begin a state: a new L{Held}, with the attempts of the last one or
        without them.
        """
        last, self.held = self.held, Held()
        last.cancelCalls()
        if keepAttempts:
            # The callbacks of a running attempt look for it where it began.
            self.held.attempts = last.attempts
        else:
            last.cancel()
        return self.held
