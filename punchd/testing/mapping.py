"""
What a NAT remembers.
"""

from __future__ import annotations

from math import inf

from punchd.core import Address

from .router import Connection


class Mapping:
    """
    An inside endpoint and the outside one that stands for it.

    @ivar flows: the flows by their remote endpoint.
    @ivar hosts: until when each remote host has a flow.
    @ivar open: whether anybody may come in.
    """

    __slots__ = ("expires", "flows", "hosts", "inside", "key", "open", "outside")

    def __init__(self, key: object, inside: Address, outside: Address) -> None:
        self.key = key
        self.inside = inside
        self.outside = outside
        self.expires = 0.0
        self.flows: dict[Address, Connection] = {}
        self.hosts: dict[str, float] = {}
        self.open = False

    def shorten(self) -> None:
        """
        A flow ends sooner than it seemed: look at all of them again.
        """
        if self.expires == inf:
            return
        self.expires = 0.0
        self.hosts.clear()
        for remote, connection in self.flows.items():
            expires = connection.expires
            self.expires = max(self.expires, expires)
            self.hosts[remote[0]] = max(self.hosts.get(remote[0], 0.0), expires)
