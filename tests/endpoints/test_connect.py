"""
C{punchd connect}, in a process of its own, through the control socket of a client
that runs here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThread

from punchd.endpoints import PunchServerEndpoint
from punchd.errors import SessionLost
from punchd.forward.stdio import CHUNK
from tests.forward.ends import Program, Recorder

from .world import World

ASYNC = pytest_twisted.ensureDeferred
_T = TypeVar("_T")

_PUNCHD = [
    sys.executable,
    "-c",
    "import sys; from punchd.cli import main; sys.exit(main())",
]


@pytest.fixture
def world(tmp_path: Path) -> Generator[World, None, None]:
    """
    Alice and Bob, behind control sockets.
    """
    from twisted.internet import reactor

    world = World(reactor, tmp_path, True)
    yield world
    pytest_twisted.blockon(Deferred.fromCoroutine(world.stop()))


def aside(work: Callable[[], _T]) -> Deferred[_T]:
    """
    Do what blocks, while the clients go on here.
    """
    return deferToThread(work)


class Connect:
    """
    One C{punchd connect} to Bob's service C{chat}.
    """

    def __init__(self, world: World, *words: str, **kwargs: Any) -> None:
        kwargs = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | kwargs
        state = f"--state={world.a.folder.path}"
        command = [*_PUNCHD, "connect", *words, "bob/chat", state]
        self.process: Any = subprocess.Popen(command, **kwargs)

    def end(self, data: bytes = b"") -> Deferred[tuple[int, bytes, bytes]]:
        """
        @return: fires with exit status, output and errors after C{data} and the end
            of input.
        """

        def work() -> tuple[int, bytes, bytes]:
            with self.process:
                out, err = self.process.communicate(data, timeout=40)
            return self.process.returncode, out, err

        return aside(work)

    def signalled(self, number: int) -> Deferred[tuple[int, bytes]]:
        """
        @return: fires with exit status and errors after a signal.
        """

        def work() -> tuple[int, bytes]:
            self.process.send_signal(number)
            with self.process:
                self.process.wait(40)
                assert self.process.stderr is not None
                return self.process.returncode, self.process.stderr.read()

        return aside(work)

    def read(self, count: int) -> Deferred[bytes]:
        """
        @return: fires with so much output.
        """
        stdout = self.process.stdout
        assert stdout is not None
        return aside(lambda: stdout.read(count))

    def write(self, data: bytes) -> None:
        """
        Give it input, little enough for a pipe.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()


class Echo(Protocol):
    """
    Sends back what comes, as fast as it is taken.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Be paced.
        """
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        """
        That was all.
        """


async def serve(world: World, protocol: Any = Recorder) -> Program:
    """
    Bob serves C{chat} to Alice.
    """

    class Serving(Program):
        def buildProtocol(self, addr: Any) -> Any:
            made = protocol()
            self.connections.append(made)
            return made

    program = Serving()
    endpoint = PunchServerEndpoint(
        world.reactor, "chat", allow=["alice"], portal=world.b.portal
    )
    await endpoint.listen(program)
    return program


@ASYNC
async def test_halfClose(world: World) -> None:
    """
    The end of input ends our direction only; the peer's end ends the program.
    """
    program = await serve(world)
    connect = Connect(world)
    ended = connect.end(b"a question")
    bob = await program.connection(world.reactor)
    await bob.whenEnded()
    assert bytes(bob.data) == b"a question"
    bob.transport.write(b"an answer")
    bob.transport.loseConnection()
    assert await ended == (0, b"an answer", b"")


@ASYNC
async def test_peerEndsFirst(world: World) -> None:
    """
    When the peer has said all, output is at its end, and input still gets there.
    """
    program = await serve(world)
    connect = Connect(world)
    bob = await program.connection(world.reactor)
    bob.transport.write(b"bye")
    bob.transport.loseWriteConnection()
    # To its end, though the program goes on.
    assert await connect.read(-1) == b"bye"
    assert connect.process.poll() is None
    assert await connect.end(b"and yet") == (0, b"", b"")
    await bob.whenEnded()
    assert bytes(bob.data) == b"and yet"


@ASYNC
async def test_binary(world: World) -> None:
    """
    Megabytes of all bytes come back as they were, from pipes and from files.
    """
    await serve(world, Echo)
    data = os.urandom(5_000_000)
    assert await Connect(world).end(data) == (0, data, b"")
    place = Path(world.a.folder.path).parent
    (place / "in").write_bytes(data)
    with open(place / "in", "rb") as source, open(place / "out", "wb") as sink:
        ended = Connect(world, stdin=source, stdout=sink).end
        status, _, errors = await ended()
    assert (status, errors) == (0, b"")
    assert (place / "out").read_bytes() == data


@ASYNC
async def test_nothingToRead(world: World) -> None:
    """
    Without input there is only output.
    """
    program = await serve(world)
    ended = Connect(world, stdin=subprocess.DEVNULL).end
    bob = await program.connection(world.reactor)
    await bob.whenEnded()
    bob.transport.write(b"news")
    bob.transport.loseConnection()
    assert await ended() == (0, b"news", b"")


@ASYNC
async def test_refused(world: World) -> None:
    """
    A connection that cannot be made is one sentence and status 1.
    """
    ended = await Connect(world).end()
    assert ended == (1, b"", b"punchd: The peer does not let you use that service.\n")


@ASYNC
async def test_broken(world: World) -> None:
    """
    A connection that breaks is one sentence and status 1, too.
    """
    program = await serve(world)
    connect = Connect(world)
    bob = await program.connection(world.reactor)
    bob.transport.write(b"half a")
    assert await connect.read(6) == b"half a"
    world.a.end.streams.lose(SessionLost("The moon is in the way."))
    assert await connect.end() == (1, b"", b"punchd: The moon is in the way.\n")
    bob.transport.abortConnection()


@ASYNC
async def test_aborted(world: World) -> None:
    """
    A peer that aborts breaks the connection.
    """
    program = await serve(world)
    connect = Connect(world)
    bob = await program.connection(world.reactor)
    bob.transport.write(b"x")
    assert await connect.read(1) == b"x"
    bob.transport.abortConnection()
    status, _, errors = await connect.end()
    assert status == 1
    assert errors.startswith(b"punchd: The connection broke: ")
    assert errors.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@ASYNC
async def test_signal(world: World, number: int) -> None:
    """
    A signal ends it quietly, and the peer's side of the connection with it.
    """
    program = await serve(world)
    connect = Connect(world)
    bob = await program.connection(world.reactor)
    bob.transport.write(b"x")
    assert await connect.read(1) == b"x"
    assert await connect.signalled(number) == (128 + number, b"")
    await bob.whenLost()
    assert bob.reason is not None


@ASYNC
async def test_nobodyReads(world: World) -> None:
    """
    When nobody reads its output any more, it ends, quietly, though idle.
    """
    program = await serve(world)
    connect = Connect(world)
    bob = await program.connection(world.reactor)
    bob.transport.write(b"x")
    assert await connect.read(1) == b"x"
    assert connect.process.stdout is not None
    connect.process.stdout.close()
    assert await aside(lambda: connect.process.wait(40)) == 1
    await bob.whenLost()
    assert connect.process.stderr is not None
    assert connect.process.stderr.read() == b""
    for pipe in (connect.process.stdin, connect.process.stderr):
        assert pipe is not None
        pipe.close()


@ASYNC
async def test_slowOutput(world: World) -> None:
    """
    Who reads its output slowly makes the peer wait, not the memory grow.
    """
    program = await serve(world)
    connect = Connect(world)
    bob = await program.connection(world.reactor)
    data = bytes(CHUNK)
    written = 0
    waiting: list[bool] = []

    class Producer:
        def resumeProducing(self) -> None:
            nonlocal written
            waiting.clear()
            while not waiting and written < 100_000_000:
                written += len(data)
                bob.transport.write(data)

        def pauseProducing(self) -> None:
            waiting.append(True)

        def stopProducing(self) -> None:
            waiting.append(True)

    producer = Producer()
    bob.transport.registerProducer(producer, True)
    producer.resumeProducing()
    before, count = -1, 0
    while before != written:
        before = written
        assert len(await connect.read(1)) == 1
        count += 1
    assert before < 10_000_000
    assert await connect.read(before - count) == bytes(before - count)
    assert written > before
    bob.transport.unregisterProducer()
    bob.transport.abortConnection()
    assert (await connect.end())[0] == 1


@ASYNC
async def test_progress(world: World) -> None:
    """
    The progress line is on standard error, and says at last what has passed.
    """
    await serve(world, Echo)
    status, out, errors = await Connect(world, "--progress").end(b"x" * 2000)
    assert (status, len(out)) == (0, 2000)
    *_, last = errors.decode().split("\r")
    assert last.startswith("bob/chat: connecting, sent 2.0 kB, received 2.0 kB, ")
    assert last.endswith("\n")
