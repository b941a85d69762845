"""
Which client the programs of a state folder use.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from punchd.endpoints import PeerConnectError, PunchClientEndpoint
from punchd.errors import ClientNotRunning, ControlError, InvalidOption, Replaced
from punchd.forward.serving import Serving
from punchd.services import portal as portalModule
from punchd.services.control import ControlService
from punchd.services.portal import Portal, portalFor
from punchd.services.running import Running
from punchd.services.state import StateFolder
from punchd.session.address import PunchAddress
from tests.forward.ends import Program

from .test_endpoints import connect, serve
from .world import URL, World

ASYNC = pytest_twisted.ensureDeferred
PEER = "b" * 52


class Own:
    """
    A client of a process's own.
    """

    def __init__(self) -> None:
        self.stopped = 0
        self.made: list[Any] = []
        self.gaveUp: Any = None

    def make(self, reactor: Any, folder: Any, urls: Any, gaveUp: Any) -> Any:
        """
        @see: L{punchd.services.portal.makeOwn}.
        """
        self.made.append(list(urls))
        self.gaveUp = gaveUp
        return self, self.stop

    def stop(self) -> Deferred[None]:
        """
        Count it.
        """
        self.stopped += 1
        return succeed(None)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """
    A state folder.
    """
    return StateFolder(str(tmp_path / "state"))


def _portal(folder: StateFolder, own: Own, *urls: Any) -> Any:
    from twisted.internet import reactor

    return Portal(reactor, folder, urls, own.make)


@ASYNC
async def test_ownClient(folder: StateFolder) -> None:
    """
    Without a running client, one is started once, holds the lock, and is stopped.
    """
    own = Own()
    portal = _portal(folder, own, URL)
    assert await portal.door() is own
    assert await portal.door() is own
    assert own.made == [[URL]]
    other = StateFolder(folder.path)
    with pytest.raises(Exception, match="in use by process"):
        other.lock()
    await portal.stop()
    assert own.stopped == 1
    other.lock()
    other.close()


@ASYNC
async def test_rememberedRendezvous(folder: StateFolder) -> None:
    """
    The rendezvous is the one that the client had the last time; without any, and
    without a client, there is nothing to be done.
    """
    own = Own()
    portal = _portal(folder, own)
    with pytest.raises(ClientNotRunning, match="never was told a rendezvous"):
        await portal.door()
    folder.write("rendezvous", f"{URL}\n".encode())
    assert await portal.door() is own
    assert [[str(url) for url in urls] for urls in own.made] == [[str(URL)]]
    await portal.stop()


@ASYNC
async def test_runningClient(world: World) -> None:
    """
    A running client is preferred to one of our own.
    """
    door = await world.a.portal.door()
    assert isinstance(door, Running) == (world.a.control is not None)
    assert await door.status() == {"sessions": []}


@ASYNC
async def test_twoAtOnce(folder: StateFolder) -> None:
    """
    Who finds the lock taken waits until the other one's control socket is there.
    """
    from twisted.internet import reactor

    first = StateFolder(folder.path)
    first.lock()
    own = Own()
    waiting = Deferred.fromCoroutine(_portal(folder, own, URL).door())
    await deferLater(reactor, 0.1)
    assert not waiting.called
    controlled: Any = own
    service = ControlService(reactor, first, controlled)
    service.startService()
    assert isinstance(await waiting, Running)
    assert own.made == []
    await service.stopService()
    first.close()


@ASYNC
async def test_restartedClient(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A client that is restarted finds its place free, though programs have used it; one
    that stays away is replaced by a program.
    """
    from twisted.internet import reactor

    own = Own()
    controlled: Any = own
    portal = _portal(folder, own, URL)
    first = StateFolder(folder.path)
    first.lock()
    service = ControlService(reactor, first, controlled)
    service.startService()
    assert isinstance(await portal.door(), Running)
    await service.stopService()
    first.close()
    waiting = Deferred.fromCoroutine(portal.door())
    await deferLater(reactor, 0.2)
    assert not waiting.called
    first.lock()
    service.startService()
    assert isinstance(await waiting, Running)
    await service.stopService()
    first.close()
    monkeypatch.setattr(portalModule, "RETURNING", 0.1)
    assert await portal.door() is own
    await portal.stop()


@ASYNC
async def test_lockNeverFreed(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Who holds the lock and never answers is named in the error.
    """
    monkeypatch.setattr(portalModule, "AGREEING", 0.1)
    first = StateFolder(folder.path)
    first.lock()
    with pytest.raises(Exception, match="in use by process"):
        await _portal(folder, Own(), URL).door()
    first.close()


@ASYNC
async def test_gaveUp(folder: StateFolder) -> None:
    """
    A client that was replaced is stopped, and lets the lock go.
    """
    own = Own()
    portal = _portal(folder, own, URL)
    await portal.door()
    own.gaveUp(Failure(Replaced()))
    assert own.stopped == 1
    other = StateFolder(folder.path)
    other.lock()
    other.close()


@ASYNC
async def test_offeredAnew(tmp_path: Path) -> None:
    """
    A service is offered again when the client has come back.
    """
    from twisted.internet import reactor

    world = World(reactor, tmp_path, True)
    listening = await serve(world)
    assert world.b.control is not None
    await world.b.control.stopService()
    while world.b.serving.offers:
        await deferLater(reactor, 0.01)
    world.b.control.startService()
    while not world.b.serving.offers:
        await deferLater(reactor, 0.01)
    alice = await connect(world)
    bob = await listening.program.connection(reactor)
    alice.transport.write(b"hello")
    await bob.whenData(5)
    assert bytes(bob.data) == b"hello"
    await world.stop()


def _talk(folder: StateFolder, *requests: Any) -> list[Any]:
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(20)
        control.connect(folder.controlSocket())
        with control.makefile("rwb") as file:
            answers = []
            for request in requests:
                file.write(json.dumps(request).encode() + b"\n")
                file.flush()
                answers.append(json.loads(file.readline()))
    return answers


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"command": "take", "token": "x"}, "gone"),
        ({"command": "open", "peer": 5}, "arguments of 'open'"),
        ({"command": "serve", "service": "a b", "allow": []}, "cannot name"),
        ({"command": "serve", "service": "x", "allow": [5]}, "by their ids"),
    ],
)
@ASYNC
async def test_wrongRequest(tmp_path: Path, request_: Any, text: str) -> None:
    """
    A request that makes no sense is answered with a sentence.
    """
    from twisted.internet import reactor
    from twisted.internet.threads import deferToThread

    world = World(reactor, tmp_path, True)
    (answer,) = await deferToThread(_talk, world.b.folder, request_)
    assert text in answer["text"]
    await world.stop()


def test_noHandover() -> None:
    """
    A client that gives no streams says so.
    """
    from tests.services.test_control import Talk

    talk = Talk()
    request = json.dumps({"command": "open", "peer": PEER}).encode()
    assert talk.say(request) == {
        "error": "ControlError",
        "text": "This client cannot open here.",
    }


@ASYNC
async def test_nobodyFetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A stream that its program does not fetch is refused after a while.
    """
    from twisted.internet import reactor

    monkeypatch.setattr("punchd.services.handover.FETCH", 0.05)
    world = World(reactor, tmp_path, True)
    told: list[Any] = []
    offer = world.b.handover.serve("chat", [world.a.identity.peerId], told.append)
    with pytest.raises(PeerConnectError):
        await connect(world)
    assert [news["peer"] for news in told] == [world.a.identity.peerId]
    with pytest.raises(ControlError, match="gone"):
        world.b.handover.take(told[0]["incoming"])
    offer.stop()
    await world.stop()


def test_serving() -> None:
    """
    Offers add to what is published and permitted, and go without a trace.
    """
    serving = Serving(published=lambda service: service == "ssh")
    taken: list[Any] = []
    with pytest.raises(InvalidOption, match="published already"):
        serving.serve("ssh", [], print)
    assert not serving.allowsPeer(PEER)
    offer = serving.serve("www", [PEER], lambda *what: taken.append(what))
    assert serving.allowsPeer(PEER)
    assert serving.allows(PEER, "www")
    assert not serving.allows(PEER, "ssh")
    assert not serving.allows("a" * 52, "www")
    serving(PEER, "www", "a stream")
    assert taken == [(PEER, "www", "a stream")]
    offer.stop()
    assert not serving.allowsPeer(PEER)
    assert serving.offers == {}


# --- strings


def test_strings(tmp_path: Path) -> None:
    """
    Both kinds of strings give endpoints, which share a portal for their folder.
    """
    from twisted.internet import reactor

    state = f"state={tmp_path}/s:rendezvous=punch\\://192.0.2.1"
    client = clientFromString(reactor, f"punch:bob/www:{state}:timeout=5")
    server = serverFromString(reactor, f"punch:www:{state}:allow=bob,carol")
    assert verifyObject(IStreamClientEndpoint, client)
    assert verifyObject(IStreamServerEndpoint, server)
    assert repr(client) == "<PunchClientEndpoint bob/www>"
    assert repr(server) == "<PunchServerEndpoint www>"
    portal = portalFor(reactor, f"{tmp_path}/s", [URL])
    assert portalFor(reactor, f"{tmp_path}/s", [URL]) is portal
    assert portal.urls == [URL]
    assert portalFor(reactor, f"{tmp_path}/other") is not portal


@pytest.mark.parametrize(
    ("make", "text", "words"),
    [
        (clientFromString, "punch:bob", "expected PEER/NAME"),
        (clientFromString, "punch:bob/a b", "cannot name a service"),
        (clientFromString, "punch:bob/www:timeout=soon", "a number of seconds"),
        (clientFromString, "punch:bob/www:rendezvous=x", "punch://"),
        (serverFromString, "punch:a/b", "cannot name a service"),
    ],
)
def test_wrongString(make: Any, text: str, words: str) -> None:
    """
    A string that is wrong says what was expected.
    """
    with pytest.raises(ValueError, match=words):
        make(None, text)


@ASYNC
async def test_nothingRuns(tmp_path: Path) -> None:
    """
    Without a client and a rendezvous, listening fails at once, and connecting with
    the same sentence.
    """
    from twisted.internet import reactor

    folder = f"state={tmp_path}/s"
    failures: list[Failure] = []
    listening = serverFromString(reactor, f"punch:www:{folder}").listen(Program())
    listening.addErrback(failures.append)
    assert failures[0].check(CannotListenError)
    assert "never was told a rendezvous" in str(failures[0].value)
    StateFolder(f"{tmp_path}/s").petnames.add("bob", PEER)
    client = clientFromString(reactor, f"punch:bob/www:{folder}")
    assert isinstance(client, PunchClientEndpoint)
    with pytest.raises(PeerConnectError) as caught:
        await client.connect(Program())
    assert isinstance(caught.value.reason, ClientNotRunning)
    assert str(PunchAddress(PEER, "www")) == f"{PEER}/www"
