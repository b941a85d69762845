"""
Which hosts are to be let in at the relay, and who wants that.
"""

from __future__ import annotations

from collections.abc import Iterable

from punchd.stun.address import isForbiddenPeer


class Wishes:
    """
    I remember the hosts that each user wants to be reached by.

    @ivar hosts: all of them.
    """

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        self._users: dict[object, set[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._users)

    def copy(self) -> Wishes:
        """
        @return: the same wishes, for another relay.
        """
        made = Wishes()
        made._users = {user: set(hosts) for user, hosts in self._users.items()}
        made.hosts = set(self.hosts)
        return made

    def add(self, user: object, hosts: Iterable[str]) -> bool:
        """
        @return: whether there is anything new.
        """
        # No relay serves private networks; asking would only cost packets.
        wanted = {host for host in hosts if not isForbiddenPeer(host)}
        known = self._users.setdefault(user, set())
        if wanted <= known:
            return False
        known |= wanted
        self.hosts |= wanted
        return True

    def remove(self, user: object) -> set[str]:
        """
        @return: the hosts that nobody wants any more.
        """
        self._users.pop(user, None)
        before, self.hosts = self.hosts, set().union(*self._users.values())
        return before - self.hosts

    def clear(self) -> None:
        """
        Nobody wants anything.
        """
        self._users.clear()
        self.hosts = set()
