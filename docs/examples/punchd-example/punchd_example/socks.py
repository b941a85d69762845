"""
A SOCKS server whose host names are peers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import IService
from zope.interface import implementer

from punchd.interfaces import IForwarder, IHome

EXPECTED = "expected socks:PORT[:interface=HOST][:PORT=SERVICE...]"


@implementer(IForwarder)
class Socks:
    """
    socks:PORT is a SOCKS 5 server whose host names are peers, as www.bob.punch.
    """

    name = "socks"
    targeted = False

    def forward(self, rule: Any, home: IHome) -> IService:
        """
        @see: L{IForwarder.forward}.
        """
        _, port, *keywords = rule.endpoint.split(":")
        if not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{port!r} is not a port; {EXPECTED}")
        interface, services = "127.0.0.1", {}
        for keyword in keywords:
            key, _, value = keyword.partition("=")
            if key == "interface":
                interface = value
            elif key.isdecimal() and value:
                services[int(key)] = value
            else:
                raise ValueError(f"{keyword!r} cannot be used; {EXPECTED}")
        # Each twistd loads this module, but few need the rest.
        from .server import SocksServer

        return SocksServer(rule, home, int(port), interface, services)

    def publish(self, rule: Any, home: IHome) -> Callable[[str, Any], None]:
        """
        @see: L{IForwarder.publish}.
        """
        raise ValueError("a SOCKS server leads from here, so it cannot be published")
