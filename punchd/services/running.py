"""
The client that runs on a state folder, as other programs use it: the other side of
L{.handover}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.errors import ControlError, PunchError
from punchd.forward.serving import TakeStream
from punchd.session.stream import Stream
from punchd.session.tube import Tube

from .asking import ask, connect, parseAnswer
from .state import StateFolder

#: Seconds after which nobody who was invited comes any more.
PAIRING = 660.0


class Serving(Protocol):
    """
    An offer that can be withdrawn.
    """

    def stop(self) -> None:
        """
        Offer the service no more.
        """


class Running:
    """
    The client that runs on a state folder, at the other end of its control socket.
    """

    def __init__(self, reactor: Any, folder: StateFolder) -> None:
        self._reactor = reactor
        self._folder = folder

    def status(self) -> Deferred[dict[str, Any]]:
        """
        @return: how things are.
        """
        return Deferred.fromCoroutine(ask(self._reactor, self._folder, "status"))

    def open(self, peerId: str, service: str) -> Deferred[Stream]:
        """
        Open a stream to a service of a peer.
        """
        tube = Tube(self._reactor, "", peerId, service)
        request = {"command": "open", "peer": peerId}
        return Deferred.fromCoroutine(self._join(tube, request))

    def pair(self, command: str, **words: Any) -> Deferred[dict[str, Any]]:
        """
        Invite, wait for who was invited, or accept.
        """
        asked = ask(self._reactor, self._folder, command, PAIRING, **words)
        return Deferred.fromCoroutine(asked)

    def serve(
        self,
        service: str,
        allow: Sequence[str],
        take: TakeStream,
        onLost: Callable[[], object],
    ) -> Deferred[Serving]:
        """
        Offer a service.
        """
        return Deferred.fromCoroutine(self._serve(service, allow, take, onLost))

    async def _serve(
        self,
        service: str,
        allow: Sequence[str],
        take: TakeStream,
        onLost: Callable[[], object],
    ) -> Serving:
        def incoming(token: str, peer: str) -> None:
            tube = Tube(
                self._reactor, "", peer, None, lambda name, s: take(peer, name, s)
            )
            request = {"command": "take", "token": token}
            # Who opened it has gone if it cannot be fetched any more.
            Deferred.fromCoroutine(self._join(tube, request)).addErrback(_ignore)

        line = _Line(
            {"command": "serve", "service": service, "allow": list(allow)},
            incoming,
            onLost,
        )
        await connect(self._reactor, self._folder, line)
        return await line.whenServing()

    async def _join(self, tube: Tube, request: dict[str, Any]) -> Stream:
        await connect(self._reactor, self._folder, _Joining(tube, request))
        return tube.stream


def _ignore(failure: Failure) -> None:
    failure.trap(PunchError)


@implementer(IHalfCloseableProtocol)
class _Joining(LineReceiver):
    """
    I make a connection to the control socket a stream.  What is written to it
    leaves at once, behind the request.
    """

    delimiter = b"\n"

    def __init__(self, tube: Tube, request: dict[str, Any]) -> None:
        self._tube = tube
        self._request = json.dumps(request).encode()

    def connectionMade(self) -> None:
        self.sendLine(self._request)
        self._tube.makeConnection(cast(Any, self.transport))

    def lineReceived(self, line: bytes) -> None:
        try:
            self._tube.ownId = str(parseAnswer(line)["peerId"])
        except (PunchError, KeyError, TypeError) as e:
            self._tube.stream.fail(e if isinstance(e, PunchError) else ControlError())
            return
        self.setRawMode()

    def rawDataReceived(self, data: bytes) -> None:
        self._tube.dataReceived(data)

    def readConnectionLost(self) -> None:
        self._tube.readConnectionLost()

    def writeConnectionLost(self) -> None:
        self._tube.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._tube.connectionLost(reason)


class _Line(LineReceiver):
    """
    I am the connection on which a service is offered.
    """

    delimiter = b"\n"

    def __init__(
        self,
        request: dict[str, Any],
        incoming: Callable[[str, str], None],
        onLost: Callable[[], object],
    ) -> None:
        self._request = json.dumps(request).encode()
        self._incoming = incoming
        self._onLost = onLost
        self._serving: Deferred[Serving] | None = Deferred()
        self._answer = self._serving

    def whenServing(self) -> Deferred[Serving]:
        assert self._answer is not None
        return self._answer

    def stop(self) -> None:
        self._onLost = lambda: None
        cast(Any, self.transport).loseConnection()

    def connectionMade(self) -> None:
        self.sendLine(self._request)

    def lineReceived(self, line: bytes) -> None:
        serving, self._serving = self._serving, None
        try:
            if serving is not None:
                parseAnswer(line)
                serving.callback(self)
            else:
                news = json.loads(line)
                self._incoming(str(news["incoming"]), str(news["peer"]))
        except PunchError:
            if serving is not None:
                serving.errback()
            self.stop()
        except (ValueError, KeyError, TypeError):
            cast(Any, self.transport).abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.errback(ControlError("The client ended before it gave an answer."))
        else:
            self._onLost()
