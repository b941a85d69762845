"""
All streams of one session.

L{Streams} stands between a L{QuicCore<punchd.session.quic.QuicCore>}, whose
events it is fed with and whose streams it fills just in time, and the
L{Stream<punchd.session.stream.Stream>}s that Twisted's protocols use.  It
reads no clock and knows no reactor.  What has to call application code from a
clean stack is put off until the core's deadline, which is then at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.errors import (
    AuthenticationFailed,
    ProtocolViolation,
    PunchError,
    SessionLost,
)
from punchd.identity import Identity

from .auth import Dial
from .calls import refuse
from .channel import Channel
from .control import Bye, Candidate, Credit, Ends, Frame, Hello, Ping, Pong
from .events import (
    DatagramReceived,
    Event,
    HandshakeCompleted,
    PingAcknowledged,
    StreamData,
    StreamReset,
    StreamStopped,
    Terminated,
)
from .quic import QuicCore
from .stream import Stream
from .table import Table
from .turns import RoundTrip

#: What a dialler sends at most before the listener has admitted it, and what a
#: listener keeps at most before it has, in bytes; an event counts as some more.
EARLY = 256 << 10
EARLY_KEPT = 2 * EARLY
_EVENT_COST = 64

#: Application error codes of CONNECTION_CLOSE, out of the way of QUIC's own.
NO_ERROR = 0
AUTHENTICATION_FAILED = 0x70756E01
PROTOCOL_VIOLATION = 0x70756E02


def _ignore(*args: object) -> None:
    pass


class Streams:
    """
    The streams of one session.

    @ivar onIncoming: called with the service and the L{Stream} that the peer
        opened for it; calls C{accept} or C{refuse}, now or later.
    @ivar onAdmitted: called once streams may be used: the dialler has seen the
        right key, the listener a valid proof.
    @ivar onHello: called with the peer's incarnation.
    @ivar onCandidate: called with the body of a L{Candidate} frame.
    @ivar onPong: called with the bytes of a L{Ping} that was answered.
    @ivar onArrived: called with the number of a ping of QUIC's that was acknowledged.
    @ivar onBye: called with the reason when the peer ends the session.
    @ivar onLost: called with what ended the session, once.
    @ivar onCount: called with L{count} when it has changed.
    @ivar roundTrip: the smallest round-trip time lately.
    @ivar allowance: how many bytes of all streams may be sent as long as there is
        no path, if that is limited.
    """

    log = Logger()

    def __init__(
        self,
        core: QuicCore,
        *,
        clock: Callable[[], float],
        wake: Callable[[], None],
        identity: Identity,
        peerId: str,
        incarnation: str = "",
        allowance: int | None = None,
    ) -> None:
        self.allowance = allowance
        self.onIncoming: Callable[[str, Stream], object] = refuse
        self.onAdmitted: Callable[[], object] = _ignore
        self.onHello: Callable[[str], object] = _ignore
        self.onCandidate: Callable[[bytes], object] = _ignore
        self.onPong: Callable[[bytes], object] = _ignore
        self.onArrived: Callable[[int], object] = _ignore
        self.onBye: Callable[[str], object] = _ignore
        self.onLost: Callable[[Exception], object] = _ignore
        self.onCount: Callable[[int], object] = _ignore
        self.roundTrip = RoundTrip(core)
        self._core = core
        self._clock = clock
        self._wake = wake
        self._peerId = peerId
        self._channel = Channel(core, identity, peerId, incarnation)
        self._table = Table(core, identity.peerId, peerId, self._kick, clock)
        self._table.onIncoming = lambda service, s: self.onIncoming(service, s)
        self._table.onCount = lambda count: self.onCount(count)
        self._admitted = False
        self._early: list[StreamData | StreamReset | StreamStopped] = []
        self._earlyKept = 0
        self._inside = 0
        self._kicked = False
        core.source = self

    # --- for the session ----------------------------------------------------

    @property
    def admitted(self) -> bool:
        """
        Whether streams may be used.
        """
        return self._admitted

    @property
    def lost(self) -> Exception | None:
        """
        What ended the session, if it ended.
        """
        return self._table.lost

    @property
    def count(self) -> int:
        """
        How many streams are open or wait to be.
        """
        return self._table.count

    @property
    def bytesSent(self) -> int:
        """
        Bytes of all streams handed to QUIC.
        """
        return self._table.turns.sent

    @property
    def bytesReceived(self) -> int:
        """
        Bytes of all streams that came.
        """
        return self._table.received

    def authenticate(self, dial: Dial) -> None:
        """
        The dial is known; no stream is used before.
        """
        try:
            self._channel.authenticate(dial)
        except AuthenticationFailed as e:
            self._break(e)
        self._table.later(self._admitSoon)

    def openStream(
        self, service: str, protocol: Any = None, *, datagrams: bool = False
    ) -> Stream:
        """
        Open a stream to a service of the peer.  Data may be written at once,
        without waiting for C{whenOpen}.

        @param protocol: what to connect to it.
        @param datagrams: whether it is there for datagrams.

        @raise ValueError: no service can have that name.
        """
        stream = self._table.open(service, datagrams)
        if protocol is not None:
            stream.attach(protocol)
        self._kick()
        return stream

    def sendCandidate(self, body: bytes) -> None:
        """
        Tell the peer about paths.

        @raise ValueError: it is too long, see L{punchd.session.control.MAX_BODY}.
        """
        self._channel.send(Candidate(body))
        self._kick()

    def ping(self, token: bytes) -> None:
        """
        Ask the peer's program for a sign of life; L{onPong} gets it.
        """
        self._channel.send(Ping(token))
        self._kick()

    def pathFound(self, now: float) -> None:
        """
        There is a path that carries as much as one likes.
        """
        self.allowance = None

    def pathChanged(self, now: float) -> None:
        """
        The session goes another way, or can be reached again on its way.
        """
        self.roundTrip.forget()
        self._table.datagrams.pace.restart()
        self._core.resend(now)
        self._kick()

    def lose(self, reason: Exception | Failure) -> None:
        """
        Fail every stream, those that wait and those to come.
        """
        if isinstance(reason, Failure):
            error = reason.value
            reason = error if isinstance(error, Exception) else SessionLost(str(error))
        if self.lost is None:
            self._early.clear()
            self._table.fail(reason)
            self._table.later(lambda: self.onLost(reason))

    def close(self, reason: str = "") -> None:
        """
        Say goodbye, and fail every stream.  The connection is left open, so
        that QUIC repeats the goodbye until it got there.
        """
        self._core.note(self._clock())
        if self.lost is None:
            self._channel.send(Bye(reason))
            self._channel.flush()
        self.lose(SessionLost(reason))
        self._kick()

    def eventReceived(self, event: Event) -> None:
        """
        Take an event of the core.
        """
        self._inside += 1
        try:
            self._event(event)
        except (ProtocolViolation, AuthenticationFailed) as e:
            self._break(e)
        finally:
            self._inside -= 1
        if self._kicked and not self._inside:
            self._kicked = False
            self._wake()

    # --- for the core, see L{punchd.session.source} -------------------------

    def fill(self) -> bool:
        """
        Hand over what QUIC should send next.

        @return: whether there was anything.
        """
        if not self._admitted or self.lost is not None:
            return False
        if self._table.quiet and self._channel.quiet:
            # It is asked several times for each packet.
            return False
        self._inside += 1
        try:
            moved = self._flush()
            self._table.openWaiting()
            limit = self.allowance
            if limit is None and self._core.isClient and self._channel.greeted is None:
                limit = EARLY
            filled = self._table.turns.fill(limit)
            if self._table.datagrams.fill() or filled:
                moved = True
                self.roundTrip.measure()
                self._flush()
        finally:
            self._inside -= 1
        return moved

    def due(self, now: float) -> None:
        """
        Do what was put off.
        """
        self._inside += 1
        try:
            self._channel.due(now)
            self._table.run()
        except AuthenticationFailed as e:
            self._break(e)
        finally:
            self._inside -= 1
        # The core is drained after this.
        self._kicked = False

    def deadline(self) -> float | None:
        """
        @return: when L{due} wants to be called.
        """
        if self._table.pending:
            return self._core.now
        times = (self._channel.deadline(), self._table.datagrams.deadline())
        return min((time for time in times if time is not None), default=None)

    # --- inside -------------------------------------------------------------

    def _flush(self) -> bool:
        for frame in self._table.takeFrames():
            self._channel.send(frame)
        return self._channel.flush()

    def _kick(self) -> None:
        if self._inside:
            self._kicked = True
        else:
            self._core.note(self._clock())
            self._wake()

    def _break(self, error: PunchError) -> None:
        self.log.info(
            "The session with {peer} ends: {error}", peer=self._peerId, error=error
        )
        failed = isinstance(error, AuthenticationFailed)
        code = AUTHENTICATION_FAILED if failed else PROTOCOL_VIOLATION
        self.lose(error)
        self._core.close(code, str(error), self._core.now)
        self._kick()

    def _admitSoon(self) -> None:
        try:
            self._admit()
        except ProtocolViolation as e:
            self._break(e)

    def _admit(self) -> None:
        if self._admitted or not self._channel.admitted:
            return
        self._admitted = True
        self.onAdmitted()
        early, self._early = self._early, []
        for event in early:
            self._table.eventReceived(event)

    def _event(self, event: Event) -> None:
        channel = self._channel
        if isinstance(event, Terminated):
            if event.code == AUTHENTICATION_FAILED:
                self.lose(AuthenticationFailed(event.reason))
            else:
                self.lose(SessionLost(event.reason))
        elif self.lost is not None:
            pass
        elif isinstance(event, HandshakeCompleted):
            channel.secured(event.peerSpki)
            self._admit()
        elif isinstance(event, PingAcknowledged):
            self.onArrived(event.uid)
            if self.roundTrip.acknowledged(event.uid):
                self._table.datagrams.pace.measured(self.roundTrip)
        elif isinstance(event, DatagramReceived):
            self._table.datagrams.came(event.data)
        elif event.id == channel.inbound:
            if not isinstance(event, StreamData):
                raise ProtocolViolation("The peer closed the control stream.")
            frames = channel.dataCame(event.data, event.end)
            self._admit()
            for frame in frames:
                self._frame(frame)
        elif self._admitted:
            self._table.eventReceived(event)
        else:
            self._keep(event)

    def _frame(self, frame: Frame) -> None:
        if isinstance(frame, Credit):
            self._table.credited(frame, self.roundTrip.seconds)
        elif isinstance(frame, Ends):
            self._table.ended(frame)
        elif isinstance(frame, Hello):
            self.onHello(frame.incarnation)
        elif isinstance(frame, Candidate):
            self.onCandidate(frame.data)
        elif isinstance(frame, Pong):
            self.onPong(frame.data)
        elif isinstance(frame, Bye):
            self.onBye(frame.reason)

    def _keep(self, event: StreamData | StreamReset | StreamStopped) -> None:
        # The dialler's proof may be behind what came first.
        if isinstance(event, StreamData):
            self._earlyKept += len(event.data)
        self._earlyKept += _EVENT_COST
        if self._earlyKept > EARLY_KEPT:
            raise AuthenticationFailed("The dialler sends before it said who it is.")
        self._early.append(event)
