"""
A rendezvous and a worker between whom TCP connections are passed: real sockets, and
virtual time.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from punchd.identity import Identity
from punchd.net.tls import ServerCredentials
from punchd.services.passing import Passing, PassingEntrance, PassingFactory
from punchd.services.streams import Streams
from punchd.services.visitors import Visitors
from punchd.services.workerpipe import Pipe, makePair, unpack
from punchd.services.workerprocess import Child

#: What both show.
CREDENTIALS = ServerCredentials(Identity.create())


class _Reactor(Clock):
    """
    Somebody else calls C{doRead}.
    """

    def addReader(self, reader: Any) -> None:
        """
        It is read when we want it.
        """

    removeReader = addWriter = removeWriter = addReader

    def __init__(self) -> None:
        super().__init__()
        self.adopted: list[socket.socket] = []

    def adoptStreamConnection(self, fileno: int, family: int, factory: Any) -> None:
        """
        As Twisted does, which makes a descriptor of its own.
        """
        adopted = socket.fromfd(fileno, family, socket.SOCK_STREAM)
        self.adopted.append(adopted)
        factory.buildProtocol(None).makeConnection(_Transport(adopted))


class _Transport:
    """
    A connection.
    """

    disconnecting = False

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.aborted = False
        self.reading = True

    def fileno(self) -> int:
        """
        @return: the descriptor.
        """
        return self.socket.fileno()

    def getHost(self) -> IPv4Address:
        """
        @return: ours.
        """
        return IPv4Address("TCP", "203.0.113.10", 3478)

    def getPeer(self) -> IPv4Address:
        """
        @return: theirs.
        """
        return IPv4Address("TCP", "192.0.2.1", 1000 + self.socket.fileno())

    def stopReading(self) -> None:
        """
        Remember it.
        """
        self.reading = False

    def stopWriting(self) -> None:
        """
        There is nothing.
        """

    def setTcpNoDelay(self, on: bool) -> None:
        """
        They are none of TCP.
        """

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        It is never full.
        """

    unregisterProducer = stopWriting

    def write(self, data: bytes) -> None:
        """
        Send it.
        """
        self.socket.send(data)

    def abortConnection(self) -> None:
        """
        Remember it.
        """
        self.aborted = True

    loseConnection = abortConnection


class _Server:
    """
    What is behind the streams: it gives frames back.
    """

    def __init__(self) -> None:
        self.streams: Any = None
        self.held = False

    def framesReceived(self, frames: Any, local: Any, remote: Any) -> None:
        """
        Say the same.
        """
        self.streams._streams[local, remote].sendFrames(frames)

    def holds(self, local: Any, remote: Any) -> bool:
        """
        @return: what a test wants.
        """
        return self.held

    def disconnected(self, local: Any, remote: Any) -> None:
        """
        It had nothing.
        """


class Chain:
    """
    The first process, and one worker.
    """

    def __init__(self) -> None:
        reactor: Any = _Reactor()
        self.reactor = reactor
        self.child = Child(1)
        self.child.ready = True
        ours, theirs = makePair()
        self.child.pipe = Pipe(self.reactor, ours, self._heard, lambda: None)
        self.passing = Passing([self.child])
        self.server = _Server()
        streams = self.server.streams = Streams(self.server, self.reactor)
        self.factory = PassingFactory(
            self.passing, self.reactor, CREDENTIALS, None, streams
        )
        self.worker = _Server()
        self.pipe = Pipe(
            self.reactor, theirs, self._told, lambda: None, taken=self._taken
        )
        streams = self.worker.streams = Streams(self.worker, self.reactor)
        self.visitors = Visitors(self.reactor, CREDENTIALS, streams, self.pipe.tell, 2)
        self.sockets: list[socket.socket] = []
        self.told: list[Any] = []

    def connect(self, host: str = "192.0.2.1") -> tuple[PassingEntrance, Any, Any]:
        """
        @return: a new connection, its transport, and the client's end.
        """
        ours, client = socket.socketpair()
        self.sockets += ours, client
        client.settimeout(5)
        entrance: Any = self.factory.buildProtocol(IPv4Address("TCP", host, 1))
        transport = _Transport(ours)
        entrance.makeConnection(transport)
        return entrance, transport, client

    def pump(self) -> None:
        """
        Have each read what the other one has said.
        """
        for _ in range(3):
            self.pipe.doRead()
            if self.child.pipe is not None:
                self.child.pipe.doRead()

    def only(self) -> Any:
        """
        @return: the one visitor.
        """
        (visitor,) = self.visitors.visitors.values()
        return visitor

    def _taken(self, message: bytes, descriptor: int) -> None:
        ((name, *values),) = unpack(message)
        assert name == "stream"
        self.visitors.take(self.reactor, descriptor, *values)

    def _told(self, message: bytes) -> None:
        for name, *values in unpack(message):
            self.told.append(name)
            if name == "leave":
                self.visitors.leave(*values)

    def _heard(self, message: bytes) -> None:
        for name, *values in unpack(message):
            getattr(self.passing, name)(self.child, *values)

    def close(self) -> None:
        """
        Leave nothing open.
        """
        for each in (self.pipe, self.child.pipe):
            if each is not None:
                each.close()
        for connection in (*self.sockets, *self.reactor.adopted):
            connection.close()
