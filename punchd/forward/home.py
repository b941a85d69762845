"""
What forwarders work with, and which one serves an endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import implementer

from punchd._plugins import pluginNamed, pluginsByName
from punchd.errors import NoSuchPlugin, PeerUnavailable
from punchd.interfaces import IForwarder, IHome, INetwork

#: The kind of those who serve every stream endpoint of Twisted's.
STREAMS = "tcp"


@implementer(IHome)
class Home:
    """
    I am the client, as forwarders see it.

    @ivar opener: opens a stream to a service of a peer, by the peer's id; before
        the client is there, nobody can be reached.
    """

    def __init__(
        self,
        network: INetwork,
        resolve: Callable[[str], str] = str,
        opener: Callable[..., Deferred[Any]] | None = None,
    ) -> None:
        """
        @param resolve: gives the peer id for a petname or a peer id.
        """
        self.network = network
        self.opener = opener or (lambda *args, **kwargs: fail(PeerUnavailable()))
        self._resolve = resolve

    def open(self, peer: str, service: str, datagrams: bool = False) -> Deferred[Any]:
        """
        @see: L{IHome.open}.
        """
        kind = {"datagrams": True} if datagrams else {}
        return maybeDeferred(lambda: self.opener(self._resolve(peer), service, **kind))


def forwarderOf(endpoint: str) -> Any:
    """
    @param endpoint: an endpoint string, or what begins with one.

    @return: the L{IForwarder} that serves endpoints of that kind: the plugin of that
        name, else the built-in one for Twisted's endpoints.

    @raise DuplicatePlugin: two plugins serve them.
    """
    kind = endpoint.partition("=")[0].partition(":")[0].lower()
    found = pluginsByName(IForwarder)
    if kind in found:
        return found[kind]
    try:
        return pluginNamed(IForwarder, kind)
    except NoSuchPlugin:
        return found[STREAMS]
