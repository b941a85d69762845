"""
Both ends of a forward, with everything between them real but the network: TCP
on loopback, streams of a QUIC session, and a link that loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from punchd.core import Datagram
from punchd.errors import SessionLost
from punchd.forward.publish import Forwarder, Publisher
from punchd.forward.rules import Forward, Publication
from punchd.net.kernel import KernelNetwork
from punchd.session.backend import Qh3
from punchd.session.quic import QuicCore
from tests.session.pair import DIAL, DIALLER, LISTENER, End


class Link:
    """
    One direction of a link that delivers soon.
    """

    def __init__(self, reactor: Any) -> None:
        self.deliver: Callable[[list[bytes]], None] = lambda datagrams: None
        self._reactor = reactor
        self._waiting: list[bytes] = []

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        Take what a driver sends.
        """
        if not self._waiting:
            self._reactor.callLater(0, self._arrive)
        self._waiting += [datagram.data for datagram in datagrams]

    def _arrive(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.deliver(waiting)


@implementer(IHalfCloseableProtocol)
class Recorder(Protocol):
    """
    A program's or a user's end of a TCP connection.

    @ivar ended: whether the other one ended its direction.
    @ivar reason: what the connection was lost by.
    """

    transport: Any

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.reason: BaseException | None = None
        self._condition: Callable[[], Any] = lambda: False
        self._waiting: Deferred[None] | None = None

    def when(self, condition: Callable[[], Any]) -> Deferred[None]:
        """
        @return: fires once something here makes the condition true.
        """
        waiting: Deferred[None] = Deferred()
        self._condition, self._waiting = condition, waiting
        self._settle()
        return waiting

    def whenData(self, count: int = 1) -> Deferred[None]:
        """
        @return: fires once there are so many bytes.
        """
        return self.when(lambda: len(self.data) >= count)

    def whenLost(self) -> Deferred[None]:
        """
        @return: fires once the connection is gone.
        """
        return self.when(lambda: self.reason is not None)

    def whenEnded(self) -> Deferred[None]:
        """
        @return: fires once the other one ended its direction.
        """
        return self.when(lambda: self.ended)

    def _settle(self) -> None:
        if self._waiting is not None and self._condition():
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._settle()

    def readConnectionLost(self) -> None:
        self.ended = True
        self._settle()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason.value
        self._settle()


class Program(Factory):
    """
    A published program, which keeps its connections.
    """

    noisy = False

    def __init__(self) -> None:
        self.connections: list[Recorder] = []
        self._waiting: Deferred[Recorder] | None = None

    def buildProtocol(self, addr: Any) -> Recorder:
        recorder = Recorder()
        self.connections.append(recorder)
        return recorder

    async def connection(self, reactor: Any, number: int = 0) -> Recorder:
        """
        @return: a connection, once it is there.
        """
        while len(self.connections) <= number:
            await deferLater(reactor, 0.001)
        recorder = self.connections[number]
        await recorder.when(lambda: recorder.transport is not None)
        return recorder


class Ends:
    """
    A session whose listener publishes and whose dialler forwards.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.network = KernelNetwork(reactor)
        there, back = Link(reactor), Link(reactor)
        one: Any = there
        other: Any = back
        self.a = End(reactor, QuicCore.client(Qh3()), DIALLER, LISTENER.peerId, one)
        self.b = End(
            reactor, QuicCore.server(LISTENER, Qh3()), LISTENER, DIALLER.peerId, other
        )
        there.deliver, back.deliver = self.b.receive, self.a.receive
        self.streams: list[Any] = []
        self._stops: list[Callable[[], Any]] = []
        self._programs: list[Program] = []
        for end in (self.a, self.b):
            end.streams.authenticate(DIAL)
        self._started = False

    def publish(self, **endpoints: str) -> Publisher:
        """
        The listener publishes these.
        """
        publisher = Publisher(
            self.network, [Publication(n, e) for n, e in endpoints.items()]
        )
        peerId = DIALLER.peerId
        self.b.streams.onIncoming = lambda service, stream: publisher(
            peerId, service, stream
        )
        return publisher

    def forward(self, service: str, endpoint: str = "tcp:0:interface=127.0.0.1") -> int:
        """
        The dialler forwards to this one.

        @return: the TCP port.
        """
        forwarder = Forwarder(
            self.reactor, Forward(endpoint, "bob", service), LISTENER.peerId, self.open
        )
        forwarder.startService()
        self._stops.append(forwarder.stopService)
        host: Any = None if forwarder.port is None else forwarder.port.getHost()
        return getattr(host, "port", 0)

    def open(self, peerId: str, service: str) -> Deferred[Any]:
        """
        What a forwarder calls.
        """
        assert peerId == LISTENER.peerId
        return succeed(self.stream(service))

    def stream(self, service: str) -> Any:
        """
        @return: a stream that the dialler opened.
        """
        if not self._started:
            self._started = True
            self.a.driver.call(self.a.core.start)
        stream = self.a.streams.openStream(service)
        self.streams.append(stream)
        return stream

    def program(self, endpoint: Any) -> tuple[Program, Any]:
        """
        Run a program.

        @return: it, and where it listens.
        """
        program = self._factory()
        listening: list[Any] = []
        endpoint.listen(program).addCallback(listening.append)
        self._stops.append(listening[0].stopListening)
        return program, listening[0].getHost()

    def user(self, endpoint: Any) -> Deferred[Recorder]:
        """
        @return: fires with a user's connection.
        """
        connecting: Deferred[Recorder] = endpoint.connect(self._factory())
        return connecting

    def _factory(self) -> Program:
        self._programs.append(Program())
        return self._programs[-1]

    async def close(self) -> None:
        """
        End everything.
        """
        for stop in self._stops:
            stop()
        for program in self._programs:
            for connection in program.connections:
                if connection.reason is None:
                    connection.transport.abortConnection()
        for end in (self.a, self.b):
            end.streams.lose(SessionLost("The test is over."))
        await deferLater(self.reactor, 0.01)
        self.a.driver.stop()
        self.b.driver.stop()
