"""
Who may spray now, of those behind one public address: their NAT is one, and has
a small table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Seconds for which a lease is good; a spray takes no longer.
TERM: Final = 75.0
#: Addresses that are remembered; beyond these, everybody may.
MOST: Final = 65536


class Leases:
    """
    I lend each public address to one at a time.

    A lease has a name, so that both peers of a spray can have one that stands
    behind the same address.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def ask(self, hosts: Iterable[str], name: str, now: float) -> float:
        """
        @param hosts: the public addresses of who asks.
        @param name: of the lease.

        @return: 0.0 if it is granted, for L{TERM} seconds; else the seconds until
            the other one's ends by itself.
        """
        hosts = list(hosts)
        for host in hosts:
            other, until = self._held.get(host, ("", now))
            if other != name and until > now:
                return until - now
        if len(self._held) >= MOST:
            self._held = {h: held for h, held in self._held.items() if held[1] > now}
        for host in hosts[: MOST - len(self._held)]:
            self._held[host] = (name, now + TERM)
        return 0.0

    def release(self, hosts: Iterable[str], name: str) -> None:
        """
        It is not needed any more.
        """
        for host in hosts:
            if self._held.get(host, ("", 0.0))[0] == name:
                del self._held[host]
