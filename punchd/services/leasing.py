"""
Who may spray: one at a time of those behind one public address.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.interfaces import IReactorTime

from punchd.signaling.directory import Presence
from punchd.signaling.lease import Leases


class Leasing:
    """
    I lend.
    """

    def __init__(self, clock: IReactorTime, counters: Counter[str]) -> None:
        """
        @param counters: what happened, by name.
        """
        self.clock = clock
        self.counters = counters
        self._leases = Leases()

    def lease(self, presence: Presence, name: str) -> dict[str, Any]:
        """
        @return: the response to L{commands.Lease}.
        """
        now = self.clock.seconds()
        wait = self._leases.ask(self._behind(presence), name, now)
        self.counters["leases refused" if wait else "leases"] += 1
        return {"wait": wait}

    def release(self, presence: Presence, name: str) -> None:
        """
        @see: L{commands.Release}.
        """
        self._leases.release(self._behind(presence), name)

    def _behind(self, presence: Presence) -> set[str]:
        """
        @return: the public addresses of a client's NAT.
        """
        seen = presence.sightings.addresses(self.clock.seconds())
        return {host for host, _ in seen if ":" not in host} or {presence.host}
