"""
Twisted's endpoints, services, protocols and TLS on a simulated host.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.application.internet import ClientService, StreamServerEndpointService
from twisted.internet import interfaces
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ClientEndpoint,
    TCP6ServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.error import (
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
    ReactorAlreadyRunning,
    ReactorNotRunning,
)
from twisted.internet.protocol import Factory
from twisted.protocols import amp
from twisted.protocols.basic import LineReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from punchd.identity import Identity
from punchd.testing.reactor import HostReactor
from punchd.testing.resolver import Resolution, Resolver
from punchd.testing.scenario import Scenario
from tests.testing.helpers import Keeping, Recorder

HOST, SIX = "203.0.113.10", "2001:db8::10"


class Reversing(LineReceiver):
    """
    Answers lines, backwards.
    """

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line[::-1])


class Asking(LineReceiver):
    """
    Sends a line and waits for its answer.
    """

    def ask(self, line: bytes) -> Deferred[bytes]:
        self.answer: Deferred[bytes] = Deferred()
        self.sendLine(line)
        return self.answer

    def lineReceived(self, line: bytes) -> None:
        self.answer.callback(line)


@pytest.fixture
def scenario() -> Scenario:
    """
    Two hosts with IPv6 beside a NAT for IPv4.
    """
    return Scenario("ipv6", "portrestricted")


def testInterfaces(scenario: Scenario) -> None:
    """The reactor of a host provides what Twisted's code asks for."""
    for interface in (
        interfaces.IReactorCore,
        interfaces.IReactorFromThreads,
        interfaces.IReactorPluggableNameResolver,
        interfaces.IReactorTCP,
        interfaces.IReactorTime,
    ):
        assert verifyObject(interface, scenario.hostA.reactor)
        if interface is not interfaces.IReactorPluggableNameResolver:
            assert verifyClass(interface, HostReactor, tentative=True)
    assert verifyClass(interfaces.IHostnameResolver, Resolver)
    assert verifyObject(interfaces.IHostResolution, Resolution("x"))


@pytest.mark.parametrize(
    ("server", "client"),
    [
        (
            lambda r: TCP4ServerEndpoint(r, 80),
            lambda r: TCP4ClientEndpoint(r, HOST, 80),
        ),
        (
            lambda r: TCP6ServerEndpoint(r, 80),
            lambda r: TCP6ClientEndpoint(r, SIX, 80),
        ),
        (
            lambda r: serverFromString(r, f"tcp:80:interface={HOST}"),
            lambda r: clientFromString(r, f"tcp:{HOST}:80"),
        ),
        (
            lambda r: serverFromString(r, r"tcp6:80:interface=2001\:db8\:\:10"),
            lambda r: HostnameEndpoint(r, SIX.encode(), 80),
        ),
        (
            lambda r: TCP4ServerEndpoint(r, 80),
            lambda r: HostnameEndpoint(r, HOST.encode(), 80),
        ),
        (
            lambda r: TCP4ServerEndpoint(r, 80),
            lambda r: HostnameEndpoint(r, b"rendezvous.example", 80),
        ),
    ],
    ids=["tcp4", "tcp6", "strings", "string6", "literal", "name"],
)
def testEndpoints(scenario: Scenario, server: Any, client: Any) -> None:
    """A line goes there and back through any kind of endpoint."""
    network = scenario.network
    network.names["rendezvous.example"] = [HOST]
    reactor = scenario.rendezvous.reactor
    port = network.runUntil(server(reactor).listen(Factory.forProtocol(Reversing)))
    endpoint = client(scenario.hostA.reactor)
    asking = network.runUntil(endpoint.connect(Factory.forProtocol(Asking)))
    assert network.runUntil(asking.ask(b"hello")) == b"olleh"
    network.runUntil(port.stopListening())
    asking.transport.loseConnection()
    network.advance(1)
    assert network.clock.getDelayedCalls() == []
    assert scenario.hostA.streams() == scenario.rendezvous.streams() == []


def testHappyEyeballs(scenario: Scenario) -> None:
    """A name with a dead IPv6 address is connected to by IPv4."""
    network = scenario.network
    network.names["both.example"] = ["2001:db8::dead", HOST]
    network.runUntil(
        TCP4ServerEndpoint(scenario.rendezvous.reactor, 80).listen(Keeping())
    )
    endpoint = HostnameEndpoint(scenario.hostA.reactor, b"both.example", 80)
    client: Any = network.runUntil(endpoint.connect(Keeping()))
    assert client.transport.getPeer().host == HOST
    client.transport.loseConnection()
    network.advance(1)


def testUnknownName(scenario: Scenario) -> None:
    """A name that is not registered does not exist."""
    reactor = scenario.hostA.reactor
    with pytest.raises(DNSLookupError):
        scenario.network.runUntil(
            HostnameEndpoint(reactor, b"nowhere.example", 80).connect(Keeping())
        )
    with pytest.raises(DNSLookupError):
        scenario.network.runUntil(reactor.resolve("nowhere.example"))
    assert scenario.network.runUntil(reactor.resolve(HOST)) == HOST


def testLocalhost(scenario: Scenario) -> None:
    """Every host is its own localhost, and nobody else's."""
    network, reactor = scenario.network, scenario.hostA.reactor
    listening = serverFromString(reactor, "tcp:22:interface=127.0.0.1")
    network.runUntil(listening.listen(Keeping()))
    endpoint = clientFromString(reactor, "tcp:localhost:22")
    assert network.runUntil(endpoint.connect(Keeping()))
    with pytest.raises(ConnectionRefusedError):
        other = clientFromString(scenario.hostB.reactor, "tcp:localhost:22")
        network.runUntil(other.connect(Keeping()))


def testClientServiceReconnects(scenario: Scenario) -> None:
    """ClientService and StreamServerEndpointService run, fail and come back."""
    network = scenario.network
    server = Keeping()

    def serve() -> StreamServerEndpointService:
        endpoint = TCP4ServerEndpoint(scenario.rendezvous.reactor, 3478)
        service = StreamServerEndpointService(endpoint, server)
        service.startService()
        return service

    serve()
    reactor = scenario.hostA.reactor
    client = ClientService(
        TCP4ClientEndpoint(reactor, HOST, 3478),
        Keeping(),
        retryPolicy=lambda attempts: 2.0,
        clock=reactor,
    )
    client.startService()
    first: Any = network.runUntil(client.whenConnected())
    network.runUntil(lambda: len(server.made) == 1)
    network.kill(scenario.rendezvous)
    network.runUntil(lambda: first.reason)
    # Nobody listens for a while: refused, and tried again.
    network.advance(5)
    service = serve()
    network.runUntil(client.whenConnected())
    network.runUntil(lambda: len(server.made) == 2)
    network.runUntil(client.stopService())
    network.runUntil(service.stopService())
    network.advance(1)
    assert network.clock.getDelayedCalls() == []


@implementer(
    interfaces.IOpenSSLClientConnectionCreator,
    interfaces.IOpenSSLServerConnectionCreator,
)
class _Contexts:
    """
    TLS with a certificate made for the test, unchecked.
    """

    def __init__(self) -> None:
        identity = Identity.create()
        self._server = SSL.Context(SSL.TLS_METHOD)
        self._server.use_privatekey(load_pem_private_key(identity.keyPEM(), None))  # type: ignore[arg-type]
        self._server.use_certificate(
            load_pem_x509_certificate(identity.certificatePEM())
        )

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return SSL.Connection(self._server, None)


def testTls(scenario: Scenario) -> None:
    """Real TLS over simulated TCP, closed in order."""
    network, contexts = scenario.network, _Contexts()
    server = Keeping()
    wrapped = TLSMemoryBIOFactory(
        contexts, False, server, clock=scenario.rendezvous.reactor
    )
    network.runUntil(
        TCP4ServerEndpoint(scenario.rendezvous.reactor, 443).listen(wrapped)
    )
    reactor = scenario.hostA.reactor
    tls: Any = network.runUntil(
        TCP4ClientEndpoint(reactor, HOST, 443).connect(
            TLSMemoryBIOFactory(contexts, True, Keeping(), clock=reactor)
        )
    )
    client = tls.wrappedProtocol
    client.transport.write(b"secret" * 50_000)
    network.advance(2)
    made: Any = server.made[0]
    made.transport.write(b"answer")
    network.advance(1)
    assert made.data == b"secret" * 50_000
    assert client.data == b"answer"
    assert client.transport.getPeerCertificate() is not None
    client.transport.loseConnection()
    network.advance(1)
    assert made.reason.check(ConnectionDone)
    assert client.reason.check(ConnectionDone)
    assert network.clock.getDelayedCalls() == []


class _Sum(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


class _Adder(amp.AMP):
    @_Sum.responder
    def sum(self, a: int, b: int) -> dict[str, int]:
        return {"total": a + b}


def testAmp(scenario: Scenario) -> None:
    """AMP commands go there and back in one round trip."""
    network = scenario.network
    network.runUntil(
        TCP4ServerEndpoint(scenario.rendezvous.reactor, 80).listen(
            Factory.forProtocol(_Adder)
        )
    )
    endpoint = TCP4ClientEndpoint(scenario.hostB.reactor, HOST, 80)
    client: Any = network.runUntil(endpoint.connect(Factory.forProtocol(amp.AMP)))
    before = network.clock.seconds()
    assert network.runUntil(client.callRemote(_Sum, a=1, b=2)) == {"total": 3}
    assert network.clock.seconds() - before == pytest.approx(0.05)


def testSystemEvents(scenario: Scenario) -> None:
    """Stopping a reactor runs its triggers, and then closes its sockets."""
    reactor = scenario.hostA.reactor
    seen: list[str] = []
    later: Deferred[None] = Deferred()

    def before() -> Deferred[None]:
        seen.append("before")
        return later

    reactor.addSystemEventTrigger("before", "shutdown", before)
    reactor.addSystemEventTrigger("after", "shutdown", seen.append, "after")
    dropped = reactor.addSystemEventTrigger("during", "shutdown", seen.append, "no")
    reactor.removeSystemEventTrigger(dropped)
    reactor.callWhenRunning(seen.append, "running")
    reactor.callFromThread(seen.append, "from thread")
    reactor.listenTCP(80, Keeping())  # type: ignore[arg-type]
    scenario.network.advance(0)
    assert seen == ["running", "from thread"]
    reactor.stop()
    assert seen[2:] == ["before"]
    assert len(scenario.hostA.streams()) == 1
    later.callback(None)
    assert seen[3:] == ["after"]
    assert scenario.hostA.streams() == []
    assert scenario.hostA.reactor is not reactor
    with pytest.raises(ReactorNotRunning):
        reactor.stop()
    with pytest.raises(ReactorAlreadyRunning):
        scenario.hostA.reactor.run()


def testForeignDescriptorIsRefused(scenario: Scenario) -> None:
    """What is not of the simulated network cannot be watched."""
    with pytest.raises(OSError, match="not of the simulated network"):
        scenario.hostA.reactor.addReader(Recorder())
