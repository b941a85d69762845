"""
C{tcp} endpoints, and all others of Twisted's.
"""

from __future__ import annotations

from twisted.internet.endpoints import clientFromString, serverFromString

from punchd.interfaces import IHome

from .publish import Forwarder, Reaching
from .rules import Forward, Publication
from .trying import checkEndpoint


def forward(rule: Forward, home: IHome) -> Forwarder:
    """
    @see: L{punchd.interfaces.IForwarder.forward}.
    """
    reactor = home.network.reactor
    checkEndpoint(serverFromString, reactor, rule.endpoint)
    return Forwarder(reactor, rule, rule.peer, home.open)


def publish(rule: Publication, home: IHome) -> Reaching:
    """
    @see: L{punchd.interfaces.IForwarder.publish}.
    """
    checkEndpoint(clientFromString, home.network.reactor, rule.endpoint)
    return Reaching(rule, home.network, datagrams=False)
