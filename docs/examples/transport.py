"""
IRelayTransport: to the relay through whatever a Twisted endpoint leads through, as a
tunnel of somebody else's that listens on this machine.
"""

from typing import Any

from twisted.internet.endpoints import clientFromString
from zope.interface import implementer

from punchd.interfaces import IRelayLeg, IRelayTransport
from punchd.net.streamleg import StreamLeg

#: What connects us to the server.
ENDPOINT = "tcp:127.0.0.1:3479"


@implementer(IRelayTransport)
class Tunnel:
    """
    The relay over TCP, through a tunnel that begins on this machine.
    """

    name = "tunnel"
    reliable = True

    def leg(self, way: Any, ground: Any) -> IRelayLeg:
        """
        @see: L{IRelayTransport.leg}.
        """
        reactor = ground.socket.network.reactor
        return StreamLeg(way.server, clientFromString(reactor, ENDPOINT), reactor)


tunnel = Tunnel()
