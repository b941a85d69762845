"""
AMP that a stranger cannot fill.

Plain AMP keeps whatever it is sent until a box is complete: one unfinished box
of 187 MB was seen in memory.  What may come here is bounded:

  - at most 64 keys and 128 KiB a box, and 4 KiB until the connection counts as
    trusted;
  - the first complete box within 10 s;
  - the peer reads what it is sent: 256 KiB may wait for it, no more.

What breaks a bound, or is not AMP, ends the connection without a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

MAX_KEYS: Final = 64
MAX_BOX: Final = 128 * 1024
MAX_EARLY_BOX: Final = 4096
FIRST_BOX: Final = 10.0
MAX_UNREAD: Final = 256 * 1024
MAX_QUESTIONS: Final = 64

_KEY = 255
_VALUE = 65535

Responder = Callable[..., Any]


@implementer(IPushProducer)
class BoundedAMP(amp.AMP):
    """
    I am one connection, with bounds.

    @ivar responders: what answers a command, by command; everything else that
        AMP itself could do (switching protocols, STARTTLS) is refused.
    @ivar violation: why the connection was ended, or L{None}.
    """

    log = Logger()
    # ITransport knows neither producers nor abortConnection.
    transport: Any
    _currentBox: Any

    def __init__(
        self,
        clock: IReactorTime,
        responders: Mapping[type[amp.Command], Responder],
        *,
        patience: float = FIRST_BOX,
        trusted: bool = False,
    ) -> None:
        """
        @param patience: how many seconds the first complete box may take.
        @param trusted: whether boxes may be large from the beginning.
        """
        super().__init__()
        self._clock = clock
        self._responders = {c.commandName: (c, r) for c, r in responders.items()}
        self._patience = patience
        self._boxLimit = MAX_BOX if trusted else MAX_EARLY_BOX
        self._boxSize = 0
        self._late: IDelayedCall | None = None
        self._unread: int | None = None
        self._questions = 0
        self.violation: str | None = None

    def trust(self) -> None:
        """
        Let boxes be large from now on.
        """
        self._boxLimit = MAX_BOX

    def refuse(self, why: str) -> None:
        """
        End the connection at once, since it does what it may not.
        """
        if self.violation is None:
            self.violation = why
            self.log.info("signaling connection refused: {why}", why=why)
        # Leaves the loop of the string receiver, which would read on.
        self.paused = True
        self._stopWaiting()
        if self.transport is not None:
            self.transport.abortConnection()

    # --- the connection

    def makeConnection(self, transport: Any) -> None:
        """
        Like AMP's, without its line in the log for every connection.
        """
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionMade(self) -> None:
        """
        Begin to wait for the first box, and watch what the peer leaves unread.
        """
        self._late = self._clock.callLater(self._patience, self._tooLate)
        self.transport.registerProducer(self, True)
        # Session data may ride along: Nagle would keep each answer of a burst until
        # the one before it is acknowledged, a round trip later.
        setNoDelay = getattr(self.transport, "setTcpNoDelay", None)
        if setNoDelay is not None:
            setNoDelay(True)

    def loseConnection(self) -> None:
        """
        Close the connection after what was written has left.
        """
        if self.transport is not None:
            # With a producer, TLS would wait for its end.
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Fail what is still asked.
        """
        self._stopWaiting()
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None

    def _tooLate(self) -> None:
        self._late = None
        self.refuse("no complete box in time")

    def _stopWaiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    # --- what goes out

    def sendBox(self, box: Any) -> None:
        """
        Send a box, unless the peer has stopped reading long ago.
        """
        data = box.serialize()
        if self.transport is None:
            raise ConnectionLost()
        if self._unread is not None:
            self._unread += len(data)
            if self._unread > MAX_UNREAD:
                self.refuse("the peer does not read")
                return
        self.transport.write(data)
        _sendNow(self.transport)

    def pauseProducing(self) -> None:
        """
        The transport has enough to do: count what is added.
        """
        if self._unread is None:
            self._unread = 0

    def resumeProducing(self) -> None:
        """
        The peer has read.
        """
        self._unread = None

    def stopProducing(self) -> None:
        """
        The connection is going away.
        """

    def send(self, command: type[amp.Command], **arguments: Any) -> Any:
        """
        Send a command.

        @return: a L{Deferred}, or L{None} for a command without an answer.
        """
        return self.callRemote(command, **arguments)

    def ask(
        self, command: type[amp.Command], seconds: float, **arguments: Any
    ) -> Deferred[dict[str, Any]]:
        """
        Send a command and wait a limited time for its answer.

        @return: fires with the answer; fails with one of the command's errors,
            with L{TimeoutError} after C{seconds}, or as the connection was
            lost.
        """
        if self._questions >= MAX_QUESTIONS:
            self.refuse("too many questions without an answer")
        self._questions += 1
        answer: Deferred[dict[str, Any]] = maybeDeferred(
            self.send, command, **arguments
        )

        def answered(result: Any) -> Any:
            self._questions -= 1
            return result

        # Before the time-out, so that a late answer counts as outstanding.
        waited: Deferred[dict[str, Any]] = Deferred(lambda _: None)
        answer.addBoth(answered).addCallbacks(
            lambda result: None if waited.called else waited.callback(result),
            lambda failure: None if waited.called else waited.errback(failure),
        )
        return waited.addTimeout(seconds, self._clock)

    # --- what comes in

    def dataReceived(self, data: bytes) -> None:
        """
        Parse what came, unless something before it was refused.
        """
        if self.violation is None:
            super().dataReceived(data)

    def lengthLimitExceeded(self, length: int) -> None:
        """
        A key, a value or a box is too long.
        """
        self.refuse("a box is too large")

    def proto_key(self, string: bytes) -> str:
        """
        A key came, or the empty one that ends a box.
        """
        if not string:
            self._boxSize = 0
            self._stopWaiting()
            super().proto_key(string)
            self.MAX_LENGTH = _KEY
            return "init"
        if len(self._currentBox) >= MAX_KEYS:
            self.refuse("a box has too many keys")
        self._boxSize += 2 + len(string)
        state = super().proto_key(string)
        self.MAX_LENGTH = max(0, min(_VALUE, self._boxLimit - self._boxSize - 2))
        return str(state)

    def proto_value(self, string: bytes) -> str:
        """
        The value of a key came.
        """
        self._boxSize += 2 + len(string)
        state = super().proto_value(string)
        self.MAX_LENGTH = max(0, min(_KEY, self._boxLimit - self._boxSize - 2))
        return str(state)

    def ampBoxReceived(self, box: Any) -> None:
        """
        A whole box came.
        """
        if self.violation is not None:
            return
        try:
            super().ampBoxReceived(box)
        except (LookupError, amp.AmpError):
            # An answer to what nobody asked, or no command and no answer.
            self.refuse("a box that fits nothing")

    def unhandledError(self, failure: Failure) -> None:
        """
        A command failed that wants no answer, or an answer cannot be sent.
        """
        if failure.check(amp.RemoteAmpError, ConnectionClosed) is None:
            self.log.failure("a command without an answer", failure)
        self.refuse("a command that failed and has no answer")

    def dispatchCommand(self, box: Any) -> Deferred[Any]:
        """
        Answer a command, with bad arguments and unknown commands being the
        peer's fault, and unexpected exceptions ours.
        """
        command, responder = self._responders.get(box[amp.COMMAND], (None, None))
        return maybeDeferred(self._respond, command, responder, box)

    def _respond(self, command: Any, responder: Any, box: Any) -> Any:
        if command is None:
            # Not fatal: a newer peer may try commands that are unknown here.
            raise amp.RemoteAmpError(amp.UNHANDLED_ERROR_CODE, "Unknown command.")
        try:
            arguments = command.parseArguments(box, self)
        except Exception:
            raise amp.RemoteAmpError(
                b"MALFORMED", "Arguments that cannot be read.", fatal=True
            ) from None

        def failed(failure: Failure) -> Failure:
            if failure.check(amp.RemoteAmpError):
                return failure
            kind = failure.check(*command.allErrors) if command.allErrors else None
            if kind is None:
                self.log.failure("answering {command}", failure, command=command)
                error = amp.RemoteAmpError(amp.UNKNOWN_ERROR_CODE, "Unknown error.")
            else:
                error = amp.RemoteAmpError(
                    command.allErrors[kind],
                    str(failure.value),
                    fatal=kind in command.fatalErrors,
                )
            return Failure(error)

        answer = maybeDeferred(responder, **arguments)
        return answer.addCallback(command.makeResponse, self).addErrback(failed)


def _sendNow(transport: Any) -> None:
    """
    Hand what was written to the kernel.  The reactor would do that in its next turn,
    behind all that has come meanwhile; somebody waits for each box.
    """
    below = transport
    while below is not None and not isinstance(below, FileDescriptor):
        below = getattr(below, "transport", None)
    if below is not None and below.connected and not below.disconnecting:
        # What fails stays for the reactor, which fails again and knows what to do.
        below.doWrite()
