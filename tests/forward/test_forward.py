"""
A TCP forward from its user to the published program and back.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost

from punchd.errors import SessionLost
from tests.forward.ends import Ends, Program, Recorder


async def connect(ends: Ends) -> tuple[Recorder, Recorder, Program]:
    """
    @return: a user's connection, the program's end of it, and the program.
    """
    program, host = ends.program(
        serverFromString(ends.reactor, "tcp:0:interface=127.0.0.1")
    )
    ends.publish(echo=f"tcp:127.0.0.1:{host.port}")
    port = ends.forward("echo")
    user = await ends.user(clientFromString(ends.reactor, f"tcp:127.0.0.1:{port}"))
    return user, await program.connection(ends.reactor), program


@pytest_twisted.ensureDeferred
async def test_bothWays(ends: Ends) -> None:
    """
    Bytes pass both ways.
    """
    user, program, _ = await connect(ends)
    user.transport.write(b"ping")
    await program.whenData(4)
    program.transport.write(b"pong")
    await user.whenData(4)
    user.transport.loseConnection()
    await program.whenEnded()
    program.transport.loseConnection()
    await user.whenLost()
    assert (bytes(program.data), bytes(user.data)) == (b"ping", b"pong")


@pytest.mark.parametrize("first", ["user", "program"])
@pytest_twisted.ensureDeferred
async def test_halfClose(ends: Ends, first: str) -> None:
    """
    One side ends its direction; the other one still answers at length, and
    when it has ended too both connections are over, cleanly.
    """
    user, program, _ = await connect(ends)
    one, two = (user, program) if first == "user" else (program, user)
    answer = os.urandom(3_000_000)
    one.transport.write(b"request")
    one.transport.loseWriteConnection()
    await two.whenEnded()
    assert two.data == b"request"
    assert one.reason is two.reason is None
    two.transport.write(answer)
    two.transport.loseWriteConnection()
    await one.whenEnded()
    assert one.data == answer
    for end in (one, two):
        end.transport.loseConnection()
        await end.whenLost()
        assert isinstance(end.reason, ConnectionDone)


@pytest.mark.parametrize("first", ["user", "program"])
@pytest_twisted.ensureDeferred
async def test_reset(ends: Ends, first: str) -> None:
    """
    A reset stays a reset.
    """
    user, program, _ = await connect(ends)
    one, two = (user, program) if first == "user" else (program, user)
    one.transport.write(b"x")
    await two.whenData()
    one.transport.abortConnection()
    await two.whenLost()
    assert not two.ended
    assert isinstance(two.reason, ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_sessionLost(ends: Ends) -> None:
    """
    A lost session resets both connections.
    """
    user, program, _ = await connect(ends)
    ends.a.streams.lose(SessionLost("gone"))
    ends.b.streams.lose(SessionLost("gone"))
    for end in (user, program):
        await end.whenLost()
        assert isinstance(end.reason, ConnectionLost)


class Flood:
    """
    Writes as much as the transport takes.
    """

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.hash = hashlib.sha256()
        self.sent = 0
        self.chunk = os.urandom(1 << 16)
        self.paused = False
        self.limit = 1 << 62
        transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.sent < self.limit:
            self.transport.write(self.chunk)
            self.hash.update(self.chunk)
            self.sent += len(self.chunk)
        if self.sent >= self.limit:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def stopProducing(self) -> None:
        self.paused = True


async def untilStill(reactor: Any, flood: Flood) -> int:
    """
    @return: how much was taken, once nothing moves for a while.
    """
    from twisted.internet.task import deferLater

    before = -1
    while before != flood.sent:
        before = flood.sent
        for _ in range(20):
            await deferLater(reactor, 0.01)
    return before


@pytest.mark.parametrize("first", ["user", "program"])
@pytest_twisted.ensureDeferred
async def test_slowReader(ends: Ends, first: str) -> None:
    """
    A reader that stops makes the writer stop, with no more than windows and
    buffers between them; when it reads on, everything arrives as it was sent.
    """
    user, program, _ = await connect(ends)
    writer, reader = (user, program) if first == "user" else (program, user)
    reader.transport.pauseProducing()
    flood = Flood(writer.transport)
    held = await untilStill(ends.reactor, flood)
    # Three socket buffers of loopback, up to 6 MB each, and the stream's window.
    assert held < 30 << 20
    flood.limit = held + (10 << 20)
    reader.transport.resumeProducing()
    await reader.whenEnded()
    assert hashlib.sha256(reader.data).digest() == flood.hash.digest()
    reader.transport.loseConnection()
    await writer.whenEnded()


@pytest_twisted.ensureDeferred
async def test_manyAtOnce(ends: Ends) -> None:
    """
    Connections do not mix.
    """
    user, _, program = await connect(ends)
    port = user.transport.getPeer().port
    endpoint = clientFromString(ends.reactor, f"tcp:127.0.0.1:{port}")
    users = [user, *[await ends.user(endpoint) for _ in range(19)]]
    for number, each in enumerate(users):
        each.transport.write(b"%d" % number)
    ends_ = [await program.connection(ends.reactor, n) for n in range(20)]
    for end in ends_:
        await end.whenData()
        end.transport.write(bytes(end.data) * 1000)
        end.transport.loseConnection()
    for number, each in enumerate(users):
        await each.whenEnded()
        assert each.data == b"%d" % number * 1000
        each.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_unixSockets(ends: Ends, tmp_path: Path) -> None:
    """
    Any stream endpoint will do.
    """
    there, here = tmp_path / "program", tmp_path / "forward"
    program, _ = ends.program(serverFromString(ends.reactor, f"unix:{there}"))
    ends.publish(echo=f"unix:{there}")
    ends.forward("echo", f"unix:{here}")
    user = await ends.user(clientFromString(ends.reactor, f"unix:{here}"))
    user.transport.write(b"hello")
    user.transport.loseWriteConnection()
    end = await program.connection(ends.reactor)
    await end.whenEnded()
    assert end.data == b"hello"
    end.transport.loseConnection()
    await user.whenEnded()
