"""
C{udp} endpoints.
"""

from __future__ import annotations

from punchd.interfaces import IHome

from .places import parseListening, parseTarget
from .publish import Reaching
from .rules import Forward, Publication
from .udp import DatagramForwarder


def forward(rule: Forward, home: IHome) -> DatagramForwarder:
    """
    @see: L{punchd.interfaces.IForwarder.forward}.
    """
    parseListening(rule.endpoint)
    return DatagramForwarder(home.network, rule, rule.peer, home.open)


def publish(rule: Publication, home: IHome) -> Reaching:
    """
    @see: L{punchd.interfaces.IForwarder.publish}.
    """
    parseTarget(rule.endpoint)
    return Reaching(rule, home.network, datagrams=True)
