"""
Forwards that lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import (
    ConnectError,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from punchd.errors import InvalidOption, NoSuchService, PeerUnavailable, ServiceFailed
from punchd.forward import publish
from punchd.forward.publish import Forwarder, Publisher
from punchd.forward.rules import Forward, Publication
from tests.forward.ends import Ends, Program, Recorder

LISTEN = "tcp:0:interface=127.0.0.1"


async def use(ends: Ends, port: int) -> Recorder:
    """
    @return: a user's connection.
    """
    return await ends.user(clientFromString(ends.reactor, f"tcp:127.0.0.1:{port}"))


def unusedPort(ends: Ends) -> int:
    """
    @return: a port that nobody listens on.
    """
    port = ends.reactor.listenTCP(0, Program(), interface="127.0.0.1")
    number: int = port.getHost().port
    port.stopListening()
    return number


@pytest_twisted.ensureDeferred
async def test_programRefuses(ends: Ends, warnings: list[str]) -> None:
    """
    Nobody listens where the publication leads: the user is reset, the dialler's
    log says why in general, the publisher's log exactly.
    """
    nowhere = unusedPort(ends)
    ends.publish(ssh=f"tcp:127.0.0.1:{nowhere}")
    user = await use(ends, ends.forward("ssh"))
    user.transport.write(b"hello")
    await user.whenLost()
    assert isinstance(user.reason, ConnectionLost)
    theirs, ours = sorted(warnings, key=lambda line: line.startswith("--forward"))
    assert theirs.startswith(f"--publish=ssh=tcp:127.0.0.1:{nowhere}: Connection was ")
    assert ours == (
        f"--forward={LISTEN}=bob/ssh: "
        "The program behind the service refused the connection."
    )
    with pytest.raises(ServiceFailed, match="refused the connection"):
        await ends.streams[0].whenOpen()


@pytest_twisted.ensureDeferred
async def test_notPublished(ends: Ends, warnings: list[str]) -> None:
    """
    A service that is not published is refused as such.
    """
    ends.publish(web="tcp:127.0.0.1:9")
    user = await use(ends, ends.forward("ssh"))
    await user.whenLost()
    assert isinstance(user.reason, ConnectionLost)
    assert warnings == [
        f"--forward={LISTEN}=bob/ssh: The peer publishes no service of that name."
    ]
    with pytest.raises(NoSuchService):
        await ends.streams[0].whenOpen()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), "refused the connection."),
        (TimeoutError(), "did not answer in time."),
        (ConnectError(), "cannot be reached."),
        (DNSLookupError("db.internal"), "could not connect to the program behind"),
    ],
)
def test_reasons(error: Exception, reason: str) -> None:
    """
    The peer is told what failed, not where.
    """
    text = publish._reasonFor(Failure(error))
    assert reason in text
    assert "internal" not in text


@pytest_twisted.ensureDeferred
async def test_peerUnavailable(ends: Ends, warnings: list[str]) -> None:
    """
    No stream can be had: the user is reset, and one line says why.
    """
    forwarder = Forwarder(
        ends.reactor,
        Forward(LISTEN, "bob", "ssh"),
        "ID",
        lambda peer, service: fail(PeerUnavailable()),
    )
    forwarder.startService()
    port: Any = forwarder.port
    user = await use(ends, port.getHost().port)
    await user.whenLost()
    assert isinstance(user.reason, ConnectionLost)
    assert warnings == [
        f"--forward={LISTEN}=bob/ssh: "
        "The peer is offline, unknown, or does not let you in."
    ]
    await maybeDeferred(forwarder.stopService)


class Opening:
    """
    A forwarder whose streams take their time.
    """

    def __init__(self, ends: Ends) -> None:
        self.asked: list[tuple[str, str]] = []
        self.cancelled = Deferred[None]()
        self.opening = Deferred[Any](lambda _: self.cancelled.callback(None))
        self.forwarder = Forwarder(
            ends.reactor, Forward(LISTEN, "bob", "ssh"), "ID", self.open
        )
        self.forwarder.startService()

    def open(self, peer: str, service: str) -> Deferred[Any]:
        """
        Wait.
        """
        self.asked.append((peer, service))
        return self.opening

    @property
    def port(self) -> int:
        """
        Where it listens.
        """
        port: Any = self.forwarder.port
        number: int = port.getHost().port
        return number

    async def stop(self) -> None:
        """
        Stop the forwarder.
        """
        await maybeDeferred(self.forwarder.stopService)


@pytest_twisted.ensureDeferred
async def test_userWaits(ends: Ends) -> None:
    """
    What the user sends while the stream is opened is not lost.
    """
    program, host = ends.program(serverFromString(ends.reactor, LISTEN))
    ends.publish(ssh=f"tcp:127.0.0.1:{host.port}")
    opening = Opening(ends)
    user = await use(ends, opening.port)
    user.transport.write(b"early")
    user.transport.loseWriteConnection()
    while not opening.asked:
        await deferLater(ends.reactor, 0.001)
    assert opening.asked == [("ID", "ssh")]
    opening.opening.callback(ends.stream("ssh"))
    end = await program.connection(ends.reactor)
    await end.whenEnded()
    assert end.data == b"early"
    end.transport.loseConnection()
    await user.whenEnded()
    await opening.stop()


@pytest_twisted.ensureDeferred
async def test_userLeaves(ends: Ends, warnings: list[str]) -> None:
    """
    A user who leaves before there is a stream cancels its opening.
    """
    opening = Opening(ends)
    user = await use(ends, opening.port)
    while not opening.asked:
        await deferLater(ends.reactor, 0.001)
    user.transport.abortConnection()
    await opening.cancelled
    assert warnings == []
    await opening.stop()


@pytest_twisted.ensureDeferred
async def test_streamForNobody(ends: Ends) -> None:
    """
    A stream that comes although its opening was cancelled is aborted.
    """

    class Stream:
        aborted = False

        def abortConnection(self) -> None:
            self.aborted = True

    opening = Opening(ends)
    # Deaf to being cancelled, and so still there to be fired.
    opening.opening = Deferred(lambda _: None)
    lost = Failure(ConnectionLost())
    half = publish._User(opening.forwarder)
    half.lost = lost
    stream = Stream()
    opening.forwarder._opened(stream, half)
    assert stream.aborted
    await opening.stop()


@pytest_twisted.ensureDeferred
async def test_stop(ends: Ends) -> None:
    """
    A forwarder that stops resets its users and gives its port back.
    """
    opening = Opening(ends)
    port = opening.port
    user = await use(ends, port)
    while not opening.asked:
        await deferLater(ends.reactor, 0.001)
    await opening.stop()
    await user.whenLost()
    assert isinstance(user.reason, ConnectionLost)
    with pytest.raises(ConnectionRefusedError):
        await use(ends, port)
    assert opening.cancelled.called
    opening.forwarder.startService()
    assert opening.forwarder.port is not None
    await opening.stop()


def test_portInUse(ends: Ends) -> None:
    """
    A port in use is one sentence that names the option.
    """
    _, host = ends.program(serverFromString(ends.reactor, LISTEN))
    rule = Forward(f"tcp:{host.port}:interface=127.0.0.1", "bob", "ssh")
    forwarder = Forwarder(ends.reactor, rule, "ID", ends.open)
    with pytest.raises(InvalidOption) as caught:
        forwarder.startService()
    assert str(caught.value) == f"{rule}: cannot listen there: Address already in use."


def test_listenFailsLater(
    ends: Ends, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An endpoint that fails later can only log it; one that is stopped before is
    cancelled, silently.
    """

    class Endpoint:
        def __init__(self) -> None:
            self.listening = Deferred[Any]()

        def listen(self, factory: Any) -> Deferred[Any]:
            return self.listening

    made: list[Endpoint] = []

    def serverFromString(reactor: Any, description: str) -> Any:
        made.append(Endpoint())
        return made[-1]

    monkeypatch.setattr(publish, "serverFromString", serverFromString)
    rule = Forward("punch:x", "bob", "ssh")
    for _ in range(2):
        Forwarder(ends.reactor, rule, "ID", ends.open).startService()
    made[0].listening.errback(RuntimeError("no luck"))
    assert warnings == [f"{rule}: cannot listen there: no luck."]
    third = Forwarder(ends.reactor, rule, "ID", ends.open)
    third.startService()
    assert third.stopService() is None
    assert len(warnings) == 1
    assert isinstance(made[2].listening.result, type(None))


class Waiting:
    """
    A stream that waits to be let in.
    """

    datagrams = False

    def __init__(self) -> None:
        self.gone = Deferred[Any]()
        self.refused: list[tuple[Any, str]] = []
        self.aborted = False

    def whenOpen(self) -> Deferred[Any]:
        return self.gone

    def refuse(self, error: Any, reason: str = "") -> None:
        self.refused.append((error, reason))

    def accept(self, protocol: Any) -> None:
        raise RuntimeError("a bug")

    def abortConnection(self) -> None:
        self.aborted = True


def test_openerLeaves(ends: Ends, warnings: list[str], monkeypatch: Any) -> None:
    """
    A stream that is gone cancels the connection to the program.
    """
    connecting = Deferred[Any]()

    class Endpoint:
        def connect(self, factory: Any) -> Deferred[Any]:
            return connecting

    monkeypatch.setattr(publish, "clientFromString", lambda *args: Endpoint())
    stream = Waiting()
    Publisher(ends.network, [Publication("ssh", "tcp:h:1")])("ID", "ssh", stream)
    outcome: list[Any] = []
    connecting.addBoth(outcome.append)
    stream.gone.errback(ConnectionLost())
    assert stream.refused == []
    assert warnings == []
    assert outcome == [None]


def test_bugs(
    ends: Ends, flushLoggedErrors: Callable[..., list[Any]], monkeypatch: Any
) -> None:
    """
    What should not happen is logged as a failure, and both sides are broken.
    """
    connected = Deferred[Any]()

    class Endpoint:
        def connect(self, factory: Any) -> Deferred[Any]:
            return connected

    monkeypatch.setattr(publish, "clientFromString", lambda *args: Endpoint())
    stream = Waiting()
    Publisher(ends.network, [Publication("ssh", "tcp:h:1")])("ID", "ssh", stream)
    connected.callback(object())
    assert stream.aborted
    assert len(flushLoggedErrors(RuntimeError)) == 1
