"""
C{punchd connect} as a process, and a service for it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThread

from punchd.endpoints import PunchServerEndpoint
from tests.forward.ends import Program, Recorder

from .world import World

_T = TypeVar("_T")

PUNCHD = [
    sys.executable,
    "-c",
    "import sys; from punchd.cli import main; sys.exit(main())",
]


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
        command = [*PUNCHD, "connect", *words, "bob/chat", state]
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
