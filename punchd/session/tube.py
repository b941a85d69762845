"""
A stream that goes on to another program on this machine.

The other program is at the other end of a UNIX socket.  One connection there is
one L{Stream<punchd.session.stream.Stream>}, with a head, credit and ends of its
own, just as in a session: a reset stays a reset, and a reason a reason.  What
passes is::

    frame = kind(1)  length(3)  body
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd import errors
from punchd.errors import ProtocolViolation, PunchError

from .calls import Calls, refuse
from .credit import Growth
from .flow import CLOSED, FAULT, Flow
from .stream import Stream

#: The most bytes in one frame of data, and in a read.
CHUNK = 1 << 18

#: The longest body of a frame that is no data.
MAX_BODY = 4096

_HEAD = 4
_LOST = "The program at the other end of the control socket is gone."


class Kind(IntEnum):
    """
    What a frame is.
    """

    DATA = 0
    END = 1
    RESET = 2
    STOP = 3
    TAKEN = 4
    ERROR = 5


@implementer(IHalfCloseableProtocol, IPushProducer)
class Tube(Calls, Protocol):
    """
    I am the protocol of a connection, and the carrier of its one stream.

    @ivar stream: the stream.
    @ivar onIncoming: called with service and stream once the opener at the other
        end has told what it wants.
    @ivar onClosed: called when the connection is gone.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        ownId: str,
        peerId: str,
        service: str | None = None,
        onIncoming: Callable[[str, Stream], object] = refuse,
        onClosed: Callable[[Tube], object] = lambda tube: None,
    ) -> None:
        """
        @param service: what to open; L{None} at the end that accepts.
        """
        super().__init__(self._soon, onIncoming)
        self.ownId = ownId
        self.peerId = peerId
        self.onClosed = onClosed
        self.growth = Growth()
        self.held = 0
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._part = b""
        self._left = 0
        self._full = True
        self._open = False
        self._pumping = False
        self._said = False
        self._heard = False
        self.stream = Stream(self, 0, service or "", opener=service is not None)

    def failWith(self, reason: Exception) -> None:
        """
        End the stream at once, and tell the other end why.
        """
        if isinstance(reason, PunchError):
            said = {"error": type(reason).__name__, "text": str(reason)[:1000]}
            self._send(Kind.ERROR, json.dumps(said).encode())
            self.stream.fail(reason)
        else:
            self.stream.abort(reason)

    def abort(self) -> None:
        """
        Break the connection, whatever is under way.
        """
        if self._open:
            self.transport.abortConnection()

    # --- IProtocol -----------------------------------------------------------

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self._open = True
        if self._said:
            # The stream was over before.
            self.transport.loseConnection()
            return
        self._full = False
        self.transport.bufferSize = CHUNK
        self.transport.registerProducer(self, True)
        self._pump()

    def dataReceived(self, data: bytes) -> None:
        """
        Take frames, data as soon as a part of them is there.
        """
        if self._part:
            data, self._part = self._part + data, b""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                end = min(size, at + self._left)
                self._left -= end - at
                self.stream.dataCame(data[at:end], False)
                at = end
                continue
            length = int.from_bytes(data[at + 1 : at + _HEAD], "big")
            body = at + _HEAD
            if size < body:
                break
            if data[at] == Kind.DATA:
                self._left, at = length, body
                continue
            if length > MAX_BODY:
                self._violated()
                return
            if size < body + length:
                break
            self._frame(data[at], data[body : body + length])
            at = body + length
        self._part = data[at:]

    def readConnectionLost(self) -> None:
        """
        The other program has said all, or is gone.
        """
        self._heard = True
        if self._said or not self._whole():
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        We have said all.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone.
        """
        self._open = False
        if not self._whole():
            self.stream.fail(ConnectionLost(_LOST))
        self.onClosed(self)

    def _whole(self) -> bool:
        # The user may have yet to take what came.
        return self.stream.incoming.ended and self.stream.outgoing.done

    # --- IPushProducer, for the connection -----------------------------------

    def pauseProducing(self) -> None:
        """
        The connection has enough.
        """
        self._full = True

    def resumeProducing(self) -> None:
        """
        The connection takes more.
        """
        self._full = False
        self._pump()

    def stopProducing(self) -> None:
        """
        The connection breaks.
        """
        self._full = True

    # --- session.flow.Carrier ------------------------------------------------

    def sendDatagram(self, stream: Flow, data: bytes) -> None:
        """
        A connection has no place for datagrams.
        """

    def datagramsWanted(self, stream: Flow) -> None:
        """
        None come.
        """

    def hasData(self, stream: Flow) -> None:
        """
        The stream has something to send, or has ended.
        """
        self._pump()

    def tellTaken(self, id: int, taken: int) -> None:
        """
        The user of the stream has taken that many bytes.
        """
        self._send(Kind.TAKEN, taken.to_bytes(8, "big"))

    def reset(self, id: int, code: int) -> None:
        """
        Give up sending.
        """
        self._send(Kind.RESET, bytes([code]))

    def stop(self, id: int, code: int) -> None:
        """
        Ask the other end to give up sending.
        """
        self._send(Kind.STOP, bytes([code]))

    def forget(self, stream: Flow) -> None:
        """
        The stream is over.
        """
        self._said = self._full = True
        if self._open:
            # A producer that says nothing more would keep it open.
            self.transport.unregisterProducer()
            # Were it closed now, what the other end has yet to read would be lost
            # as soon as that one writes.
            if self._heard:
                self.transport.loseConnection()
            else:
                self.transport.loseWriteConnection()

    # --- inside --------------------------------------------------------------

    def _pump(self) -> None:
        if self._pumping:
            # Taking what is there may make the end due, which comes behind it.
            return
        self._pumping = True
        try:
            while not self._full and self.stream.sendable():
                data, end = self.stream.take(CHUNK)
                if data:
                    self._send(Kind.DATA, data)
                if end:
                    self._send(Kind.END)
        finally:
            self._pumping = False

    def _send(self, kind: Kind, body: bytes = b"") -> None:
        if self._open:
            head = bytes([kind]) + len(body).to_bytes(3, "big")
            self.transport.writeSequence([head, body])

    def _soon(self) -> None:
        if self._call is None:
            self._call = self._clock.callLater(0, self._run)

    def _run(self) -> None:
        self._call = None
        self.run()

    def _frame(self, kind: int, body: bytes) -> None:
        stream = self.stream
        if kind == Kind.END:
            stream.dataCame(b"", True)
        elif kind == Kind.RESET:
            stream.peerReset()
        elif kind == Kind.STOP:
            if not stream.outgoing.done:
                # As QUIC does by itself (RFC 9000, 3.5).
                self.reset(0, CLOSED)
            stream.peerStopped(body[0] if body else CLOSED)
        elif kind == Kind.ERROR:
            stream.fail(errorOf(body))
        elif kind != Kind.TAKEN:
            self._violated()
        elif stream.outgoing.credit.granted(int.from_bytes(body, "big"), None, 0.0):
            self._pump()
        else:
            self._violated()

    def _violated(self) -> None:
        self._left, self._part = 0, b""
        self.stream.abort(
            ProtocolViolation("What came over the control socket makes no sense."),
            FAULT,
        )


def errorOf(body: bytes) -> Exception:
    """
    @param body: C{{"error": CLASS, "text": SENTENCE}} as JSON.

    @return: the error again, or one that says the same.
    """
    try:
        said = json.loads(body)
        kind, text = str(said["error"]), str(said["text"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ConnectionLost(_LOST)
    cause = getattr(errors, kind, None)
    if isinstance(cause, type) and issubclass(cause, PunchError):
        return cause(text)
    return ConnectionLost(text)


def reasonOf(failure: Failure | None) -> Exception | None:
    """
    @return: what broke a connection; L{None} when it ended in good order.
    """
    if failure is None or failure.check(ConnectionDone):
        return None
    value = failure.value
    return value if isinstance(value, Exception) else ConnectionLost(str(value))
