"""
Clients of the rendezvous over TCP and TLS, in a simulated network.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.core import Address
from punchd.net.driver import Driver
from punchd.stun.stream import FrameSplitter, pad
from punchd.testing.host import Host
from punchd.turn.client import Client as TurnClient
from punchd.turn.events import Allocated, RelayedDatagram
from tests.services.meeting import Client, Meeting

RENDEZVOUS = ("203.0.113.10", 3478)


class Stranger(Protocol):
    """
    A TCP connection that keeps what comes.
    """

    def __init__(self) -> None:
        self.received = b""
        self.pieces: list[bytes] = []
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Keep it.
        """
        self.received += data
        self.pieces.append(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Keep that too.
        """
        self.lost = reason


@implementer(IOpenSSLClientConnectionCreator)
class Anonymous:
    """
    A TLS client without a certificate that trusts everybody.
    """

    def __init__(self, *protocols: bytes, newest: int = 0) -> None:
        """
        @param newest: the latest version of TLS to speak.
        """
        self.protocols = list(protocols)
        self.newest = newest

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """
        @return: a connection.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(self.newest)
        if self.protocols:
            context.set_alpn_protos(self.protocols)
        return SSL.Connection(context, None)


def connect(
    meeting: Meeting,
    credentials: Any = None,
    port: int = 3478,
    host: Host | None = None,
) -> Stranger:
    """
    @return: a connection to the rendezvous, over TLS with credentials.
    """
    if host is None:
        name = f"stranger{len(meeting.network.hosts)}"
        host = meeting.network.addHost(name, f"192.0.2.{len(meeting.network.hosts)}")
    factory: Any = Factory.forProtocol(Stranger)
    factory.noisy = False
    if credentials is not None:
        factory = TLSMemoryBIOFactory(credentials, True, factory, host.reactor)
    endpoint = TCP4ClientEndpoint(host.reactor, "203.0.113.10", port)
    made: Any = meeting.network.runUntil(endpoint.connect(factory))
    found: Stranger = made if credentials is None else made.wrappedProtocol
    meeting.network.advance(0.2)
    return found


def write(meeting: Meeting, stranger: Stranger, data: bytes) -> None:
    """
    Say something, and give it time.
    """
    assert stranger.transport is not None
    stranger.transport.write(data)
    meeting.network.advance(0.2)


class Streamed:
    """
    An allocation of a registered client, over a connection of its own.

    @ivar stranger: the connection.
    @ivar relayed: the relayed address.
    """

    def __init__(
        self,
        meeting: Meeting,
        client: Client,
        credentials: Any = None,
        port: int = 3478,
    ) -> None:
        registration = client.link.registration
        assert registration is not None
        assert registration.relayUsername is not None
        self.meeting = meeting
        self.host = client.host
        self.stranger = connect(meeting, credentials, port, client.host)
        self.core = TurnClient(RENDEZVOUS, entropy=client.host.entropy)
        self.events: list[Any] = []
        splitter = FrameSplitter()

        def send(datagrams: Any) -> None:
            transport: Any = self.stranger.transport
            transport.write(b"".join(pad(each.data) for each in datagrams))

        def received(data: bytes) -> None:
            for frame in splitter.dataReceived(data):
                driver.datagramReceived(frame, ("", 0), RENDEZVOUS)

        driver = self.driver = Driver(
            self.core, send, self.events.append, client.host.reactor
        )
        self.call = driver.call
        meeting.drivers.append(driver)
        self.stranger.dataReceived = received  # type: ignore[method-assign]
        self.call(
            self.core.allocate,
            registration.relayUsername,
            registration.relayPassword,
            registration.realm,
            registration.relayNonce,
        )
        meeting.network.advance(0.2)
        (event,) = self.named(Allocated)
        self.relayed: Address = event.relayed
        self.mapped: Address = event.mapped

    def named(self, kind: type[Any]) -> list[Any]:
        """
        @return: the events of a kind.
        """
        return [event for event in self.events if isinstance(event, kind)]

    def received(self) -> list[bytes]:
        """
        @return: what came through the relay.
        """
        return [event.data for event in self.named(RelayedDatagram)]

    def permit(self, *hosts: str) -> None:
        """
        Let hosts send to the relayed address.
        """
        self.call(self.core.permit, list(hosts))
        self.meeting.network.advance(0.2)

    def send(self, data: bytes, peer: Address) -> None:
        """
        Send through the relay.
        """
        self.call(self.core.send, data, peer)

    def close(self) -> None:
        """
        Let go of the connection.
        """
        self.driver.stop()
        transport: Any = self.stranger.transport
        transport.abortConnection()
        self.meeting.network.advance(0.2)
