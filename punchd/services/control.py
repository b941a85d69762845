"""
The control socket, by which C{punchd} talks to a running client.

The protocol is a line of JSON each way over a UNIX socket that only its user
may open.  A request is C{{"command": NAME, ...arguments}}, an answer
C{{"result": VALUE}} or C{{"error": CLASS, "text": SENTENCE}}.  Requests on one
connection are answered one after another.
"""

from __future__ import annotations

import inspect
import json
import os
from typing import Any, Protocol, cast

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from punchd import errors
from punchd.errors import ClientNotRunning, ControlError, PunchError, StateError

from .state import StateFolder
from .status import Status

#: The longest request, in bytes.
MAX_REQUEST = 8192

#: The longest answer, in bytes.
MAX_ANSWER = 16 << 20

#: Connections at a time.
MAX_CONNECTIONS = 32

#: How long a connection may be silent while no answer is due, in seconds.
IDLE_TIMEOUT = 30.0


class Controlled(Protocol):
    """
    What a running client does for C{punchd}.  A method may return a Deferred
    of its result; what it returns must be fit for JSON.
    """

    def status(self) -> Status:
        """
        @return: how things are.
        """

    def why(self, peer: str) -> Any:
        """
        @param peer: a peer id.

        @return: in plain words, why the path to the peer is what it is.
        """

    def ping(self, peer: str, count: int) -> defer.Deferred[list[float | None]]:
        """
        @param peer: a peer id.

        @return: a Deferred of C{count} round-trip times in seconds, L{None} for
            what was not answered.
        """


#: What may be asked, and the arguments' types.
_COMMANDS: dict[str, dict[str, type]] = {
    "status": {},
    "why": {"peer": str},
    "ping": {"peer": str, "count": int},
}

#: The most pings in one request.
MAX_PINGS = 1000


class ControlProtocol(LineOnlyReceiver):
    """
    I answer one user of the control socket.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST
    _log = Logger()

    def __init__(self, controlled: Controlled, clock: IReactorTime) -> None:
        self._controlled = controlled
        self._clock = clock
        self._idle: IDelayedCall | None = None
        self._answering: defer.Deferred[Any] | None = None

    def connectionMade(self) -> None:
        """
        Wait for the first request.
        """
        cast(ControlFactory, self.factory).connections.add(self)
        self._wait()

    def lineReceived(self, line: bytes) -> None:
        """
        Answer one request, and read no other meanwhile.
        """
        self._stopWaiting()
        if self._answering is not None:
            # Whoever does not wait for the answer is no `punchd`.
            self._abort()
            return
        d = self._answering = defer.maybeDeferred(self._perform, line)
        d.addCallbacks(lambda value: {"result": value}, _errorAnswer)
        d.addCallback(lambda answer: json.dumps(answer).encode())
        # A result that is not fit for JSON, or a bug further in.
        d.addErrback(self._failed)
        d.addCallback(self._answered)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        A request has no end.
        """
        self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The user has gone; nobody waits for the answer any more.
        """
        cast(ControlFactory, self.factory).connections.discard(self)
        self._stopWaiting()
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()

    def _perform(self, line: bytes) -> Any:
        name, arguments = _parseRequest(line)
        return getattr(self._controlled, name)(**arguments)

    def _failed(self, failure: Failure) -> bytes:
        if not failure.check(defer.CancelledError):
            self._log.failure("A control request failed.", failure)
        answer = {
            "error": "ControlError",
            "text": "The running client failed at this; its log says more.",
        }
        return json.dumps(answer).encode()

    def _answered(self, answer: bytes) -> None:
        if self._answering is None:
            return
        self._answering = None
        self.sendLine(answer)
        self._wait()

    def _wait(self) -> None:
        self._idle = self._clock.callLater(IDLE_TIMEOUT, self._abort)

    def _stopWaiting(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        self._idle = None

    def _abort(self) -> None:
        cast(Any, self.transport).abortConnection()


class ControlFactory(Factory):
    """
    I make a protocol for each user of the control socket, up to a number.
    """

    noisy = False

    def __init__(self, controlled: Controlled, clock: IReactorTime) -> None:
        self._controlled = controlled
        self._clock = clock
        self.connections: set[ControlProtocol] = set()

    def buildProtocol(self, addr: object) -> ControlProtocol | None:
        """
        @return: L{None} when there are too many.
        """
        if len(self.connections) >= MAX_CONNECTIONS:
            return None
        protocol = ControlProtocol(self._controlled, self._clock)
        protocol.factory = self
        return protocol


class ControlService(Service):
    """
    I listen at the control socket of a state folder whose lock is held.
    """

    def __init__(
        self, reactor: Any, folder: StateFolder, controlled: Controlled
    ) -> None:
        self._reactor = reactor
        self._folder = folder
        self._factory = ControlFactory(controlled, reactor)
        self._listening: defer.Deferred[IListeningPort] | None = None

    def startService(self) -> None:
        """
        Listen.

        @raise StateError: there is no place for the socket.
        """
        super().startService()
        path = self._folder.prepareControlSocket()
        endpoint = UNIXServerEndpoint(self._reactor, path, mode=0o600, wantPID=False)
        problems: list[Failure] = []
        d = self._listening = endpoint.listen(self._factory)
        # A UNIX endpoint listens at once or fails at once.
        d.addErrback(problems.append)
        if problems:
            self._listening = None
            reason = problems[0].getErrorMessage()
            raise StateError(f"{path}: the control socket cannot be made: {reason}")

    def stopService(self) -> defer.Deferred[None]:
        """
        Stop listening and cut off whoever is connected.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        for protocol in list(self._factory.connections):
            protocol._abort()
        if listening is None:
            return defer.succeed(None)
        return listening.addCallback(lambda port: port.stopListening())


def _parseRequest(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(line)
        name = request.pop("command")
        expected = _COMMANDS[name]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as e:
        raise ControlError(
            "The running client does not know this request; it may be older or "
            "newer than this punchd."
        ) from e
    if {key: type(value) for key, value in request.items()} != expected:
        raise ControlError(f"The arguments of {name!r} are not as expected.")
    if not 1 <= request.get("count", 1) <= MAX_PINGS:
        raise ControlError(f"The count is not between 1 and {MAX_PINGS}.")
    return name, request


def _errorAnswer(failure: Failure) -> dict[str, str]:
    failure.trap(PunchError)
    return {"error": type(failure.value).__name__, "text": str(failure.value)}


# --- the side of `punchd` ----------------------------------------------------


class _Asking(LineOnlyReceiver):
    """
    I send one request and fire C{answer} with the line that comes back.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_ANSWER

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answer: defer.Deferred[bytes] = defer.Deferred(self._cancelled)
        self._waiting = True

    def connectionMade(self) -> None:
        self.sendLine(self._request)

    def lineReceived(self, line: bytes) -> None:
        self._fire(line)
        cast(Any, self.transport).loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fire(Failure(ControlError("The client ended before it gave an answer.")))

    def _cancelled(self, deferred: object) -> None:
        self._waiting = False
        cast(Any, self.transport).abortConnection()

    def _fire(self, result: bytes | Failure) -> None:
        if self._waiting:
            self._waiting = False
            self.answer.callback(result)


class _AskingFactory(Factory):
    noisy = False

    def __init__(self, request: bytes) -> None:
        self._request = request

    def buildProtocol(self, addr: object) -> _Asking:
        return _Asking(self._request)


async def ask(
    reactor: Any,
    folder: StateFolder,
    command: str,
    timeout: float = 30.0,
    **arguments: Any,
) -> Any:
    """
    Ask the client that runs on a state folder.

    @param timeout: how long to wait for the answer, in seconds.

    @return: the result.

    @raise ClientNotRunning: none runs.
    @raise PunchError: what the client said is wrong, by its own class.
    """
    path = folder.controlSocket()
    request = json.dumps({"command": command, **arguments}).encode()
    endpoint = UNIXClientEndpoint(reactor, path)
    try:
        protocol = cast(_Asking, await endpoint.connect(_AskingFactory(request)))
    except (ConnectError, OSError) as e:
        if isinstance(e, PermissionError) or (
            os.path.exists(path) and not os.access(path, os.W_OK)
        ):
            raise StateError(f"{path}: belongs to another user.") from e
        raise ClientNotRunning(
            f"No client is running on {folder.path}; "
            "start one with `twistd -n punch-client`, or name its folder with --state."
        ) from e
    protocol.answer.addTimeout(timeout, reactor)
    try:
        line = await protocol.answer
    except defer.TimeoutError as e:
        raise ControlError(f"The client gave no answer in {timeout:g} seconds.") from e
    return _parseAnswer(line)


def _parseAnswer(line: bytes) -> Any:
    try:
        answer = json.loads(line)
        if "result" in answer:
            return answer["result"]
        kind, text = str(answer["error"]), str(answer["text"])
    except (ValueError, KeyError, TypeError) as e:
        raise ControlError("The client's answer cannot be understood.") from e
    cause = getattr(errors, kind, None)
    if not (inspect.isclass(cause) and issubclass(cause, PunchError)):
        cause = ControlError
    raise cause(text)
