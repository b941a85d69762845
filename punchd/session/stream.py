"""
A stream of a session as a Twisted transport.

What a protocol asks for takes effect as on a TCP connection of Twisted's:
nothing of its own is called from within its calls, except a producer's
C{pauseProducing} from C{write} and a pull producer's first
C{resumeProducing}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from zope.interface import implementer

from punchd.errors import RemoteError, ServiceFailed

from .address import PunchAddress
from .flow import ABORTED, CLOSED, HIGH_WATER, Flow
from .wire import Reply, Status


@implementer(ITransport, IConsumer, IPushProducer)
class Stream(Flow):
    """
    One stream, at either of its ends.
    """

    # --- opening ------------------------------------------------------------

    def whenOpen(self) -> Deferred[Stream]:
        """
        @return: fires with this stream when the acceptor has let it in; fails
            with L{NotAllowed<punchd.errors.NotAllowed>},
            L{NoSuchService<punchd.errors.NoSuchService>} or
            L{ServiceFailed<punchd.errors.ServiceFailed>} as it says, or with
            what ended the stream before.
        """
        if self.accepted:
            return succeed(self)
        if self._over is not None:
            return fail(self._over)
        waiter: Deferred[Stream] = Deferred(lambda d: self._openers.remove(d))
        self._openers.append(waiter)
        return waiter

    def accept(self, protocol: Any = None) -> None:
        """
        Let the opener in; only then leaves what is written here.
        """
        if not (self.accepted or self._over is not None or self.disconnecting):
            self.accepted = True
            self.outgoing.prepend(Reply(Status.OK).pack())
            self._carrier.hasData(self)
        if protocol is not None:
            self.attach(protocol)

    def refuse(self, error: type[RemoteError], reason: str = "") -> None:
        """
        Do not let the opener in.

        @param error: what the opener's L{whenOpen} fails with.
        @param reason: a sentence for the opener, if it may know more.
        """
        if self.accepted or self._over is not None:
            return
        self.disconnecting = True
        self._closing = True
        self.incoming.discarding = True
        self.outgoing.replace(Reply.of(error, reason).pack())
        self._carrier.hasData(self)
        self._deliver()

    def attach(self, protocol: Any) -> None:
        """
        Connect C{protocol} to this transport.
        """
        self.protocol = protocol
        self._carrier.call(self, protocol.makeConnection, self)
        if self.disconnected and self._over is not None:
            self._carrier.later(self._lost, self._over)
        else:
            self._carrier.later(self._deliver)

    # --- ITransport ---------------------------------------------------------

    def getPeer(self) -> PunchAddress:
        """
        @return: the other end.
        """
        return PunchAddress(self._carrier.peerId, self.service)

    def getHost(self) -> PunchAddress:
        """
        @return: this end.
        """
        return PunchAddress(self._carrier.ownId, self.service)

    def write(self, data: bytes) -> None:
        """
        Send bytes, never blocking; what is too much at once is kept here.
        """
        if not isinstance(data, bytes):
            if not isinstance(data, (bytearray, memoryview)):
                raise TypeError(f"Data must be bytes, not {type(data).__name__}")
            data = bytes(data)
        if self._over is not None:
            return
        self.outgoing.write(data)
        self._carrier.hasData(self)
        if (
            self.streamingProducer
            and not self._producerPaused
            and self.outgoing.size > HIGH_WATER
        ):
            self._producerPaused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several byte strings as one.
        """
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """
        Send what was written and the end; receive nothing more.
        """
        if self.disconnecting or self._over is not None:
            return
        if not self.opener and not self.accepted:
            self.refuse(ServiceFailed)
            return
        self.disconnecting = True
        self.incoming.discarding = True
        self.loseWriteConnection()
        # Soon, lest the peer is told of a close where an abort comes next.
        self._carrier.later(self._deliver)

    def loseWriteConnection(self) -> None:
        """
        Send what was written and the end, and go on receiving.
        """
        self._close()

    def loseReadConnection(self) -> None:
        """
        Receive nothing more, and tell the peer at once; go on sending.
        """
        if self._over is None:
            self.incoming.discarding = True
            # The reply is not to be taken back.
            if self._head is None and not self.incoming.ended and self.id is not None:
                self._carrier.stop(self.id, CLOSED)
            self._carrier.later(self._deliver)

    def abortConnection(self) -> None:
        """
        End the stream at once in both directions, whatever is under way.
        """
        self.abort(ConnectionAborted(), ABORTED)

    # --- datagrams ----------------------------------------------------------

    #: Who gets the datagrams, L{None} as long as nobody asked for them.
    _receiver: Callable[[bytes], object] | None = None

    def sendDatagram(self, data: bytes) -> None:
        """
        Send a datagram beside the stream: it may be lost, and comes in no order.

        @raise punchd.errors.DatagramTooLarge: it has more than
            L{punchd.session.datagrams.MAX_PAYLOAD} bytes.
        """
        if self._over is None:
            self._carrier.sendDatagram(self, data)

    def receiveDatagrams(self, receiver: Callable[[bytes], object]) -> None:
        """
        Call C{receiver} with each datagram that comes beside the stream.
        """
        self._receiver = receiver
        self._carrier.datagramsWanted(self)

    @property
    def takesDatagrams(self) -> bool:
        """
        Whether somebody wants them.
        """
        return self._receiver is not None

    def datagramCame(self, data: bytes) -> None:
        """
        A datagram has come.
        """
        if self._receiver is not None and self._over is None:
            self._carrier.call(self, self._receiver, data)

    # --- IConsumer ----------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let C{producer} write as fast as this stream takes it.

        @raise RuntimeError: there is a producer already.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, "
                f"because producer {self.producer} was never unregistered."
            )
        if self._over is not None:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = streaming
        self._producerPaused = False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """
        The producer has written everything.
        """
        self.producer = None
        self.streamingProducer = False
        self._end()

    # --- IPushProducer ------------------------------------------------------

    def pauseProducing(self) -> None:
        """
        Deliver nothing until L{resumeProducing}.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        Deliver again, soon.
        """
        self._paused = False
        self._carrier.later(self._deliver)

    def stopProducing(self) -> None:
        """
        Nothing more is wanted.
        """
        self.loseConnection()
