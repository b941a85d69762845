"""
To whom the relay sends for a client (RFC 8656, 9).

A permission is asked for by host.  It is refused for what no relay may reach
(L{isForbiddenPeer}), for hosts of our own that no relayed address lives on,
and for what the user's guard does not let him reach.  That of a host of
our own is worth only what lives there: the port is looked up for each
datagram, and nothing but a relayed address is ever delivered to.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from punchd.stun.address import canonicalHost, embeddedHosts, isForbiddenPeer

from .guards import Guard


class PeerPolicy:
    """
    I decide on permissions.
    """

    def __init__(
        self,
        relayHosts: Container[str],
        ownHosts: Container[str],
        forbidden: Callable[[str], bool] = isForbiddenPeer,
    ) -> None:
        """
        @param relayHosts: the hosts that relayed addresses live on now, as
            peers see them.
        @param ownHosts: all hosts of this machine, on both sides of its NAT.
        @param forbidden: the deny list.
        """
        self._relayHosts = relayHosts
        self._ownHosts = ownHosts
        self._forbidden = forbidden

    def isOwn(self, host: str) -> bool:
        """
        @return: whether nothing but relayed addresses may be sent to there.
        """
        return host in self._relayHosts or host in self._ownHosts

    def mayPermit(self, guard: Guard, username: str, host: str) -> bool:
        """
        @param guard: the one that the user belongs to.

        @return: whether the user may have a permission for that host.
        """
        try:
            if canonicalHost(host) != host:
                return False  # an IPv4 address in disguise
        except ValueError:
            return False
        if host in self._relayHosts:
            return True
        if host in self._ownHosts or self._forbidden(host):
            return False
        if any(self.isOwn(each) for each in embeddedHosts(host)):
            return False  # one of ours, by way of a translator or a tunnel
        return guard.mayRelay(username, host)
