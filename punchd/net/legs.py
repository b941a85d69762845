"""
What lies between a client and its relay: the punching socket, or a connection of
its own over TCP or TLS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.stun.address import canonicalHost

from .proxy import ProxiedEndpoint, ProxyFor
from .punching import PunchingSocket
from .reaching import endpointTo, withTLS
from .streamleg import StreamLeg
from .tls import TURN, ClientCredentials
from .ways import Way

#: Seconds for the connection and its handshake.
PATIENCE: Final = 10.0


class Receiver(Protocol):
    """
    Who uses a leg.
    """

    def ready(self) -> None:
        """
        The server can be spoken to.
        """

    def framesReceived(self, frames: list[bytes]) -> None:
        """
        A stream brought these.
        """

    def lost(self, reason: str) -> None:
        """
        There is no way to the server, or not any more.
        """


class Leg(Protocol):
    """
    A way to a relay, in use.

    @ivar server: the address of the server, once it can be spoken to.
    @ivar counters: what was dropped, by reason.
    """

    server: Address
    counters: Counter[str]

    def open(self, receiver: Receiver) -> None:
        """
        Begin.
        """

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        Send to the server.
        """

    def close(self) -> None:
        """
        End it; the receiver is told nothing more.
        """

    def stillOurs(self, hosts: set[str]) -> bool:
        """
        @param hosts: the addresses of this machine.

        @return: whether the leg begins at one of them.
        """


@implementer(IResolutionReceiver)
class SocketLeg:
    """
    I am the punching socket.
    """

    def __init__(
        self, socket: PunchingSocket, server: Address, arrivals: Any = None
    ) -> None:
        """
        @param arrivals: an L{IBatchReceiver} to get what comes from the server;
            L{None} when somebody else sees to that.
        """
        self.server = server
        self._arrivals = arrivals
        self.counters: Counter[str] = Counter()
        self._socket = socket
        self._receiver: Receiver | None = None
        self._found: str | None = None

    def open(self, receiver: Receiver) -> None:
        """
        @see: L{Leg.open}.
        """
        self._receiver = receiver
        try:
            self._found = canonicalHost(self.server[0])
        except ValueError:
            resolver = self._socket.network.reactor.nameResolver
            resolver.resolveHostName(self, self.server[0])
        else:
            self.resolutionComplete()

    # --- IResolutionReceiver

    def resolutionBegan(self, resolutionInProgress: object) -> None:
        """
        @see: L{IResolutionReceiver}.
        """

    def addressResolved(self, address: Any) -> None:
        """
        @see: L{IResolutionReceiver}; relayed addresses are of IPv4 mostly.
        """
        host = canonicalHost(address.host)
        if self._found is None or (":" in self._found and ":" not in host):
            self._found = host

    def resolutionComplete(self) -> None:
        """
        @see: L{IResolutionReceiver}.
        """
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        if self._found is None:
            receiver.lost("the name is not known")
            return
        self.server = self._found, self.server[1]
        if self._arrivals is not None:
            self._socket.demux.register(self.server, self._arrivals)
        receiver.ready()

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        @see: L{Leg.send}.
        """
        self._socket.send(datagrams)

    def close(self) -> None:
        """
        @see: L{Leg.close}.
        """
        self._receiver = None
        if self._arrivals is not None:
            self._socket.demux.unregister(self.server, self._arrivals)

    def stillOurs(self, hosts: set[str]) -> bool:
        """
        @see: L{Leg.stillOurs}.
        """
        return True


def makeLeg(
    way: Way,
    socket: PunchingSocket,
    proxyFor: ProxyFor,
    arrivals: Any,
    authorities: str | None = None,
) -> Leg:
    """
    @param arrivals: an L{IBatchReceiver} for what comes from foreign relays to
        the punching socket.
    @param authorities: a PEM file to use instead of the machine's.

    @return: a leg for that way.
    """
    if way.transport == "udp":
        own = way.credentials is None
        return SocketLeg(socket, way.server, None if own else arrivals)
    reactor = socket.network.reactor
    host, port = way.server
    endpoint: Any = endpointTo(reactor, host, port, PATIENCE)
    if way.proxied:
        proxy = proxyFor(host)
        assert proxy is not None
        endpoint = ProxiedEndpoint(reactor, proxy, host, port)
    if way.transport == "tcp":
        return StreamLeg(way.server, endpoint, reactor)
    credentials = ClientCredentials(
        None,
        way.fingerprint,
        host,
        authorities,
        protocol=TURN,
        # Foreign relays may be older than we are.
        least=SSL.TLS1_3_VERSION if way.credentials is None else SSL.TLS1_2_VERSION,
    )

    def secure(factory: Any) -> Any:
        return withTLS(reactor, credentials, factory)

    return StreamLeg(way.server, endpoint, reactor, secure)
