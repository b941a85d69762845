"""
An HTTP proxy in the simulator, for hosts to whom nothing else is open.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from punchd.net.proxy import Proxy

from .network import Network

HOST, PORT = "203.0.113.77", 3128


class Connecting(Protocol):
    """
    I connect to where I am asked to, if that is port 443.
    """

    def __init__(self, reactor: Any, password: bytes | None) -> None:
        """
        @param password: what a request has to contain.
        """
        self._reactor = reactor
        self._password = password
        self._other: Any = None

    def dataReceived(self, data: bytes) -> None:
        """
        Answer the request, then pass everything on.
        """
        transport: Any = self.transport
        if self._other is not None:
            self._other.transport.write(data)
        elif self._password is not None and self._password not in data:
            transport.write(b"HTTP/1.1 407 Who\r\n\r\n")
        else:
            host, port = data.split()[1].decode().split(":")
            if port != "443":
                transport.write(b"HTTP/1.1 403 No\r\n\r\n")
                return
            endpoint = TCP4ClientEndpoint(self._reactor, host, int(port))
            factory: Any = Factory.forProtocol(Protocol)
            factory.noisy = False
            endpoint.connect(factory).addCallbacks(
                self._reached, lambda _: transport.write(b"HTTP/1.1 502 No\r\n\r\n")
            )

    def _reached(self, other: Any) -> None:
        transport: Any = self.transport
        self._other = other
        other.dataReceived = transport.write
        other.connectionLost = lambda reason: transport.loseConnection()
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")

    def connectionLost(self, reason: Any = None) -> None:
        """
        End the other connection.
        """
        if self._other is not None:
            self._other.transport.loseConnection()


def startProxy(network: Network, password: bytes | None = None) -> Proxy:
    """
    Start a proxy on a public host.

    @param password: what a request has to contain.
    """
    host = network.addHost("proxy", HOST)
    factory: Any = Factory.forProtocol(lambda: Connecting(host.reactor, password))
    factory.noisy = False
    host.reactor.listenTCP(PORT, factory)
    return Proxy(HOST, PORT)
