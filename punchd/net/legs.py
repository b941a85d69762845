"""
What lies between a client and its relay: the punching socket, or a connection of
its own over TCP or TLS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import IRelayLeg, IRelayReceiver
from punchd.stun.address import canonicalHost

from .plugins import BUILTIN
from .proxy import ProxiedEndpoint, ProxyFor, noProxy
from .punching import PunchingSocket
from .reaching import endpointTo, withTLS
from .streamleg import StreamLeg
from .tls import TURN, TURN_TOGETHER, ClientCredentials
from .ways import Way

#: Seconds for the connection and its handshake.
PATIENCE: Final = 10.0


@dataclass(frozen=True)
class Ground:
    """
    What transports to relays build on.

    @ivar socket: the punching socket, with its C{network}.
    @ivar arrivals: an L{IBatchReceiver} for what comes from foreign relays to it.
    @ivar proxyFor: gives the HTTP proxy that may lead to a host.
    @ivar authorities: a PEM file to use instead of the machine's.
    """

    socket: PunchingSocket
    arrivals: Any
    proxyFor: ProxyFor = noProxy
    authorities: str | None = None

    def endpointOf(self, way: Way) -> Any:
        """
        @return: an endpoint that connects to the server over TCP, through the proxy
            if that is the way.
        """
        reactor = self.socket.network.reactor
        host, port = way.server
        if way.proxied:
            proxy = self.proxyFor(host)
            assert proxy is not None
            return ProxiedEndpoint(reactor, proxy, host, port)
        return endpointTo(reactor, host, port, PATIENCE)


@implementer(IRelayLeg, IResolutionReceiver)
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
        self._receiver: IRelayReceiver | None = None
        self._found: str | None = None

    def open(self, receiver: IRelayReceiver) -> None:
        """
        @see: L{IRelayLeg.open}.
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
        @see: L{IRelayLeg.send}.
        """
        self._socket.send(datagrams)

    def close(self) -> None:
        """
        @see: L{IRelayLeg.close}.
        """
        self._receiver = None
        if self._arrivals is not None:
            self._socket.demux.unregister(self.server, self._arrivals)

    def stillOurs(self, hosts: set[str]) -> bool:
        """
        @see: L{IRelayLeg.stillOurs}.
        """
        return True


def makeLeg(
    way: Way,
    socket: PunchingSocket,
    proxyFor: ProxyFor,
    arrivals: Any,
    authorities: str | None = None,
) -> IRelayLeg:
    """
    @see: L{Ground}.

    @return: a leg for that way.
    """
    ground = Ground(socket, arrivals, proxyFor, authorities)
    made: IRelayLeg = carrierOf(way).leg(way, ground)
    return made


def carrierOf(way: Way) -> Any:
    """
    @return: the L{IRelayTransport} of that way.
    """
    return way.carrier or BUILTIN[way.transport]


def overUDP(way: Way, ground: Ground) -> SocketLeg:
    """
    @see: L{punchd.interfaces.IRelayTransport.leg}.
    """
    own = way.credentials is None
    return SocketLeg(ground.socket, way.server, None if own else ground.arrivals)


def overTCP(way: Way, ground: Ground) -> StreamLeg:
    """
    @see: L{punchd.interfaces.IRelayTransport.leg}.
    """
    reactor = ground.socket.network.reactor
    return StreamLeg(way.server, ground.endpointOf(way), reactor)


def overTLS(way: Way, ground: Ground) -> StreamLeg:
    """
    @see: L{punchd.interfaces.IRelayTransport.leg}.
    """
    reactor = ground.socket.network.reactor
    credentials = ClientCredentials(
        None,
        way.fingerprint,
        way.server[0],
        ground.authorities,
        protocols=(TURN_TOGETHER, TURN),
        # Foreign relays may be older than we are.
        least=SSL.TLS1_3_VERSION if way.credentials is None else SSL.TLS1_2_VERSION,
    )

    def secure(factory: Any) -> Any:
        return withTLS(reactor, credentials, factory)

    return StreamLeg(way.server, ground.endpointOf(way), reactor, secure)
