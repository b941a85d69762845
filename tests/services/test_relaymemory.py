"""
What relayed addresses cost in memory, with real sockets.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator

import pytest

from bench.allocations import Relay

#: Bytes an allocation, with a permission and a channel.  C{bench.allocations} says
#: what the whole program takes, which is less than 3 kB; Python's own count has
#: what it keeps for later in it, and differs from version to version.
LIMIT = 3500


@pytest.fixture(name="relay")
def _relay() -> Iterator[Relay]:
    """
    @return: a relay that has forgotten its first clients.
    """
    relay = Relay()
    for number in range(400):
        relay.visit(number)
    relay.clock.advance(700)
    yield relay
    relay.ports.closeAll()
    relay.driver.stop()


def test_anAllocation(relay: Relay) -> None:
    """
    An allocation takes less than the limit, its port's objects included.
    """
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(400):
            relay.visit(1000 + number)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(relay.ports.ports) == 400
    assert (after - before) / 400 < LIMIT


def test_churn(relay: Relay) -> None:
    """
    After an hour of clients that come, send, and are not heard of again, there are
    as many objects as before.
    """
    numbers = iter(range(1000, 100_000))

    def hour() -> int:
        for _ in range(60):
            for _ in range(5):
                relay.visit(next(numbers))
            relay.clock.advance(60)
        relay.clock.advance(700)
        gc.collect()
        assert relay.ports.ports == {}
        return sys.getallocatedblocks()

    hour()
    before = hour()
    # Addresses that are remembered, for what they are; nothing of the 300 clients.
    grown = hour() - before
    assert grown < 300 * 10
