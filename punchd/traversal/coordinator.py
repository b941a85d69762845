"""
The two peers' attempts to get through, after the plain checks did not.

A relay carries the session, and the messages of this: one side, the leader, asks
both to measure their NATs; from both models each sees the same plan; strategy by
strategy is begun by the leader at both sides, until a direct pair works or none
is left.

Messages are JSON objects inside the authenticated session.  Shots go only to
hosts at which the rendezvous has observed the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from punchd.core import Address, Datagram, Entropy
from punchd.nat.model import PortModel

from .attempting import Ground
from .budget import Allowance, Budget
from .events import Concluded, Over, Sockets, Tell, Terrain
from .lease import Lease
from .measuring import Fit, Measuring
from .plan import inVain, plan, why
from .verdict import Outcome, Reason, Verdict

#: Seconds to wait for the peer's model, and for the leader's next word.
PATIENCE: Final = 20.0
SPRAY_PATIENCE: Final = 60.0


class Coordinator:
    """
    I obey the contract of L{punchd.core.Core}; the datagrams are STUN with
    servers, the events L{Tell}, L{Shot}, L{Concluded} and L{Over}.

    @ivar running: whether something is going on.
    @ivar strategy: the name of the one at work.
    @ivar preferred: the name of one to be tried first.
    @ivar measuring: finds out how our NAT chooses ports.
    """

    def __init__(
        self,
        *,
        leader: bool,
        sockets: Sockets,
        budget: Budget,
        strategies: Sequence[Any],
        entropy: Entropy,
        survey: Callable[[], Terrain],
        fit: Fit | None = None,
    ) -> None:
        """
        @param survey: called when something begins.
        """
        self.leader = leader
        self.running = False
        self.allowance = Allowance(budget)
        self.sockets = sockets
        self._budget = budget
        self._strategies = {each.name: each for each in strategies}
        self.entropy = entropy
        self._survey = survey
        self._terrain = survey()
        self.measuring = Measuring(sockets, budget, entropy, fit)
        self._lease = Lease(budget, entropy, lambda event: self.events.append(event))
        self._theirs: PortModel | None = None
        self._queue: list[Any] | None = None
        self._ground: Ground | None = None
        self._until: float | None = None
        self._heldUntil: float | None = None
        self._planned = False
        self.preferred: str | None = None
        self._reasons: set[Reason] = set()
        self.events: list[object] = []

    @property
    def strategy(self) -> str | None:
        """
        The name of the strategy at work.
        """
        return None if self._ground is None else self._ground.name

    @property
    def waits(self) -> bool:
        """
        Whether that waits for the peer to come to us.
        """
        return self._ground is not None and getattr(
            self._ground.attempt, "waits", False
        )

    # --- commands

    def begin(self, now: float) -> None:
        """
        The leader begins.
        """
        self._open(now)
        self._say({"do": "measure"})
        self._measure(now)

    def _open(self, now: float) -> None:
        self.stop(now)
        self.running = True
        self._terrain = self._survey()
        self.allowance = Allowance(self._budget)
        self._theirs = self._queue = None
        self._planned = False
        self._reasons.clear()
        self._until = now + PATIENCE

    def stop(self, now: float) -> None:
        """
        Something else was successful, or nobody wants it any more.
        """
        self._endGround()
        self._lease.release()
        self.measuring.stop()
        self.allowance.release()
        self.running = False
        self._until = self._heldUntil = None

    def moved(self) -> None:
        """
        We are behind another NAT.
        """
        self.measuring.model = self.preferred = None

    def hold(self, seconds: float, now: float) -> None:
        """
        A direct pair works: shoot no more until it is proven, or until it should
        have been.
        """
        if self.running:
            self._heldUntil = now + seconds
            if self._until is not None:
                self._until = max(self._until, now + 2 * seconds)

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        The peer says something.
        """
        what = body.get("do")
        if what == "measure" and not self.leader:
            self._open(now)
            self._measure(now)
        elif not self.running:
            return
        elif what == "model" and self.leader and self._queue is None:
            self._takeModel(body, now)
            self._proceed(now)
        elif what == "begin" and not self.leader:
            self._takeModel(body, now)
            self._conclude(None, now)
            self._follow(str(body.get("strategy")), body.get("lease"), now)
        elif what == "refuse" and self.leader and self._ground is not None:
            self._conclude(self._reasonOf(body), now)
            self._proceed(now)
        elif what == "over" and not self.leader:
            self._takeModel(body, now)
            self._conclude(None, now)
            self._finish(self._reasonOf(body), now)
        elif what == "act" and self._ground is None:
            self._lease.keep(body)
        elif what == "act" and self._ground is not None:
            if body.get("strategy") == self._ground.name:
                self._ground.attempt.told(body, now)

    def _reasonOf(self, body: dict[str, Any]) -> Reason:
        return Reason.__members__.get(str(body.get("reason")), Reason.NOT_HIT)

    def _follow(self, name: str, lease: object, now: float) -> None:
        strategy = self._strategies.get(name)
        if strategy is None:
            self._say({"do": "refuse", "reason": Reason.NOT_WANTED.name})
        elif name != "spray":
            self._start(strategy, now)
        elif not self._lease.ask(strategy, lease):
            self._say({"do": "refuse", "reason": Reason.BUSY.name})

    def _takeModel(self, body: dict[str, Any], now: float) -> None:
        try:
            self._theirs = PortModel.fromDict(body.get("model"), now)
        except ValueError:
            self._theirs = PortModel()

    # --- measuring

    @property
    def model(self) -> PortModel:
        """
        How our NAT chooses ports, as far as it was measured.
        """
        model = self.measuring.model or PortModel()
        return replace(model, open=bool(self._terrain.doors))

    def _measure(self, now: float) -> None:
        self.measuring.measure(self._terrain, self._measured, now)

    def _measured(self, now: float) -> None:
        if self.leader:
            self._proceed(now)
        else:
            self._say({"do": "model", "model": self.model.toDict(now)})
            self._until = now + PATIENCE

    # --- strategies

    def _proceed(self, now: float) -> None:
        """
        Begin the next strategy, as soon as both models are known.
        """
        if self.measuring.busy or self._theirs is None:
            return
        ours, theirs = self.model, self._theirs
        if self._queue is None:
            known = self._strategies.values()
            self._queue = plan(known, ours, theirs, first=self.preferred)
            self._planned = bool(self._queue)
        while self._queue:
            strategy = self._queue.pop(0)
            if strategy.name != "spray":
                self._tellBegin(strategy, now)
                self._start(strategy, now)
            elif not self._lease.ask(strategy):
                continue
            return
        measured = bool(self.model.samples and self._theirs.samples)
        self._finish(inVain(self._reasons, self._planned, measured), now)

    def _tellBegin(self, strategy: Any, now: float) -> None:
        word = {"do": "begin", "strategy": strategy.name, "lease": self._lease.name}
        self._say({**word, "model": self.model.toDict(now)})

    def leased(self, name: str, wait: float, now: float) -> None:
        """
        The rendezvous has answered L{LeaseWanted<.events.LeaseWanted>}.

        @param wait: seconds until the lease of somebody else ends, 0 if we may
            spray.
        """
        found = self._lease.answered(name, wait)
        if found is None:
            return
        strategy, said = found
        if wait:
            evidence = {"wait": round(wait, 1)}
            verdict = Verdict(strategy.name, Outcome.FAILED, Reason.BUSY, evidence)
            self._reasons.add(Reason.BUSY)
            self.events.append(Concluded(verdict))
            if self.leader:
                self._proceed(now)
            else:
                self._say({"do": "refuse", "reason": Reason.BUSY.name})
            return
        if self.leader:
            self._tellBegin(strategy, now)
        self._start(strategy, now)
        for body in said:
            self.told(body, now)

    def _start(self, strategy: Any, now: float) -> None:
        self._terrain = self._survey()
        self._until = now + (SPRAY_PATIENCE if strategy.name == "spray" else PATIENCE)
        ours, theirs = self.model, self._theirs or PortModel()
        self._ground = Ground(self, self._terrain, ours, theirs, now)
        self._ground.begin(strategy, now)

    def attemptEnded(
        self, reason: Reason, evidence: dict[str, object], now: float
    ) -> None:
        """
        The strategy at work has nothing left to try.
        """
        self._conclude(reason, now, **evidence)
        if self.leader:
            self._proceed(now)
        else:
            self._until = now + PATIENCE

    def _conclude(self, reason: Reason | None, now: float, **evidence: object) -> None:
        ground = self._ground
        if ground is None:
            return
        # The leader has ended it.
        failure: Reason = getattr(ground.attempt, "failure", Reason.NOT_HIT)
        reason = reason or failure
        self._endGround()
        found = {**ground.evidence(now), **evidence}
        self._reasons.add(reason)
        verdict = Verdict(ground.name, Outcome.FAILED, reason, found)
        self.events.append(Concluded(verdict))

    def _endGround(self) -> None:
        ground, self._ground = self._ground, None
        if ground is not None:
            ground.finish()
            self._lease.release()

    def _finish(self, reason: Reason, now: float) -> None:
        if self.leader:
            word = {"do": "over", "reason": reason.name}
            self._say({**word, "model": self.model.toDict(now)})
        evidence = why(self.model, self._theirs or PortModel())
        self.stop(now)
        verdict = Verdict("traversal", Outcome.FAILED, reason, evidence)
        self.events.append(Over(verdict))

    def success(self, now: float) -> dict[str, object]:
        """
        @return: the evidence for the verdict of the strategy at work.
        """
        return {} if self._ground is None else self._ground.evidence(now)

    # --- for the ground

    def sample(self, base: Address, now: float) -> None:
        """
        Ask where a socket is seen.
        """
        self.allowance.send(True, now)

        def sampled(mapped: Address | None, now: float) -> None:
            if self._ground is not None:
                self._ground.attempt.sampled(base, mapped, now)

        terrain = self._terrain
        self.measuring.sample(base, terrain.servers[:1], terrain.rtt, sampled, now)

    def say(self, strategy: str, body: dict[str, Any]) -> None:
        """
        Tell the attempt at the peer.
        """
        self._say({**body, "do": "act", "strategy": strategy})

    def _say(self, body: dict[str, Any]) -> None:
        self.events.append(Tell(body))

    def streamHappened(self, event: object, now: float) -> None:
        """
        Something became of a TCP port.
        """
        ground = self._ground
        if told := ground and getattr(ground.attempt, "streamHappened", None):
            told(event, now)

    # --- the contract of a core object

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        A server answered, perhaps somebody else.
        """
        self.measuring.datagramReceived(data, local, remote, now)

    def timeReached(self, now: float) -> None:
        """
        Do what is due.
        """
        self.measuring.timeReached(now)
        if self._heldUntil is not None and now >= self._heldUntil:
            self._heldUntil = None
        ground = self._ground
        if ground is not None and self._heldUntil is None:
            due = ground.attempt.deadline()
            if due is not None and now >= due:
                ground.attempt.timeReached(now)
        if self.running and self._until is not None and now >= self._until:
            self._conclude(Reason.PEER_SILENT, now)
            self._finish(Reason.PEER_SILENT, now)

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the requests to send now.
        """
        return self.measuring.takeDatagrams()

    def takeEvents(self) -> Sequence[object]:
        """
        @return: what is to be done, in order.
        """
        found, self.events = self.events, []
        return found

    def deadline(self) -> float | None:
        """
        @return: when L{timeReached} wants to be called.
        """
        due = [self.measuring.deadline(), self._until]
        if self._heldUntil is not None:
            due.append(self._heldUntil)
        elif self._ground is not None:
            due.append(self._ground.attempt.deadline())
        return min((each for each in due if each is not None), default=None)
