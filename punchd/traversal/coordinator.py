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
from typing import Any, Final

from punchd.core import Address, Datagram, Entropy
from punchd.nat.model import PortModel

from .attempting import Ground
from .budget import Allowance, Budget
from .events import Concluded, Over, Shot, Sockets, Tell, Terrain
from .measuring import Measuring
from .plan import plan, why
from .verdict import Outcome, Reason, Verdict

#: Seconds to wait for the peer's model, and for the leader's next word.
PATIENCE: Final = 20.0
#: Strategies that end so have not missed an open port.
_NO_MISSES: Final = {Reason.OUT_OF_REACH, Reason.NOT_POSSIBLE, Reason.NOT_CONNECTED}
SPRAY_PATIENCE: Final = 60.0


class Coordinator:
    """
    I obey the contract of L{punchd.core.Core}; the datagrams are STUN with
    servers, the events L{Tell}, L{Shot}, L{Concluded} and L{Over}.

    @ivar running: whether something is going on.
    @ivar strategy: the name of the one at work.
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
    ) -> None:
        """
        @param survey: called when something begins.
        """
        self.leader = leader
        self.running = False
        self.allowance = Allowance(budget)
        self._sockets = sockets
        self._budget = budget
        self._strategies = {each.name: each for each in strategies}
        self.entropy = entropy
        self._survey = survey
        self._terrain = survey()
        self._measuring = Measuring(sockets, budget, entropy)
        self._theirs: PortModel | None = None
        self._queue: list[Any] | None = None
        self._ground: Ground | None = None
        self._until: float | None = None
        self._heldUntil: float | None = None
        self._planned = False
        self._reasons: set[Reason] = set()
        self.events: list[object] = []

    @property
    def strategy(self) -> str | None:
        """
        The name of the strategy at work.
        """
        return None if self._ground is None else self._ground.name

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
        self._measuring.stop()
        self.allowance.release()
        self.running = False
        self._until = self._heldUntil = None

    def moved(self) -> None:
        """
        We are behind another NAT.
        """
        self._measuring.model = None

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
            self._conclude(Reason.NOT_HIT, now)
            self._follow(str(body.get("strategy")), now)
        elif what == "refuse" and self.leader and self._ground is not None:
            self._conclude(self._reasonOf(body), now)
            self._proceed(now)
        elif what == "over" and not self.leader:
            self._takeModel(body, now)
            self._conclude(Reason.NOT_HIT, now)
            self._finish(self._reasonOf(body), now)
        elif what == "act" and self._ground is not None:
            if body.get("strategy") == self._ground.name:
                self._ground.attempt.told(body, now)

    def _reasonOf(self, body: dict[str, Any]) -> Reason:
        return Reason.__members__.get(str(body.get("reason")), Reason.NOT_HIT)

    def _follow(self, name: str, now: float) -> None:
        strategy = self._strategies.get(name)
        if strategy is None:
            self._say({"do": "refuse", "reason": Reason.NOT_WANTED.name})
        elif not self._start(strategy, now):
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
        return self._measuring.model or PortModel()

    def _measure(self, now: float) -> None:
        terrain = self._terrain
        self._measuring.measure(terrain.servers, terrain.rtt, self._measured, now)

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
        if self._measuring.busy or self._theirs is None:
            return
        ours, theirs = self.model, self._theirs
        if self._queue is None:
            self._queue = plan(self._strategies.values(), ours, theirs)
            self._planned = bool(self._queue)
        while self._queue:
            strategy = self._queue.pop(0)
            word = {"do": "begin", "strategy": strategy.name}
            self._say({**word, "model": ours.toDict(now)})
            if self._start(strategy, now):
                return
        self._finish(self._inVain(), now)

    def _inVain(self) -> Reason:
        """
        @return: why nothing is left to try.
        """
        if self._reasons - _NO_MISSES:
            return Reason.NOT_HIT
        if self._planned and not self._reasons:
            return Reason.BUSY
        measured = self.model.samples and self._theirs and self._theirs.samples
        return Reason.OUT_OF_REACH if measured else Reason.NOT_MEASURED

    def _start(self, strategy: Any, now: float) -> bool:
        if strategy.name == "spray" and not self._budget.beginSpray(self):
            return False
        self._terrain = self._survey()
        self._until = now + (SPRAY_PATIENCE if strategy.name == "spray" else PATIENCE)
        ours, theirs = self.model, self._theirs or PortModel()
        self._ground = Ground(self, self._terrain, ours, theirs, now)
        self._ground.begin(strategy, now)
        return True

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

    def _conclude(self, reason: Reason, now: float, **evidence: object) -> None:
        ground = self._ground
        if ground is None:
            return
        self._endGround()
        found = {**ground.evidence(now), **evidence}
        self._reasons.add(reason)
        verdict = Verdict(ground.name, Outcome.FAILED, reason, found)
        self.events.append(Concluded(verdict))

    def _endGround(self) -> None:
        ground, self._ground = self._ground, None
        if ground is not None:
            ground.finish()
            self._budget.endSpray(self)

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

    def openSocket(self) -> Address | None:
        """
        @return: one more socket, within the budget.
        """
        if not self.allowance.openSocket():
            return None
        return self._sockets.openSpare()

    def openStream(self, family: int) -> Address | None:
        """
        @return: a TCP port, within the budget.
        """
        if not self.allowance.openStream():
            return None
        return self._sockets.openStream(family)

    def closeSocket(self, base: Address) -> None:
        """
        Give one back.
        """
        self._sockets.closeSpare(base)

    def sample(self, base: Address, now: float) -> None:
        """
        Ask where a socket is seen.
        """
        self.allowance.send(True, now)

        def sampled(mapped: Address | None, now: float) -> None:
            if self._ground is not None:
                self._ground.attempt.sampled(base, mapped, now)

        terrain = self._terrain
        self._measuring.sample(base, terrain.servers[:1], terrain.rtt, sampled, now)

    def shoot(self, shot: Shot) -> None:
        """
        Send a check.
        """
        self.events.append(shot)

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
        told = ground and getattr(ground.attempt, "streamHappened", None)
        if told:
            told(event, now)

    # --- the contract of a core object

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        A server answered, perhaps somebody else.
        """
        self._measuring.datagramReceived(data, local, remote, now)

    def timeReached(self, now: float) -> None:
        """
        Do what is due.
        """
        self._measuring.timeReached(now)
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
        return self._measuring.takeDatagrams()

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
        due = [self._measuring.deadline(), self._until]
        if self._heldUntil is not None:
            due.append(self._heldUntil)
        elif self._ground is not None:
            due.append(self._ground.attempt.deadline())
        return min((each for each in due if each is not None), default=None)
