"""
When boxes leave.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.protocols import amp

from punchd.signaling.boxes import BoundedAMP


class Kernel(FileDescriptor):
    """
    A connection whose other end is the test.
    """

    def __init__(self) -> None:
        super().__init__(reactor=MemoryReactor())
        self.connected = 1
        self.disconnecting = False
        self.sent = b""
        self.room: int | Exception = 1 << 20

    def writeSomeData(self, data: bytes) -> Any:
        """
        Take what there is room for.
        """
        if isinstance(self.room, Exception):
            return self.room
        taken = bytes(data[: self.room])
        self.sent += taken
        return len(taken)

    def fileno(self) -> int:
        """
        None of the system's.
        """
        return 7


class Layer:
    """
    What is between the two, as TLS is.
    """

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.write = transport.write
        self.registerProducer = transport.registerProducer
        self.unregisterProducer = transport.unregisterProducer


def connected() -> tuple[BoundedAMP, Kernel]:
    """
    A connection, and what is below it.
    """
    kernel = Kernel()
    made = BoundedAMP(Clock(), {})
    made.makeConnection(Layer(Layer(kernel)))
    return made, kernel


def box(text: bytes) -> Any:
    """
    A box with something in it.
    """
    return amp.Box({b"text": text})


def test_atOnce() -> None:
    """
    A box is with the kernel when sending it returns, not in the reactor's next turn;
    and nothing is left for that.
    """
    made, kernel = connected()
    made.sendBox(box(b"now"))
    assert kernel.sent == box(b"now").serialize()
    assert kernel not in kernel.reactor.getWriters()


def test_theRestLater() -> None:
    """
    What the kernel has no room for leaves when the reactor finds room, in order.
    """
    made, kernel = connected()
    kernel.room = 3
    made.sendBox(box(b"first"))
    made.sendBox(box(b"second"))
    assert len(kernel.sent) == 6
    assert kernel in kernel.reactor.getWriters()
    kernel.room = 1 << 20
    kernel.doWrite()
    kernel.doWrite()
    assert kernel.sent == box(b"first").serialize() + box(b"second").serialize()


def test_aBrokenConnection() -> None:
    """
    An error is left to the reactor, which ends the connection.
    """
    made, kernel = connected()
    kernel.room = CONNECTION_LOST
    made.sendBox(box(b"lost"))
    assert kernel in kernel.reactor.getWriters()
    assert kernel.doWrite() is CONNECTION_LOST
