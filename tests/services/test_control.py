"""
The control socket, over real UNIX sockets.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import defer, reactor, task
from twisted.internet.error import CannotListenError
from twisted.internet.testing import StringTransport

from punchd.errors import ClientNotRunning, ControlError, PeerUnavailable, StateError
from punchd.services import control
from punchd.services.asking import ask
from punchd.services.control import ControlFactory, ControlProtocol, ControlService
from punchd.services.state import StateFolder
from punchd.services.status import Status

BOB = "b" * 52
STATUS: Status = {
    "peerId": BOB,
    "rendezvous": {"url": "punch://203.0.113.10", "connected": True},
    "nat": {
        "mapping": "endpoint-independent",
        "filtering": "address-dependent",
        "allocation": "preserving",
        "hairpin": None,
        "bindingLifetime": None,
        "publicAddresses": [],
    },
    "sessions": [],
}


class Client:
    """
    A client that can be controlled.
    """

    def __init__(self) -> None:
        self.pending: defer.Deferred[Any] = defer.Deferred()

    def status(self) -> Status:
        """Always the same."""
        return STATUS

    def why(self, peer: str) -> Any:
        """Fails as the peer's name tells."""
        if peer == "offline":
            raise PeerUnavailable("It is offline.")
        if peer == "bug":
            raise ZeroDivisionError("a bug")
        if peer == "odd":
            return object()
        return {"text": f"because of {peer}"}

    def reload(self) -> None:
        """There are no files."""

    def allows(self, peer: str, service: str) -> bool:
        """Bob may use ssh."""
        return peer.startswith("b") and service == "ssh"

    def ping(self, peer: str, count: int) -> defer.Deferred[list[float | None]]:
        """Answered when the test says so."""
        return self.pending


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A state folder."""
    return StateFolder(str(tmp_path / "state"))


@pytest.fixture
def client() -> Client:
    """The controlled client."""
    return Client()


@pytest_twisted.async_yield_fixture
async def service(
    folder: StateFolder, client: Client
) -> AsyncGenerator[ControlService, None]:
    """The service, running."""
    running = ControlService(reactor, folder, client)
    running.startService()
    yield running
    await running.stopService()


Service = ControlService


@pytest_twisted.ensureDeferred
async def testAsk(service: Service, folder: StateFolder) -> None:
    """A result comes back as it was given."""
    assert await ask(reactor, folder, "status") == STATUS
    assert await ask(reactor, folder, "why", peer="x") == {"text": "because of x"}


@pytest_twisted.ensureDeferred
async def testAskLater(service: Service, folder: StateFolder, client: Client) -> None:
    """A result may take its time."""
    asked = defer.ensureDeferred(ask(reactor, folder, "ping", peer=BOB, count=2))
    await task.deferLater(reactor, 0.01, client.pending.callback, [0.5, None])
    assert await asked == [0.5, None]


@pytest_twisted.ensureDeferred
async def testErrorKeepsItsClass(service: Service, folder: StateFolder) -> None:
    """An error of punchd arrives as what it was, with its sentence."""
    with pytest.raises(PeerUnavailable, match="It is offline"):
        await ask(reactor, folder, "why", peer="offline")


@pytest.mark.parametrize(
    ("peer", "logged"), [("bug", ZeroDivisionError), ("odd", TypeError)]
)
@pytest_twisted.ensureDeferred
async def testBugIsLogged(
    service: Service,
    folder: StateFolder,
    flushLoggedErrors: Callable[..., list[Any]],
    peer: str,
    logged: type[Exception],
) -> None:
    """A bug is logged there, and a sentence says so here."""
    with pytest.raises(ControlError, match="its log says more"):
        await ask(reactor, folder, "why", peer=peer)
    assert len(flushLoggedErrors(logged)) == 1


@pytest_twisted.ensureDeferred
async def testNobodyRuns(folder: StateFolder) -> None:
    """Without a client, the error says which folder was asked."""
    with pytest.raises(
        ClientNotRunning, match=f"No client is running on {folder.path}"
    ):
        await ask(reactor, folder, "status")


@pytest_twisted.ensureDeferred
async def testStaleSocket(folder: StateFolder, client: Client) -> None:
    """A socket that a killed client left is as good as none, and is replaced."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(folder.controlSocket())
    with pytest.raises(ClientNotRunning):
        await ask(reactor, folder, "status")
    service = ControlService(reactor, folder, client)
    service.startService()
    assert await ask(reactor, folder, "status") == STATUS
    await service.stopService()
    assert not os.path.exists(folder.controlSocket())


@pytest_twisted.ensureDeferred
async def testSocketIsPrivate(service: Service, folder: StateFolder) -> None:
    """Nobody else may open the socket."""
    assert stat.S_IMODE(os.stat(folder.controlSocket()).st_mode) == 0o600


@pytest_twisted.ensureDeferred
async def testLongFolder(tmp_path: Path, client: Client) -> None:
    """It works from a folder whose path is too long for a socket."""
    folder = StateFolder(str(tmp_path / ("d" * 120)))
    service = ControlService(reactor, folder, client)
    service.startService()
    assert await ask(reactor, folder, "status") == STATUS
    await service.stopService()


def testSomethingInTheWay(folder: StateFolder, client: Client) -> None:
    """What is in the way of the socket is not removed, and is one sentence."""
    os.mkdir(folder.file("control"))
    with pytest.raises(StateError, match="in the way of the control socket"):
        ControlService(reactor, folder, client).startService()


def testSocketCannotBeMade(folder: StateFolder, client: Client) -> None:
    """A socket that the system refuses is one sentence too."""

    class Refusing(task.Clock):
        def listenUNIX(self, address: str, *arguments: Any, **more: Any) -> None:
            raise CannotListenError(None, address, OSError("no"))

    with pytest.raises(StateError, match="control socket cannot be made: .*no"):
        ControlService(Refusing(), folder, client).startService()


@pytest_twisted.ensureDeferred
async def testStopCutsOff(folder: StateFolder, client: Client) -> None:
    """Who waits for an answer while the client stops is told."""
    service = ControlService(reactor, folder, client)
    service.startService()
    cancelled: list[Any] = []
    client.pending.addErrback(cancelled.append)
    asked = defer.ensureDeferred(ask(reactor, folder, "ping", peer=BOB, count=1))
    await task.deferLater(reactor, 0.02, lambda: None)
    await service.stopService()
    with pytest.raises(ControlError, match="ended before"):
        await asked
    assert cancelled[0].check(defer.CancelledError)


@pytest_twisted.ensureDeferred
async def testNoAnswer(service: Service, folder: StateFolder, client: Client) -> None:
    """A client that hangs is given up."""
    client.pending.addErrback(lambda failure: None)
    with pytest.raises(ControlError, match="no answer in 0.05 seconds"):
        await ask(reactor, folder, "ping", timeout=0.05, peer=BOB, count=1)


# --- what a stranger may send ---


class Talk:
    """
    One connection in memory, on a clock.
    """

    def __init__(self) -> None:
        self.clock = task.Clock()
        self.client = Client()
        self.factory = ControlFactory(self.client, self.clock)
        self.transport = StringTransport()
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        self.protocol: ControlProtocol = protocol
        protocol.makeConnection(self.transport)

    def say(self, line: bytes) -> Any:
        """Send a line; return the answer."""
        self.transport.clear()
        self.protocol.dataReceived(line + b"\n")
        return json.loads(self.transport.value())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status",
        b"[]",
        b"1",
        b'{"command": "stop"}',
        b'{"command": "__init__"}',
        b'{"command": []}',
        b'{"command": "why"}',
        b'{"command": "why", "peer": 1}',
        b'{"command": "status", "peer": "x"}',
        b'{"command": "ping", "peer": "x", "count": true}',
        b'{"command": "ping", "peer": "x", "count": 0}',
        b'{"command": "ping", "peer": "x", "count": 1001}',
        b"[" * 8000,
        b"\xff\xfe",
    ],
)
def testBadRequest(line: bytes) -> None:
    """What is no request is answered with an error, and the next one works."""
    talk = Talk()
    assert talk.say(line)["error"] == "ControlError"
    assert talk.say(b'{"command": "status"}') == {"result": STATUS}


def testEndlessRequest() -> None:
    """A request without an end is cut off early."""
    talk = Talk()
    talk.protocol.dataReceived(b"x" * (control.MAX_REQUEST + 1))
    assert talk.transport.disconnecting or talk.transport.disconnected


def testImpatientRequest() -> None:
    """Who sends a second request before the answer is cut off."""
    talk = Talk()
    talk.client.pending.addErrback(lambda failure: None)
    talk.protocol.dataReceived(b'{"command": "ping", "peer": "x", "count": 1}\n' * 2)
    assert talk.transport.disconnected


def testSilence() -> None:
    """A silent connection is closed after a while, one that awaits an answer not."""
    talk = Talk()
    talk.clock.advance(control.IDLE_TIMEOUT - 1)
    talk.protocol.dataReceived(b'{"command": "ping", "peer": "x", "count": 1}\n')
    talk.clock.advance(1000)
    assert not talk.transport.disconnected
    talk.client.pending.callback([1.0])
    assert json.loads(talk.transport.value()) == {"result": [1.0]}
    talk.clock.advance(control.IDLE_TIMEOUT)
    assert talk.transport.disconnected


def testTooManyConnections() -> None:
    """More connections than a user can need are refused."""
    talk = Talk()
    for _ in range(control.MAX_CONNECTIONS - 1):
        protocol = talk.factory.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(StringTransport())
    assert talk.factory.buildProtocol(None) is None
