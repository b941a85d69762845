"""
The control socket, by which C{punchd} talks to a running client.

The protocol is a line of JSON each way over a UNIX socket that only its user
may open.  A request is C{{"command": NAME, ...arguments}}, an answer
C{{"result": VALUE}} or C{{"error": CLASS, "text": SENTENCE}}.  Requests on one
connection are answered one after another.  After C{open} and C{take} come no more
lines, but a stream; see L{.handover}.
"""

from __future__ import annotations

import json
from typing import Any, Protocol, cast

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IListeningPort,
    IReactorTime,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.errors import ControlError, PunchError, StateError
from punchd.forward.rules import checkName
from punchd.forward.serving import Offer
from punchd.session.tube import Tube

from .handover import Handover
from .pairing import PairingDesk
from .state import StateFolder
from .status import Status

#: The longest request, in bytes.
MAX_REQUEST = 8192

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

    def reload(self) -> Any:
        """
        Take over what has changed in files.
        """

    def allows(self, peer: str, service: str) -> bool:
        """
        @param peer: a peer id.
        @param service: empty for any.

        @return: whether the peer may use the service.
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
    "reload": {},
    "allows": {"peer": str, "service": str},
    "invite": {"services": list, "everything": bool, "name": str, "called": str},
    "invited": {"code": str},
    "accept": {
        "code": str,
        "services": list,
        "everything": bool,
        "name": str,
        "called": str,
    },
    "open": {"peer": str},
    "take": {"token": str},
    "serve": {"service": str, "allow": list},
}

#: The most pings in one request.
MAX_PINGS = 1000


@implementer(IHalfCloseableProtocol)
class ControlProtocol(LineReceiver):
    """
    I answer one user of the control socket.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST
    _log = Logger()

    def __init__(
        self,
        controlled: Controlled,
        clock: IReactorTime,
        handover: Handover | None = None,
        pairing: PairingDesk | None = None,
    ) -> None:
        self._controlled = controlled
        self._clock = clock
        self._handover = handover
        self._pairing = pairing
        self._idle: IDelayedCall | None = None
        self._answering: defer.Deferred[Any] | None = None
        self._tube: Tube | None = None
        self._offer: Offer | None = None

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

    def rawDataReceived(self, data: bytes) -> None:
        """
        A part of a stream.
        """
        if self._tube is not None:
            self._tube.dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        A request has no end.
        """
        self._abort()

    def readConnectionLost(self) -> None:
        """
        The user says nothing more.
        """
        if self._tube is not None:
            self._tube.readConnectionLost()
        else:
            cast(Any, self.transport).loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Everything was said to the user.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The user has gone; nobody waits for the answer any more.
        """
        cast(ControlFactory, self.factory).connections.discard(self)
        self._stopWaiting()
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()
        if self._offer is not None:
            self._offer.stop()
        if self._tube is not None:
            self._tube.connectionLost(reason)

    def _perform(self, line: bytes) -> Any:
        name, arguments = _parseRequest(line)
        if name in ("invite", "invited", "accept"):
            if self._pairing is None:
                raise ControlError("This client cannot pair.")
            return getattr(self._pairing, name)(**arguments)
        if name not in ("open", "take", "serve"):
            return getattr(self._controlled, name)(**arguments)
        if self._handover is None or self._offer is not None:
            raise ControlError(f"This client cannot {name} here.")
        if name == "serve":
            self._offer = self._handover.serve(tell=self._tell, **arguments)
        else:
            self._tube = getattr(self._handover, name)(**arguments)
        return {"peerId": self._handover.ownId}

    def _tell(self, news: dict[str, str]) -> None:
        self.sendLine(json.dumps(news).encode())

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
        if self._tube is not None:
            # It is bounded by what sessions bear, not by what a user can need.
            cast(ControlFactory, self.factory).connections.discard(self)
            self.setRawMode()
            self._tube.makeConnection(cast(Any, self.transport))
        elif self._offer is None:
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

    def __init__(
        self,
        controlled: Controlled,
        clock: IReactorTime,
        handover: Handover | None = None,
        pairing: PairingDesk | None = None,
    ) -> None:
        self._controlled = controlled
        self._clock = clock
        self.handover = handover
        self.pairing = pairing
        self.connections: set[ControlProtocol] = set()

    def buildProtocol(self, addr: object) -> ControlProtocol | None:
        """
        @return: L{None} when there are too many.
        """
        if len(self.connections) >= MAX_CONNECTIONS:
            return None
        protocol = ControlProtocol(
            self._controlled, self._clock, self.handover, self.pairing
        )
        protocol.factory = self
        return protocol


class ControlService(Service):
    """
    I listen at the control socket of a state folder whose lock is held.
    """

    def __init__(
        self,
        reactor: Any,
        folder: StateFolder,
        controlled: Controlled,
        handover: Handover | None = None,
        pairing: PairingDesk | None = None,
    ) -> None:
        """
        @param handover: gives streams to programs; L{None} where there are none.
        @param pairing: invites and accepts.
        """
        self._reactor = reactor
        self._folder = folder
        self._factory = ControlFactory(controlled, reactor, handover, pairing)
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
        if self._factory.handover is not None:
            self._factory.handover.stop()
        if self._factory.pairing is not None:
            self._factory.pairing.stop()
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
    if not all(isinstance(peer, str) for peer in request.get("allow", ())):
        raise ControlError("The peers to allow are not given by their ids.")
    for service in request.get("services", ()):
        checkName(service)
    if not 1 <= request.get("count", 1) <= MAX_PINGS:
        raise ControlError(f"The count is not between 1 and {MAX_PINGS}.")
    return name, request


def _errorAnswer(failure: Failure) -> dict[str, str]:
    failure.trap(PunchError)
    return {"error": type(failure.value).__name__, "text": str(failure.value)}
