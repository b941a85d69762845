"""
C{punchd connect}, in a process of its own, through the control socket of a client
that runs here.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from punchd.cli import main
from punchd.errors import SessionLost
from punchd.forward.stdio import CHUNK

from .connecting import PUNCHD, Connect, Echo, aside, serve
from .world import World

ASYNC = pytest_twisted.ensureDeferred


@pytest.fixture
def world(tmp_path: Path) -> Generator[World, None, None]:
    """
    Alice and Bob, behind control sockets.
    """
    from twisted.internet import reactor

    world = World(reactor, tmp_path, True)
    yield world
    pytest_twisted.blockon(Deferred.fromCoroutine(world.stop()))


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


@ASYNC
async def test_terminal(world: World) -> None:
    """
    Who sits at a terminal is let go when the peer has said all, and the terminal is
    left as it was.
    """
    program = await serve(world)
    master, slave = os.openpty()
    connect = Connect(world, stdin=slave, stdout=slave, stderr=slave)
    bob = await program.connection(world.reactor)
    os.write(master, b"hello\n")
    await bob.whenData(6)
    bob.transport.write(b"goodbye\n")
    bob.transport.loseConnection()
    assert await aside(lambda: connect.process.wait(40)) == 0
    assert os.get_blocking(slave)
    # The terminal shows what was typed, too.
    shown, expected = b"", b"hello\r\ngoodbye\r\n"
    # The kernel may bring them one after the other.
    while len(shown) < len(expected):
        shown += os.read(master, 100)
    assert shown == expected
    os.close(master)
    os.close(slave)


@ASYNC
async def test_closedDescriptors(world: World) -> None:
    """
    Without standard input and output at all, it is as with empty ones.
    """
    program = await serve(world)
    state = f"--state={world.a.folder.path}"
    words = [*PUNCHD, "connect", "bob/chat", state]

    def work() -> tuple[int, bytes]:
        done = subprocess.run(
            ["sh", "-c", '"$@" <&- >&-', "sh", *words],
            stderr=subprocess.PIPE,
            timeout=40,
        )
        return done.returncode, done.stderr

    ended = aside(work)
    bob = await program.connection(world.reactor)
    await bob.whenEnded()
    bob.transport.loseConnection()
    assert await ended == (0, b"")


@ASYNC
async def test_fullDisk(world: World) -> None:
    """
    Output that cannot be written is one sentence and status 1.
    """
    program = await serve(world)
    with open("/dev/full", "wb") as full:
        connect = Connect(world, stdout=full)
    bob = await program.connection(world.reactor)
    bob.transport.write(b"x")
    status, _, errors = await connect.end()
    assert status == 1
    assert errors == b"punchd: Standard output: No space left on device.\n"
    await bob.whenLost()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["bob"], "'bob': expected PEER/NAME, such as bob/ssh."),
        ([], "expected one PEER/NAME, such as bob/ssh, and got 0."),
        (["--timeout=x", "b/c"], "--timeout=x: expected a number of seconds."),
        (["b/a b"], "'a b' cannot name a service"),
        (["--rendezvous=x", f"{'b' * 52}/c"], "punch://"),
    ],
)
def test_wrongWords(
    words: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A mistake is one sentence.
    """
    assert main(["connect", f"--state={tmp_path}", *words]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert error in said.err
    assert said.err.count("\n") == 1
