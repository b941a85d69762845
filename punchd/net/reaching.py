"""
Stream connections to hosts that are given by name or address.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol


class WholeReads(TLSMemoryBIOProtocol):
    """
    TLS hands over record by record.  I tell the protocol within when it has got all
    that one read of the connection has brought, if it has C{allReceived}.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Some records, or parts of them, have come.
        """
        super().dataReceived(data)
        told = getattr(self.wrappedProtocol, "allReceived", None)
        if told is not None:
            told()


def endpointTo(
    reactor: Any, host: str, port: int, timeout: float
) -> IStreamClientEndpoint:
    """
    @param timeout: seconds for the connection.

    @return: where to connect.
    """
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, timeout=timeout)
    kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    return kind(reactor, host, port, timeout=int(timeout))


def withTLS(reactor: Any, credentials: Any, factory: Any) -> TLSMemoryBIOFactory:
    """
    @param credentials: an L{IOpenSSLClientConnectionCreator}.
    @param factory: makes the protocols that speak within TLS.

    @return: makes those that speak TLS.
    """
    made = TLSMemoryBIOFactory(credentials, True, factory, reactor)
    made.noisy = False
    # What we write is one piece already: there is nothing to gather until the
    # reactor's next turn.
    made.protocol = WholeReads
    return made
