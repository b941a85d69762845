"""
C{punch:} endpoints, in one process and through control sockets.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import (
    CannotListenError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    TimeoutError,
)
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from punchd.endpoints import (
    PeerConnectError,
    PunchClientEndpoint,
    PunchServerEndpoint,
)
from punchd.errors import (
    InvalidOption,
    NotAllowed,
    ServiceFailed,
    SessionLost,
    UnknownPeer,
)
from punchd.session.address import PunchAddress
from tests.forward.ends import Program, Recorder

from .world import ALICE, BOB, World

ASYNC = pytest_twisted.ensureDeferred


class Listening:
    """
    A service of Bob's.

    @ivar program: who serves it.
    @ivar port: where.
    """

    def __init__(self, program: Program, port: Any) -> None:
        self.program = program
        self.port = port


async def serve(
    world: World, service: str = "chat", allow: Any = ("alice",), factory: Any = None
) -> Listening:
    """
    Bob serves.
    """
    endpoint = PunchServerEndpoint(
        world.reactor, service, allow=allow, portal=world.b.portal
    )
    program = factory or Program()
    return Listening(program, await endpoint.listen(program))


async def connect(
    world: World, service: str = "chat", factory: Any = None, **options: Any
) -> Recorder:
    """
    Alice connects.
    """
    endpoint = PunchClientEndpoint(
        world.reactor, "bob", service, portal=world.a.portal, **options
    )
    found: Any = await endpoint.connect(factory or Factory.forProtocol(Recorder))
    return found


async def both(world: World) -> tuple[Recorder, Recorder]:
    """
    @return: the protocols of a connection, Alice's first.
    """
    listening = await serve(world)
    alice = await connect(world)
    return alice, await listening.program.connection(world.reactor)


@ASYNC
async def test_addresses(world: World) -> None:
    """
    Both ends know who is where, and the factories were told.
    """
    told: list[Any] = []

    class Curious(Program):
        def buildProtocol(self, addr: Any) -> Recorder:
            told.append(addr)
            return super().buildProtocol(addr)

    listening = await serve(world, factory=Curious())
    alice = await connect(world, factory=Curious())
    bob = await listening.program.connection(world.reactor)
    aliceAddress = PunchAddress(ALICE.peerId, "chat")
    bobAddress = PunchAddress(BOB.peerId, "chat")
    assert (alice.transport.getHost(), alice.transport.getPeer()) == (
        aliceAddress,
        bobAddress,
    )
    assert (bob.transport.getHost(), bob.transport.getPeer()) == (
        bobAddress,
        aliceAddress,
    )
    assert sorted(told, key=str) == sorted([aliceAddress, bobAddress], key=str)
    assert listening.port.getHost() == bobAddress
    assert verifyObject(IListeningPort, listening.port)


@ASYNC
async def test_halfClose(world: World) -> None:
    """
    Who ends one direction goes on receiving in the other one.
    """
    alice, bob = await both(world)
    alice.transport.write(b"that is all")
    alice.transport.loseWriteConnection()
    await bob.whenEnded()
    assert bytes(bob.data) == b"that is all"
    bob.transport.write(b"an answer")
    bob.transport.loseConnection()
    await alice.whenLost()
    await bob.whenLost()
    assert bytes(alice.data) == b"an answer"
    assert isinstance(alice.reason, ConnectionDone)
    assert isinstance(bob.reason, ConnectionDone)


@ASYNC
async def test_abort(world: World) -> None:
    """
    An abort is no clean end at the other side.
    """
    alice, bob = await both(world)
    alice.transport.abortConnection()
    await bob.whenLost()
    assert isinstance(bob.reason, ConnectionLost)


@ASYNC
async def test_largeAndBinary(world: World) -> None:
    """
    Megabytes arrive as they were, both ways at once.
    """
    alice, bob = await both(world)
    data = os.urandom(3_000_000)
    alice.transport.write(data)
    bob.transport.write(data[::-1])
    await bob.whenData(len(data))
    await alice.whenData(len(data))
    assert bytes(bob.data) == data
    assert bytes(alice.data) == data[::-1]


class Pump:
    """
    A push producer without end.
    """

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.paused = False
        self.written = 0

    def start(self) -> None:
        """
        Write until paused, at most 100 MB.
        """
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """
        Go on.
        """
        self.paused = False
        while not self.paused and self.written < 100_000_000:
            self.written += 100_000
            self.transport.write(bytes(100_000))

    def pauseProducing(self) -> None:
        """
        Wait.
        """
        self.paused = True

    def stopProducing(self) -> None:
        """
        It is over.
        """
        self.paused = True


@ASYNC
async def test_slowReader(world: World) -> None:
    """
    A reader that pauses stops who writes, after a few megabytes; then it goes on.
    """
    alice, bob = await both(world)
    bob.transport.pauseProducing()
    pump = Pump(alice.transport)
    pump.start()
    written = -1
    while written != pump.written:
        written = pump.written
        await deferLater(world.reactor, 0.2)
    assert pump.paused
    # Three hops of a window each, and what lies between.
    assert pump.written < 8_000_000
    before = pump.written
    bob.transport.resumeProducing()
    await bob.whenData(before + 1_000_000)
    assert pump.written > before
    alice.transport.abortConnection()
    await bob.whenLost()


@ASYNC
async def test_notAllowed(world: World) -> None:
    """
    Nobody reaches a service until allowed; the reason comes with the error.
    """
    listening = await serve(world, allow=())
    with pytest.raises(PeerConnectError) as caught:
        await connect(world)
    assert isinstance(caught.value.reason, NotAllowed)
    assert str(caught.value) == str(NotAllowed())
    assert listening.program.connections == []


@ASYNC
async def test_noSuchPeer(world: World) -> None:
    """
    A name that nobody has fails the connection, and listening.
    """
    endpoint = PunchClientEndpoint(
        world.reactor, "carol", "chat", portal=world.a.portal
    )
    with pytest.raises(PeerConnectError) as caught:
        await endpoint.connect(Program())
    assert isinstance(caught.value.reason, UnknownPeer)
    with pytest.raises(CannotListenError, match="carol"):
        await serve(world, allow=["carol"])


@ASYNC
async def test_stopListening(world: World) -> None:
    """
    A port that stops takes no new connections, and keeps those that there are.
    """
    alice, bob = await both(world)
    # The name is taken.
    with pytest.raises(CannotListenError, match="published already"):
        await serve(world)
    listening = await serve(world, "other")
    other = await connect(world, "other")
    served = await listening.program.connection(world.reactor)
    await listening.port.stopListening()
    while "other" in world.b.serving.offers:
        await deferLater(world.reactor, 0.01)
    with pytest.raises(PeerConnectError):
        await connect(world, "other")
    other.transport.write(b"still here")
    await served.whenData(10)
    assert (alice.reason, bob.reason, other.reason) == (None, None, None)


@ASYNC
async def test_sessionEnds(world: World) -> None:
    """
    The protocols are told what ended the session.
    """
    alice, bob = await both(world)
    world.a.end.streams.lose(SessionLost("The moon is in the way."))
    await alice.whenLost()
    assert isinstance(alice.reason, SessionLost)
    assert str(alice.reason) == "The moon is in the way."
    bob.transport.abortConnection()


class Nothing(Program):
    """
    Makes no protocols.
    """

    def buildProtocol(self, addr: Any) -> Any:
        """
        @return: nothing.
        """
        return None


@ASYNC
async def test_noProtocol(world: World) -> None:
    """
    A factory without a protocol refuses the connection, at either side.
    """
    await serve(world, factory=Nothing())
    for factory in (None, Nothing()):
        with pytest.raises(PeerConnectError) as caught:
            await connect(world, factory=factory)
        assert isinstance(caught.value.reason, ServiceFailed)


class Broken(Program):
    """
    Fails to make a protocol.
    """

    def buildProtocol(self, addr: Any) -> Any:
        """
        Fail.
        """
        raise ZeroDivisionError


@ASYNC
async def test_brokenFactory(world: World, flushLoggedErrors: Any) -> None:
    """
    A factory that raises is logged, and refuses the connection.
    """
    await serve(world, factory=Broken())
    with pytest.raises(PeerConnectError):
        await connect(world)
    assert len(flushLoggedErrors(ZeroDivisionError)) == 1


@ASYNC
async def test_cancelled(world: World) -> None:
    """
    Connecting can be given up, and is given up by itself when it takes too long.
    """
    world.b.end.streams.onIncoming = lambda service, stream: None
    endpoint = PunchClientEndpoint(world.reactor, "bob", "chat", portal=world.a.portal)
    connecting = endpoint.connect(Program())
    await deferLater(world.reactor, 0.05)
    connecting.cancel()
    with pytest.raises(ConnectingCancelledError) as caught:
        await connecting
    assert caught.value.address == PunchAddress("bob", "chat")
    with pytest.raises(TimeoutError, match="bob did not answer in time"):
        await connect(world, timeout=0.1)


@ASYNC
async def test_shared(world: World) -> None:
    """
    Many connections at once share the session, and none waits for another.
    """
    listening = await serve(world)
    made = [await connect(world) for _ in range(20)]
    for number, recorder in enumerate(made):
        recorder.transport.write(b"%d" % number)
    for number in range(20):
        bob = await listening.program.connection(world.reactor, number)
        await bob.whenData()
        bob.transport.write(bytes(bob.data) * 2)
        bob.transport.loseConnection()
    for number, recorder in enumerate(made):
        await recorder.whenEnded()
        assert bytes(recorder.data) == b"%d" % number * 2
        recorder.transport.loseConnection()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda r: PunchClientEndpoint(r, "bob", "a b"), "cannot name a service"),
        (lambda r: PunchClientEndpoint(r, "b/b", "x"), "cannot name a service"),
        (lambda r: PunchServerEndpoint(r, ""), "cannot name a service"),
        (lambda r: PunchServerEndpoint(r, "x", rendezvous=["http://x"]), "http://x"),
    ],
)
def test_wrongArguments(make: Any, words: str) -> None:
    """
    What cannot be an endpoint is none from the beginning.
    """
    with pytest.raises(InvalidOption, match=words):
        make(None)
