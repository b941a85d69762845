"""
The built-in ways of speaking to a relay, as Twisted's plugin system finds them.

Every C{twistd} loads this module, so the rest is imported when it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from zope.interface import implementer

from punchd.interfaces import IRelayLeg, IRelayTransport


@implementer(IRelayTransport)
class RelayTransport:
    """
    I carry what is said to a relay.
    """

    def __init__(self, name: str, reliable: bool, maker: str, doc: str) -> None:
        """
        @param maker: the name of a function of L{punchd.net.legs}.
        @param doc: a sentence for C{--help-plugins}.
        """
        self.__doc__ = doc
        self.name = name
        self.reliable = reliable
        self._maker = maker

    def leg(self, way: Any, ground: Any) -> IRelayLeg:
        """
        @see: L{IRelayTransport.leg}.
        """
        legs = import_module("punchd.net.legs")
        made: IRelayLeg = getattr(legs, self._maker)(way, ground)
        return made


UDP: Final = RelayTransport(
    "udp", False, "overUDP", "The relay over UDP, from the punching socket."
)
TCP: Final = RelayTransport(
    "tcp", True, "overTCP", "The relay over TCP, through an HTTP proxy too."
)
TLS: Final = RelayTransport(
    "tls", True, "overTLS", "The relay over TLS, through an HTTP proxy too."
)
BUILTIN: Final = {each.name: each for each in (UDP, TCP, TLS)}
