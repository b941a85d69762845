"""
The whole product on three hosts of the simulator: a rendezvous and two clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol

from punchd.forward.rules import Allowance, Allowances
from punchd.identity import Identity
from punchd.net.proxy import Proxy
from punchd.net.tls import ServerCredentials
from punchd.services.client import PunchClient
from punchd.services.rendezvous import Rendezvous, Settings
from punchd.session.session import Session
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL

from .host import Host
from .proxy import startProxy
from .scenario import Scenario


class Echo(Protocol):
    """
    Sends back what comes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Something came.
        """
        assert self.transport is not None
        self.transport.write(data)


class Collector(Protocol):
    """
    Keeps what comes.

    @ivar received: all of it.
    @ivar reason: why the connection was lost, once it was.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.reason: Any = None
        self._waiting: list[tuple[int, Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        """
        Something came.
        """
        self.received += data
        for item in list(self._waiting):
            count, waiting = item
            if len(self.received) >= count:
                self._waiting.remove(item)
                waiting.callback(bytes(self.received))

    def whenReceived(self, count: int) -> Deferred[bytes]:
        """
        @return: fires when C{count} bytes have come.
        """
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((count, waiting))
        self.dataReceived(b"")
        return waiting

    def connectionLost(self, reason: Any = None) -> None:
        """
        That was all.
        """
        self.reason = reason


class Services:
    """
    What a client of the simulator publishes.
    """

    def __init__(self) -> None:
        self.made: dict[str, Callable[[], IProtocol]] = {}

    def __call__(self, peerId: str, service: str, stream: Stream) -> None:
        """
        A stream to a service was opened.
        """
        stream.accept(self.made[service]())


class Pair:
    """
    Two clients, C{a} and C{b}, which allow each other everything, and their
    rendezvous.

    @ivar scenario: the hosts and their NATs.
    @ivar services: what C{b} publishes; C{"echo"} is there already.
    """

    def __init__(self, scenario: Scenario, **options: Any) -> None:
        """
        @param options: for both clients; see L{PunchClient}.
        """
        self.scenario = scenario
        self.network = scenario.network
        self.clock = scenario.clock
        self.options = options
        self.identityA, self.identityB = sorted(
            (Identity.create(), Identity.create()), key=lambda i: i.peerId
        )
        self.services = Services()
        self.services.made["echo"] = Echo
        self._proxy: Proxy | None = None
        self._credentials = ServerCredentials(Identity.create())
        self.rendezvous = self.startRendezvous()
        self.a = self.startClient(scenario.hostA, self.identityA)
        self.b = self.startClient(scenario.hostB, self.identityB)

    def startRendezvous(self) -> Rendezvous:
        """
        Start the rendezvous, or start it again.
        """
        made = Rendezvous(self.scenario.rendezvous, self._credentials, self.settings())
        made.privilegedStartService()
        made.startService()
        return made

    def settings(self) -> Settings:
        """
        The rendezvous's.
        """
        return Settings()

    def urls(self) -> list[RendezvousURL]:
        """
        What the clients know.
        """
        assert self.rendezvous.url is not None
        return [self.rendezvous.url]

    def startClient(self, host: Host, identity: Identity) -> PunchClient:
        """
        Start a client on a host.
        """
        others = (self.identityA, self.identityB)
        allowed = [Allowance(i.peerId, None) for i in others if i is not identity]
        options = dict(self.options)
        here = {self.scenario.hostA: 0, self.scenario.hostB: 1}.get(host)
        if here is not None and self.scenario.kinds[here] == "proxyonly":
            proxy = self._proxy = self._proxy or startProxy(self.network)
            options.setdefault("proxyFor", lambda host: proxy)
        client = PunchClient(
            host,
            identity,
            self.urls(),
            Allowances(allowed),
            self.services,
            **options,
        )
        client.privilegedStartService()
        client.startService()
        return client

    def ready(self, timeout: float = 10.0) -> None:
        """
        Run until both are registered and seen.
        """
        run = self.network.runUntil
        run(self.a.whenRegistered(), timeout)
        run(self.b.whenRegistered(), timeout)
        run(lambda: self.a.gathering.mapped and self.b.gathering.mapped, timeout)
        # Let the nonces return too.
        self.network.advance(1.0)

    def open(
        self, service: str = "echo", timeout: float = 30.0
    ) -> tuple[Stream, Collector]:
        """
        Open a stream from C{a} to C{b}.
        """
        collector = Collector()
        opened = self.a.open(self.identityB.peerId, service)
        stream = self.network.runUntil(opened, timeout)
        stream.attach(collector)
        return stream, collector

    def sessions(self) -> tuple[Session, Session]:
        """
        @return: the session as C{a} and as C{b} has it.
        """
        return (
            self.a.peers.sessions[self.identityB.peerId],
            self.b.peers.sessions[self.identityA.peerId],
        )

    def kinds(self) -> tuple[str | None, str | None]:
        """
        @return: by which kind of path each side sends now.
        """
        paths = [session.paths.current for session in self.sessions()]
        kindA, kindB = (None if path is None else path.kind for path in paths)
        return kindA, kindB

    def stop(self) -> None:
        """
        Stop everything in good order.
        """
        for client in (self.a, self.b):
            self.network.runUntil(client.stopService(), 10.0)
        self.network.runUntil(self.rendezvous.stopService(), 10.0)
        self.network.advance(5.0)
