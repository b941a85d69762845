"""
What the relay has passed, for who operates it.

Each allocation counts for itself while it lives; here is the sum of those that have
ended, so that nothing more is counted for a packet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from punchd.stun.address import family
from punchd.turn.allocation import Allocation
from punchd.turn.events import AllocationClosed, AllocationOpened
from punchd.turn.transport import transportOf

#: The transport to the client, and the family of the relayed address.
Kind = tuple[str, int]

#: Packets and bytes from the client, then to it.
FIELDS = ("sentPackets", "sentBytes", "receivedPackets", "receivedBytes")


#: Of one kind: transport, family, how many allocations, and the sum of each field.
Living = Sequence[Any]


class Traffic:
    """
    I add up.

    @ivar opened: how many allocations there have been.
    @ivar elsewhere: tells what lives in other processes.
    """

    def __init__(self) -> None:
        self.elsewhere: Callable[[], Iterable[Living]] = lambda: ()
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
        for transport, number, count, *values in self.elsewhere():
            kind = transport, number
            now[kind] += count
            for name, value in zip(FIELDS, values, strict=True):
                passed[kind, name] += value
        return now, passed

    def count(self, living: Iterable[Allocation]) -> int:
        """
        @return: how many live, here and elsewhere.
        """
        return self.totals(living)[0].total()

    def lost(self, living: Iterable[Living]) -> None:
        """
        Another process has ended without saying what became of these.
        """
        for transport, number, _, *values in living:
            for name, value in zip(FIELDS, values, strict=True):
                self._passed[(transport, number), name] += value


def livingOf(allocations: Iterable[Allocation]) -> list[Living]:
    """
    @return: what lives here, for another process.
    """
    now, passed = Traffic().totals(allocations)
    return [
        [*kind, count, *(passed[kind, name] for name in FIELDS)]
        for kind, count in sorted(now.items())
    ]
