"""
What passes through a stream: L{punchd.session.stream.Stream} without the face
that it shows to Twisted's protocols.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from punchd.errors import ProtocolViolation, ServiceFailed

from .credit import Growth
from .parts import ReceivePart, SendPart
from .wire import Open, Reply, cut

#: A producer is paused when more bytes wait here than the first of these, and
#: resumed when fewer wait than the second.
HIGH_WATER = 256 << 10
LOW_WATER = 128 << 10

#: Codes of RESET_STREAM and STOP_SENDING (RFC 9000, 19.4 and 19.5).
CLOSED = 0
ABORTED = 1
REFUSED = 2
FAULT = 3

_ABORTED = "The peer aborted the stream."


class Carrier(Protocol):
    """
    What a stream needs of L{punchd.session.mux.Streams}.
    """

    growth: Growth
    held: int
    ownId: str
    peerId: str

    def hasData(self, stream: Flow) -> None: ...
    def sendDatagram(self, stream: Flow, data: bytes) -> None: ...
    def datagramsWanted(self, stream: Flow) -> None: ...
    def later(self, f: Callable[..., object], *args: object) -> None: ...
    def call(self, stream: Flow, f: Callable[..., object], *args: object) -> None: ...
    def tellTaken(self, id: int, taken: int) -> None: ...
    def reset(self, id: int, code: int) -> None: ...
    def stop(self, id: int, code: int) -> None: ...
    def incoming(self, service: str, stream: Flow) -> None: ...
    def forget(self, stream: Flow) -> None: ...


class Flow:
    """
    One stream, at either of its ends, as its carrier sees it.

    @ivar id: its number in QUIC, L{None} while it waits to be opened.
    @ivar service: what it was opened for; empty until the opener told.
    @ivar protocol: who gets the bytes; while there is none they are kept.
    @ivar datagrams: whether it accompanies datagrams.
    @ivar accepted: whether the acceptor let the opener in.
    @ivar outgoing: what was written and not sent yet.
    @ivar incoming: what came and was not delivered yet.
    @ivar queued: whether the carrier has it in its round.
    """

    disconnecting = False
    disconnected = False
    connected = True
    #: What is in C{twisted.python.context} for the protocol, L{None} for nothing.
    logContext: dict[Any, Any] | None = None

    def __init__(
        self,
        carrier: Carrier,
        id: int | None,
        service: str,
        *,
        opener: bool,
        datagrams: bool = False,
    ) -> None:
        self.id = id
        self.service = service
        self.datagrams = datagrams
        self.protocol: Any = None
        self.accepted = False
        self.queued = False
        self.producer: Any = None
        self.streamingProducer = False
        self.outgoing = SendPart(carrier.growth)
        self.incoming = ReceivePart()
        self._carrier = carrier
        self._head: bytearray | None = bytearray()
        self._openers: list[Deferred[Any]] = []
        self._closing = False
        self._producerPaused = False
        self._paused = False
        self._delivering = False
        self._over: Exception | None = None
        self.opener = opener
        if opener:
            self.outgoing.write(Open(service, datagrams=datagrams).pack())

    # --- for the carrier ----------------------------------------------------

    def sendable(self) -> bool:
        """
        @return: whether L{take} would give something.
        """
        if not (self.opener or self.accepted or self.outgoing.ending):
            return False
        return self.outgoing.wants()

    def take(self, limit: int) -> tuple[bytes, bool]:
        """
        @return: at most C{limit} bytes to be sent, and whether they are the last.
        """
        data, end = self.outgoing.take(limit)
        if end:
            self._carrier.later(self._endSent)
        elif self.producer is not None:
            low = LOW_WATER if self.streamingProducer else 0
            paused = self._producerPaused or not self.streamingProducer
            if paused and self.outgoing.size <= low:
                self._carrier.later(self._resumeProducer)
            elif not self.outgoing.size:
                self._end()
        return data, end

    def dataCame(self, data: bytes, end: bool) -> None:
        """
        The peer sent bytes, the last ones if C{end}.
        """
        if self._over is not None or self.incoming.done:
            return
        self._carrier.held += len(data)
        if not self.incoming.came(data, end):
            self.abort(ProtocolViolation("The peer sends without credit."), FAULT)
            return
        self._deliver()

    def endsAt(self, length: int) -> None:
        """
        The peer sends so many bytes in all.
        """
        self.incoming.length = length
        if self.incoming.credit.received == length and not self.incoming.ended:
            self.dataCame(b"", True)

    def peerReset(self) -> None:
        """
        The peer gave up sending.
        """
        if self._over is not None or self.incoming.done:
            return
        if self.incoming.discarding and self._head is None:
            self.incoming.done = True
            self._finish()
        elif self.opener and self._head is not None:
            self.abort(ServiceFailed("The peer gave up before it answered."), CLOSED)
        else:
            self.abort(ConnectionLost(_ABORTED), CLOSED)

    def peerStopped(self, code: int = CLOSED) -> None:
        """
        The peer reads no more.  With any other code than L{CLOSED} it has aborted
        the stream: its reset may have come too late to take back its end.
        """
        if self._over is not None:
            return
        if code != CLOSED:
            self.abort(ConnectionLost(_ABORTED), CLOSED)
            return
        if self.outgoing.done:
            return
        self.outgoing.drop()
        self._stopProducer()
        self._finish()

    def fail(self, reason: Exception) -> None:
        """
        The session is lost, or the stream refused: there is nobody to tell.
        """
        if self._over is not None:
            return
        self._over = reason
        self.disconnecting = True
        self.outgoing.drop()
        self.outgoing.credit.released()
        self._carrier.held -= self.incoming.drop()
        self.incoming.done = True
        self._carrier.forget(self)
        self._carrier.later(self._lost, reason)

    def abort(self, reason: Exception, code: int = FAULT) -> None:
        """
        End the stream at once, and tell the peer.
        """
        if self._over is not None:
            return
        if self.id is not None:
            self._carrier.reset(self.id, code)
            if not self.incoming.ended:
                self._carrier.stop(self.id, code)
        self.fail(reason)

    # --- inside -------------------------------------------------------------

    def _close(self) -> None:
        self._closing = True
        self._end()

    def _end(self) -> None:
        # As with Twisted's TCP: a producer that has more to say is let finish.
        idle = self.producer is None or (
            self.streamingProducer
            and not self._producerPaused
            and not self.outgoing.size
        )
        if self._closing and idle and not self.outgoing.ending:
            self.outgoing.ending = True
            self._carrier.hasData(self)

    def _endSent(self) -> None:
        if self._over is not None:
            return
        if not self.incoming.discarding:
            half = IHalfCloseableProtocol(self.protocol, None)
            if half is not None:
                self._carrier.call(self, half.writeConnectionLost)
        self._finish()

    def _stopPeer(self) -> None:
        # As TCP answers data with a reset that comes after the close.  It would
        # take back what the peer's reply is part of, were that still to come.
        if self.outgoing.done and not self.incoming.ended and self.id is not None:
            self._carrier.stop(self.id, CLOSED)

    def _resumeProducer(self) -> None:
        producer = self.producer
        if producer is None or self._over is not None:
            return
        if self.streamingProducer:
            if not self._producerPaused or self.outgoing.size > LOW_WATER:
                return
            self._producerPaused = False
        elif self.outgoing.size:
            return
        self._carrier.call(self, producer.resumeProducing)
        self._end()

    def _stopProducer(self) -> None:
        producer, self.producer = self.producer, None
        self.streamingProducer = False
        if producer is not None:
            self._carrier.later(self._carrier.call, self, producer.stopProducing)

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._over is None:
                if self._head is not None:
                    if not self._readHead(self._head):
                        return
                elif self.incoming.discarding:
                    count = self.incoming.drop()
                    self._took(count)
                    if count:
                        self._stopPeer()
                    break
                elif self._paused or self.protocol is None:
                    return
                else:
                    data = self.incoming.take()
                    if data is None:
                        break
                    self._took(len(data))
                    self._carrier.call(self, self.protocol.dataReceived, data)
        finally:
            self._delivering = False
        if self.incoming.ended and not self.incoming.done and self._over is None:
            self.incoming.done = True
            self._endCame()

    def _endCame(self) -> None:
        if not self.disconnecting:
            half = IHalfCloseableProtocol(self.protocol, None)
            if half is not None:
                self._carrier.call(self, half.readConnectionLost)
            else:
                self.disconnecting = True
                self._close()
        self._finish()

    def _took(self, count: int) -> None:
        self._carrier.held -= count
        told = self.incoming.credit.took(count)
        if told is not None and self.id is not None and not self.incoming.ended:
            self._carrier.tellTaken(self.id, told)

    def _readHead(self, head: bytearray) -> bool:
        """
        @return: whether the head is complete and there may be more to do.
        """
        data = self.incoming.take()
        if data is None:
            if self.incoming.ended:
                self.abort(ServiceFailed("The peer closed before it answered."), FAULT)
            return False
        head += data
        try:
            body = cut(head)
            if body is None:
                self._took(len(data))
                return True
            self.incoming.putBack(bytes(head))
            self._took(len(data) - len(head))
            self._head = None
            if self.opener:
                self._answered(Reply.parse(body))
            else:
                opened = Open.parse(body)
                self.service, self.datagrams = opened.service, opened.datagrams
                self._carrier.incoming(self.service, self)
        except ProtocolViolation as e:
            self.abort(e, FAULT)
            return False
        return True

    def _answered(self, reply: Reply) -> None:
        error = reply.error()
        if error is not None:
            if self.id is not None:
                self._carrier.reset(self.id, REFUSED)
            self.fail(error)
            return
        self.accepted = True
        waiters, self._openers = self._openers, []
        for waiter in waiters:
            waiter.callback(self)

    def _finish(self) -> None:
        if self.outgoing.done and self.incoming.done and self._over is None:
            lost = self.outgoing.lost
            self.fail(
                ConnectionLost("The peer reads no more.") if lost else ConnectionDone()
            )

    def _lost(self, reason: Exception) -> None:
        self.connected = False
        self.disconnected = True
        producer, self.producer = self.producer, None
        if producer is not None:
            self._carrier.call(self, producer.stopProducing)
        waiters, self._openers = self._openers, []
        for waiter in waiters:
            waiter.errback(reason)
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            self._carrier.call(self, protocol.connectionLost, Failure(reason))
