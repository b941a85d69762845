"""
What the relay has passed, for who operates it.

Each allocation counts for itself while it lives; here is the sum of those that have
ended, so that nothing more is counted for a packet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from punchd.stun.address import family
from punchd.turn.allocation import Allocation
from punchd.turn.events import AllocationClosed, AllocationOpened
from punchd.turn.transport import transportOf

#: The transport to the client, and the family of the relayed address.
Kind = tuple[str, int]

#: Packets and bytes from the client, then to it.
FIELDS = ("sentPackets", "sentBytes", "receivedPackets", "receivedBytes")


class Traffic:
    """
    I add up.

    @ivar opened: how many allocations there have been.
    """

    def __init__(self) -> None:
        self.opened: Counter[Kind] = Counter()
        self._passed: Counter[tuple[Kind, str]] = Counter()

    def allocationOpened(self, event: AllocationOpened) -> None:
        """
        One more.
        """
        self.opened[event.transport, family(event.relayed)] += 1

    def allocationClosed(self, event: AllocationClosed) -> None:
        """
        Keep what it has counted.
        """
        kind = event.transport, family(event.relayed)
        for name in FIELDS:
            self._passed[kind, name] += getattr(event, name)

    def totals(
        self, living: Iterable[Allocation]
    ) -> tuple[Counter[Kind], Counter[tuple[Kind, str]]]:
        """
        @return: how many live, and all that was passed, by kind and field.
        """
        now: Counter[Kind] = Counter()
        passed = self._passed.copy()
        for each in living:
            kind = transportOf(each.local), each.family
            now[kind] += 1
            for name in FIELDS:
                passed[kind, name] += getattr(each, name)
        return now, passed
