"""
A session with one peer: its public face, and the world of its machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import PeerRestarted, PunchError, SessionLost
from punchd.ice.pair import CandidatePair
from punchd.signaling.commands import FLIGHT_BUDGET
from punchd.signaling.offer import Offer, Role
from punchd.traversal.verdict import Verdict

from .attempting import Attempts
from .carrier import Carrier
from .context import Context, DialAnswer
from .events import Event, StreamData
from .exchange import Exchange
from .journal import Journal
from .keeping import Keeping
from .life import Core
from .machine import SessionMachine
from .paths import Paths
from .pinging import INTERVAL, Pinging
from .readiness import Readiness
from .stream import Stream
from .wiring import dialOf, makeQuic, makeStreams

#: Called with the service that the peer wants and the stream to it.
StreamOpened = Callable[["Session", str, Stream], None]

#: How often the streams are asked for what they put off, at the end.
_LAST_WORDS = 10
#: How many verdicts are remembered.
_VERDICTS = 20


class Session:
    """
    I am the session with one peer.  L{SessionMachine} decides what becomes of
    me; I do what it says (L{punchd.session.life.World}).

    @ivar peerId: the other side.
    @ivar dialId: the dial that I came from; it names the session for life.
    @ivar verdicts: how attempts ended, the last ones.
    """

    def __init__(
        self,
        context: Context,
        peerId: str,
        dialId: str,
        role: Role,
        onStream: StreamOpened,
        onClosed: Callable[[Session], None],
    ) -> None:
        self.context = context
        self.peerId = peerId
        self.dialId = dialId
        self.role = role
        self.onStream = onStream
        self.onClosed = onClosed
        self.verdicts: list[Verdict] = []
        self.reason: Failure | None = None
        self.began = context.clock.seconds()
        self.secondsToReady: float | None = None
        self.secondsToFirstByte: float | None = None
        self.secondsToDirect: float | None = None
        self.readiness: Readiness[Session] = Readiness()
        self.journal = Journal(context, self.name)
        self._zero = 0
        self._zeroWaiting: list[bytes] = []
        self._flight: list[bytes] = []
        quic = makeQuic(context, role)
        self.paths = Paths(context.mode, context.policy)
        self.carrier = Carrier(context.socket, context.clock, quic, self.paths, self)
        self.keeping = Keeping(self.carrier, context.mappingMoved)
        self.exchange = Exchange(context, self, self.carrier)
        self.pinging = Pinging(context.clock)
        self.attempts = Attempts(self)
        self.core = Core(self, context.clock, context.patience, context.linger)
        self.life = SessionMachine(self.core)
        self.streams = makeStreams(self, quic)

    # --- the face

    def dial(self) -> None:
        """
        Ask the peer for a session.
        """
        self.life.dial()
        self.journal.dialled()

    def accept(
        self,
        offer: Offer,
        sealed: bytes,
        flight: Sequence[bytes],
        observed: Sequence[Address],
    ) -> tuple[bytes, list[bytes]]:
        """
        Take the peer's offer.

        @return: the sealed answer, and the first datagrams for the peer.
        """
        answer, nonce = self.exchange.answer(offer, sealed, observed)
        self.streams.authenticate(dialOf(self, nonce))
        self.carrier.zeroReceived(flight)
        ours = self.carrier.release()
        # The peer waits for the answer: all else can wait until that has left.
        self.context.afterWriting(self._accepted)
        return answer, ours

    def _accepted(self) -> None:
        if not self.isOver:
            self.journal.accepted()
            self.life.accept()

    def whenReady(self) -> Deferred[Session]:
        """
        @return: fires when streams can be opened: both sides are who they
            should be.  Fails with why the session ended before.
        """
        return self.readiness.when()

    def openStream(self, service: str, datagrams: bool = False) -> Stream:
        """
        Open a stream to a service of the peer; the session is ready.
        """
        return self.streams.openStream(service, datagrams=datagrams)

    async def ping(self, count: int) -> list[float | None]:
        """
        @return: C{count} round trips in seconds, L{None} for one that took too
            long.
        """
        found: list[float | None] = []
        for number in range(count):
            if number:
                await deferLater(self.context.clock, INTERVAL)
            found.append(await self.pinging.ping(self.streams.ping))
        return found

    def stop(self, reason: PunchError) -> None:
        """
        End the session, and tell the peer.
        """
        self.life.stop(Failure(reason))

    def superseded(self, reason: PunchError, heir: Session | None) -> None:
        """
        The peer has no part in this session any more; who waits for it waits
        for C{heir} from now on.
        """
        if heir is not None:
            self.readiness.inherit(heir.readiness)
        self.life.peerClosed(Failure(reason))

    @property
    def name(self) -> str:
        """
        What the user calls the peer.
        """
        return self.context.nameOf(self.peerId)

    @property
    def state(self) -> str:
        """
        The state of the machine, for people to read.
        """
        return self.core.state

    @property
    def isOver(self) -> bool:
        """
        Whether nothing more will come of it.
        """
        return self.core.state in ("closing", "closed")

    # --- what the rendezvous brings

    def trickled(self, update: bytes, datagrams: Sequence[bytes]) -> None:
        """
        The peer sent more through the rendezvous.
        """
        if update:
            self.exchange.updated(update)
        self.carrier.zeroReceived(datagrams)

    def resumed(
        self, offer: Offer, sealed: bytes, observed: Sequence[Address]
    ) -> bytes:
        """
        The peer wants new paths for this session.

        @return: the sealed answer.
        """
        answer, _ = self.exchange.answer(offer, sealed, observed)
        self.carrier.speculate()
        self.context.afterWriting(self.exchange.beginChecks)
        return answer

    def saidGoodbye(self, reason: str) -> None:
        """
        The peer ended the dial, says the rendezvous; a session with a path
        hears it from the peer itself.
        """
        if self.state in ("signaling", "checking", "recovering"):
            self.life.peerClosed(Failure(SessionLost(f"The peer ended it: {reason}")))

    def disowned(self, restarted: bool) -> None:
        """
        The peer proved that it knows nothing of this session any more.
        """
        error = PeerRestarted() if restarted else SessionLost("The peer ended it.")
        self.life.peerClosed(Failure(error))

    # --- World

    def sendOffer(self) -> Deferred[None]:
        """
        Dial; the first flight of QUIC rides along.
        """
        self.carrier.quic.call(self.carrier.quicCore.start)
        sealed = self.exchange.offer()
        dialled = self.context.link.dial(
            self.peerId, self.dialId, sealed, self.carrier.release()
        )
        self.carrier.captured = []
        self.context.afterWriting(self.attempts.relaying.prepare)

        def answered(got: DialAnswer) -> None:
            nonce = self.exchange.takeAnswer(sealed, got.answer, got.observed)
            self.journal.answered()
            self.streams.authenticate(dialOf(self, nonce))
            self.carrier.release()
            self._flight = list(got.flight)

        return dialled.addCallback(answered)

    def startAttempts(self) -> Mapping[str, Deferred[Verdict]]:
        """
        Check for direct paths, and get a relayed one.
        """
        # A NAT may show the peer a new address of ours: checks introduce it, so
        # that the data behind them is known.
        self.exchange.beginChecks()
        flight, self._flight = self._flight, []
        self.carrier.zeroReceived(flight)
        return self.attempts.start()

    def startRecovery(self) -> Mapping[str, Deferred[Verdict]]:
        """
        Check the old paths again, and ask the peer for new ones.
        """
        return self.attempts.recover()

    def sendKeepalives(self) -> float:
        """
        Refresh the bindings of idle paths.
        """
        return self.keeping.keepAlive(self.context.keepalive)

    def suspectPaths(self) -> None:
        """
        Check all pairs at once.
        """
        self.carrier.suspect()

    def carried(self, kind: str | None) -> None:
        """
        Say so in the log.
        """
        self.journal.carried(self.paths.current)

    def noteVerdict(self, verdict: Verdict) -> None:
        """
        Remember how an attempt ended.
        """
        self.journal.verdict(verdict)
        self.attempts.learning.verdict(verdict)
        self.verdicts.append(verdict)
        del self.verdicts[:-_VERDICTS]

    def sayGoodbye(self, reason: Failure) -> None:
        """
        Tell the peer, by all means there are.
        """
        text = reason.getErrorMessage()
        self.streams.close(text)
        self.context.link.bye(self.dialId, text)

    def release(self, reason: Failure) -> None:
        """
        Give everything back.
        """
        self.reason = reason
        self.exchange.stop()
        self.attempts.traversal.release()
        self.context.link.bye(self.dialId, reason.getErrorMessage())
        self.streams.lose(reason)
        # What streams tell their protocols is put off: there is no later.
        for _ in range(_LAST_WORDS):
            if self.streams.deadline() is None:
                break
            self.streams.due(self.carrier.quic.now())
        self.carrier.close()
        self.pinging.stop()
        self.readiness.fail(reason)
        self.journal.ended(reason.getErrorMessage())
        self.onClosed(self)

    # --- carrier.Listener

    def sendZero(self, datagrams: Sequence[bytes]) -> None:
        """
        Send session datagrams through the rendezvous, within its budget.
        """
        self._zero += sum(len(data) + 2 for data in datagrams)
        if self._zero <= FLIGHT_BUDGET and self.core.state != "signaling":
            if not self._zeroWaiting:
                # In one piece, and behind the copies that travel faster.
                self.context.clock.callLater(0, self._flushZero)
            self._zeroWaiting += datagrams

    def _flushZero(self) -> None:
        waiting, self._zeroWaiting = self._zeroWaiting, []
        if not self.isOver:
            self.context.link.trickle(self.exchange.dialId, b"", waiting)

    def pathSwitched(self, pair: CandidatePair | None) -> None:
        """
        Another pair carries the session, or none does.
        """
        if pair is None:
            self.life.pathsLost()
            return
        self.carrier.quic.call(self.streams.pathChanged)
        if pair.kind == "direct":
            if self.secondsToDirect is None:
                self.secondsToDirect = self._age()
            self.life.carriedDirectly()
        else:
            self.life.carriedByRelay()
        self.attempts.proven(pair)

    def remoteLearned(self, remote: Address) -> None:
        """
        The peer came from one more address: let it in at the relay too.
        """
        self.exchange.remoteLearned(remote)

    def checkSeen(
        self, what: Literal["arrived", "answered"], pair: CandidatePair
    ) -> None:
        """
        The peer reaches us on a pair, or we reach it.
        """
        self.journal.check(what, pair)
        if what == "answered" and self.carrier.paths.allows(pair):
            self.carrier.quic.call(self.streams.pathFound)
        self.attempts.traversal.seen(pair)

    def checksFinished(self) -> None:
        """
        The agent has nothing left to check.
        """
        self.attempts.finished()

    def quicHappened(self, event: Event) -> None:
        """
        QUIC has an event.
        """
        if isinstance(event, StreamData):
            if self.secondsToFirstByte is None:
                self.secondsToFirstByte = self._age()
            # The control streams are unidirectional ones (RFC 9000, section 2.1).
            if not event.id & 2:
                self.journal.heard(self.carrier.cameBy)
        self.streams.eventReceived(event)

    # --- streams

    def admitted(self) -> None:
        """
        Both sides are who they should be.
        """
        self.secondsToReady = self._age()
        self.readiness.ready(self)
        self.life.streamsChanged(self.streams.count)

    def _age(self) -> float:
        return self.context.clock.seconds() - self.began
