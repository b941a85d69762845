"""
Listening on TCP ports, of IPv4 and IPv6 alike.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorSocket

from .congestion import unpace


def listenTCP(reactor: Any, host: str, port: int, factory: Any) -> IListeningPort:
    """
    Listen on one address; a wildcard is that of its own family only.

    Twisted leaves an IPv6 wildcard to the kernel's defaults, with which it
    takes the port for IPv4 as well, and C{0.0.0.0} cannot be had beside it.

    Connections are as L{unpace} says.

    @raise CannotListenError: the address cannot be had.
    """
    if ":" not in host or not IReactorSocket.providedBy(reactor):
        listening: IListeningPort = reactor.listenTCP(port, factory, interface=host)
        unpace(getattr(listening, "socket", None))
        return listening
    try:
        opened = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as e:
        raise CannotListenError(host, port, e) from e
    with opened:
        try:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if os.name == "posix":
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.setblocking(False)
            opened.bind((host, port))
            unpace(opened)
            opened.listen(128)
        except OSError as e:
            raise CannotListenError(host, port, e) from e
        # The reactor makes a descriptor of its own of it.
        adopted: IListeningPort = reactor.adoptStreamPort(
            opened.fileno(), socket.AF_INET6, factory
        )
        return adopted
