"""
The attempt that begins when plain checks do not get through: prediction, spray,
and what other strategies there are, while a relay carries the session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from punchd.core import Address
from punchd.ice.candidate import Candidate, reflexiveCandidate
from punchd.ice.pair import CandidatePair
from punchd.interfaces import IDatagramReceiver
from punchd.net.driver import Driver
from punchd.stun.message import isMessage
from punchd.traversal.budget import Backoff
from punchd.traversal.coordinator import Coordinator
from punchd.traversal.events import (
    Concluded,
    Connect,
    LeaseReleased,
    LeaseWanted,
    Locate,
    Over,
    Shot,
    Tell,
    Terrain,
)
from punchd.traversal.verdict import Outcome, Reason, Verdict

from .attempts import textOf
from .connections import Connections
from .haste import Haste
from .leasing import Leasing

if TYPE_CHECKING:
    from .session import Session

#: Round trips after which plain checks have clearly not got through.
NEED: Final = 4.0
#: Seconds that a relayed path is waited for.
PATIENCE: Final = 10.0
#: Seconds between looks whether it can begin.
_AGAIN: Final = 0.1
#: Seconds from one beginning that the peer wants to the next.
_SPACING: Final = 5.0
#: Seconds that a pair which works has to prove itself.
_PROOF: Final = 2.0
_ASSUMED_RTT: Final = 0.2
#: What a path is called whose pair was known before the peer came by it.
_PLAIN: Final = ("host", "srflx", "prflx")


@implementer(IDatagramReceiver)
class Traversal:
    """
    I join a L{Coordinator} with one session.

    @ivar running: whether there is no verdict yet.
    @ivar haste: has QUIC repeat soon what we tell the peer.
    """

    def __init__(self, session: Session) -> None:
        context = session.context
        self._session = session
        self._context = context
        self._leads = session.role == "dialler"
        self._backoff = Backoff()
        self._waiting: Deferred[Verdict] | None = None
        self._call: IDelayedCall | None = None
        self._began = 0.0
        self._invited = float("-inf")
        self._servers: tuple[Address, ...] = ()
        self._spares: dict[Address, Candidate] = {}
        self._network: object = None
        self._refusedFor = 0.0
        self.connections = Connections(session, self._streamHappened)
        self._coordinator = Coordinator(
            leader=self._leads,
            sockets=self,
            budget=context.budget,
            strategies=context.strategies,
            entropy=context.entropy,
            survey=self._survey,
            fit=context.fit,
        )
        self._leasing = Leasing(context, self._leased)
        self.haste = Haste(context.clock, self._resend)
        self._driver = Driver(
            self._coordinator, context.socket.send, self._happened, context.clock
        )

    @property
    def running(self) -> bool:
        """
        Whether an attempt is going on, or waits to be needed.
        """
        return self._waiting is not None

    @property
    def flows(self) -> int:
        """
        How many flows the last attempt has made.
        """
        return self._coordinator.allowance.flows

    # --- beginning

    def start(self) -> Deferred[Verdict] | None:
        """
        Begin as soon as there is a need and a way to coordinate.

        @return: the attempt, or L{None}: the peer leads, or it is too early to
            try again.
        """
        context, now = self._context, self._context.clock.seconds()
        if not self._leads or self.running or not context.strategies:
            return None
        self._lookAround()
        if context.mode != "auto" or not self._backoff.mayTry(now):
            return None
        self._began = now
        # Where a side was seen by no server, no check over UDP can come through.
        seen = context.gathering.mapped and self._session.exchange.hosts
        known = self._session.attempts.learning.recall(self._coordinator)
        wait = NEED * (context.rtt or _ASSUMED_RTT)
        self._look(wait if seen and not known else 0.0)
        return self._wait()

    def _wait(self) -> Deferred[Verdict]:
        waiting: Deferred[Verdict] = Deferred(lambda _: self._cancelled())
        self._waiting = waiting
        return waiting

    def _look(self, delay: float) -> None:
        self._call = self._context.clock.callLater(delay, self._looked)

    def _looked(self) -> None:
        self._call = None
        session = self._session
        pairs = session.carrier.pairs
        if self._context.clock.seconds() - self._began > PATIENCE:
            self._drop()
        elif any(pair.valid and pair.kind == "direct" for pair in pairs):
            self._look(_PROOF)
        elif session.paths.current is None or session.secondsToReady is None:
            self._look(_AGAIN)
        else:
            self._prepare()
            self._driver.call(self._coordinator.begin)

    def _lookAround(self) -> None:
        """
        In another network nothing counts that was before.
        """
        gathering = self._context.gathering
        mapped = gathering.mapped.get(4)
        network = (gathering.hosts(), None if mapped is None else mapped[0])
        if network != self._network:
            self._network = network
            self._backoff.reset()
            self._coordinator.moved()

    def _prepare(self) -> None:
        self._lookAround()
        for base in [*self._spares, *self.connections.ports]:
            self.closeSpare(base)
        self._servers = tuple(self._context.servers)
        for server in self._servers:
            self._context.socket.demux.register(server, self)

    def told(self, body: Mapping[str, Any]) -> None:
        """
        The peer says something, inside the session.
        """
        session, now = self._session, self._context.clock.seconds()
        if self._context.mode != "auto" or not self._context.strategies:
            return
        if body.get("do") == "measure" and not self._leads:
            if now - self._invited < _SPACING:
                return
            self._invited = self._began = now
            self._prepare()
            session.attempts.learning.recall(self._coordinator)
            if not self.running:
                session.core.run(session.life, {"traversal": self._wait()})
        self._driver.call(self._coordinator.told, dict(body))

    # --- what becomes of it

    def seen(self, pair: CandidatePair) -> None:
        """
        A check arrived or was answered.
        """
        if pair.kind == "direct" and self._coordinator.running:
            self._driver.call(self._coordinator.hold, _PROOF)

    def proven(self, pair: CandidatePair) -> None:
        """
        A direct path carries the session.
        """
        running = self._coordinator.running
        strategy = self._coordinator.strategy
        came = self._coordinator.waits and pair.strategy in _PLAIN
        evidence = self._coordinator.success(self._driver.now())
        self._backoff.reset()
        self.stop()
        for base in list(self._spares):
            if base != pair.local.base:
                self._close(base)
        self.connections.settle()
        if not running:
            # It was never needed: there is nothing to tell.
            self._drop()
        elif strategy is not None and (pair.strategy == strategy or came):
            found = {
                **evidence,
                "local": textOf(pair.local.base),
                "remote": textOf(pair.remote.address),
            }
            self._end(Verdict(strategy, Outcome.SUCCEEDED, Reason.PROVEN, found))
        else:
            self._end(
                Verdict("traversal", Outcome.CANCELLED, Reason.SUPERSEDED, evidence)
            )

    def stop(self) -> None:
        """
        Shoot no more, and give back what is not in use.
        """
        self.haste.stop()
        self._leasing.stop()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._driver.call(self._coordinator.stop)
        carrier = self._session.carrier
        if carrier.agent is not None:
            carrier.ice(carrier.agent.forgetShots)
        for server in self._servers:
            self._context.socket.demux.unregister(server, self)
        self._servers = ()

    def release(self) -> None:
        """
        The session is over.
        """
        self.stop()
        self._drop()
        for base in list(self._spares):
            self._close(base)
        self.connections.closeAll()
        self._driver.stop()

    def _cancelled(self) -> None:
        """
        The machine does not want it any more.
        """
        self._waiting = None
        self.stop()

    def _drop(self) -> None:
        """
        End without a verdict.
        """
        waiting = self._waiting
        if waiting is not None:
            waiting.cancel()

    def _end(self, verdict: Verdict) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(verdict)

    # --- what the coordinator wants

    def _happened(self, event: object) -> None:
        if isinstance(event, Tell):
            body = json.dumps({**event.body, "traversal": 1}).encode()
            if self._coordinator.running:
                # It leaves in one packet with that.
                number = self._session.carrier.quicCore.ping()
                self.haste.begin(number, self._rtt())
            self._session.streams.sendCandidate(body)
        elif isinstance(event, Shot):
            self._shoot(event)
        elif isinstance(event, (Locate, Connect)):
            self.connections.act(event)
        elif isinstance(event, Concluded):
            self._session.noteVerdict(event.verdict)
        elif isinstance(event, (LeaseWanted, LeaseReleased)):
            self._leasing.happened(event)
        elif isinstance(event, Over):
            self._pause(event.verdict)
            self.stop()
            self._end(event.verdict)

    def _leased(self, name: str, wait: float) -> None:
        if wait:
            self._refusedFor = wait
        self._driver.call(self._coordinator.leased, name, wait)

    def _resend(self) -> None:
        carrier = self._session.carrier
        carrier.quic.call(carrier.quicCore.resend)

    def _pause(self, verdict: Verdict) -> None:
        wait = self._refusedFor if verdict.reason is Reason.BUSY else None
        self._backoff.failed(self._context.clock.seconds(), wait)

    def _shoot(self, shot: Shot) -> None:
        carrier = self._session.carrier
        if carrier.agent is None:
            return
        if shot.strategy != "spray":
            # The answer may be the first that comes from there.
            carrier.addRemote(shot.remote)
        local = reflexiveCandidate(shot.base, shot.base, source=shot.strategy)
        if shot.base in self._spares:
            self._spares[shot.base] = local
        carrier.ice(carrier.agent.shoot, local, shot.remote, shot.ttl)

    def _rtt(self) -> float:
        current = self._session.paths.current
        rtt = None if current is None else current.rtt
        return _ASSUMED_RTT if rtt is None else rtt

    def _survey(self) -> Terrain:
        context, session = self._context, self._session
        bases = [each for each in context.gathering.hosts() if ":" not in each[0]]
        mapped = context.gathering.mapped.get(4)
        return Terrain(
            # Who did not tell where we are drops our UDP, or has it dropped.
            [each for each in context.servers if mapped and ":" not in each[0]],
            bases[0] if bases else None,
            mapped,
            frozenset(session.exchange.hosts),
            self._rtt(),
            context.openerTtl,
            context.servers,
            context.surveyed(mapped),
            context.publicHost if mapped is None else mapped[0],
            context.doors(),
        )

    # --- coordinator.Sockets

    def openSpare(self) -> Address | None:
        """
        @return: the base of a new socket.
        """
        base = self._context.socket.openSpare()
        if base is not None:
            self._spares[base] = reflexiveCandidate(base, base)
        return base

    def closeSpare(self, base: Address) -> None:
        """
        Close one, or a TCP port, unless it is in use.
        """
        for pair in self._session.carrier.pairs:
            if pair.local.base == base and pair.valid:
                return
        if base in self._spares:
            self._close(base)
        self.connections.close(base)

    def openStream(self, family: int) -> Address | None:
        """
        @return: the base of a new TCP port.
        """
        return self.connections.open(family)

    def _streamHappened(self, event: object) -> None:
        self._driver.call(self._coordinator.streamHappened, event)

    def _close(self, base: Address) -> None:
        candidate = self._spares.pop(base)
        carrier = self._session.carrier
        if carrier.agent is not None:
            carrier.ice(carrier.agent.removeLocalCandidate, candidate)
        self._context.socket.closeSpare(base)

    # --- IDatagramReceiver

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        A server sent something.
        """
        if isMessage(data):
            self._driver.datagramReceived(data, local, remote)
