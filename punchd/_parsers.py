"""
The parsers of C{punch:} endpoint strings.

They are apart from L{punchd.endpoints}, which they import when a string is
parsed: Twisted loads every parser there is to look up any prefix.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class PunchClientParser:
    """
    C{punch:PEER/NAME}: the service NAME of the peer PEER, which is a petname or
    a peer id.  C{state=DIR} names the state folder: C{punch:bob/ssh:state=/srv/p}.
    """

    prefix = "punch"

    def parseStreamClient(
        self, reactor: Any, *args: Any, **kwargs: Any
    ) -> IStreamClientEndpoint:
        """
        @raise ValueError: the string does not fit the form above.
        """
        made = _endpoints().clientFromArguments(reactor, *args, **kwargs)
        return cast(IStreamClientEndpoint, made)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class PunchServerParser:
    """
    C{punch:NAME}: publish a service under NAME, for the peers that
    C{allow=PEER} names.  C{state=DIR} names the state folder.
    """

    prefix = "punch"

    def parseStreamServer(
        self, reactor: Any, *args: Any, **kwargs: Any
    ) -> IStreamServerEndpoint:
        """
        @raise ValueError: the string does not fit the form above.
        """
        made = _endpoints().serverFromArguments(reactor, *args, **kwargs)
        return cast(IStreamServerEndpoint, made)


def _endpoints() -> Any:
    try:
        return import_module("punchd.endpoints")
    except ModuleNotFoundError as e:
        raise ValueError(
            "This version of punchd has no punch: endpoints yet; "
            "use --publish and --forward of `twistd punch-client`."
        ) from e
