"""
Asking the client that runs on a state folder, over its control socket.

@see: L{.control} for the protocol, and the other side.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any, cast

from twisted.internet import defer
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from punchd import errors
from punchd.errors import ClientNotRunning, ControlError, PunchError, StateError

from .state import StateFolder

#: The longest answer, in bytes.
MAX_ANSWER = 16 << 20


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


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol


def runs(folder: StateFolder) -> bool:
    """
    @return: whether a client runs on the folder.
    """
    with socket.socket(socket.AF_UNIX) as control:
        # On this machine a connection is made or refused at once.
        try:
            control.connect(folder.controlSocket())
        except OSError:
            return False
    return True


async def connect(reactor: Any, folder: StateFolder, protocol: Protocol) -> None:
    """
    Connect C{protocol} to the control socket.

    @raise ClientNotRunning: no client runs.
    @raise StateError: the socket is somebody else's.
    """
    path = folder.controlSocket()
    endpoint = UNIXClientEndpoint(reactor, path)
    try:
        await endpoint.connect(_One(protocol))
    except (ConnectError, OSError) as e:
        if isinstance(e, PermissionError) or (
            os.path.exists(path) and not os.access(path, os.W_OK)
        ):
            raise StateError(f"{path}: belongs to another user.") from e
        raise ClientNotRunning(
            f"No client is running on {folder.path}; "
            "start one with `twistd -n punch-client`, or name its folder with --state."
        ) from e


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
    protocol = _Asking(json.dumps({"command": command, **arguments}).encode())
    await connect(reactor, folder, protocol)
    protocol.answer.addTimeout(timeout, reactor)
    try:
        line = await protocol.answer
    except defer.TimeoutError as e:
        raise ControlError(f"The client gave no answer in {timeout:g} seconds.") from e
    return parseAnswer(line)


def parseAnswer(line: bytes) -> Any:
    """
    @return: the result that a line brings.

    @raise PunchError: it brings an error.
    """
    try:
        answer = json.loads(line)
        if "result" in answer:
            return answer["result"]
        kind, text = str(answer["error"]), str(answer["text"])
    except (ValueError, KeyError, TypeError) as e:
        raise ControlError("The client's answer cannot be understood.") from e
    cause = getattr(errors, kind, None)
    if not (isinstance(cause, type) and issubclass(cause, PunchError)):
        cause = ControlError
    raise cause(text)
