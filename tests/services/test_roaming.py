"""
Tests for L{punchd.services.roaming}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from punchd.services.roaming import DEBOUNCE, POLL, Roaming
from punchd.testing.network import Network


class Counter:
    """
    Counts how often it was told.
    """

    def __init__(self) -> None:
        self.count = 0

    def networkChanged(self) -> None:
        """
        Once more.
        """
        self.count += 1


@pytest.mark.parametrize("told", [True, False])
def test_aChange(told: bool) -> None:
    """
    A change is acted on once, when it has settled: soon where the network tells,
    at the next look where it does not.
    """
    network = Network()
    host = network.addHost("host", "198.51.100.1")
    if not told:
        host.watchHosts = lambda changed: None  # type: ignore[method-assign,assignment,return-value]
    counter = Counter()
    roaming = Roaming(host, counter)
    roaming.startService()
    network.advance(60.0)
    assert counter.count == 0
    host.detach("198.51.100.1")
    host.attach(network.internet, "198.51.100.2")
    network.advance(DEBOUNCE if told else POLL + DEBOUNCE)
    assert counter.count == 1
    network.advance(60.0)
    assert counter.count == 1
    roaming.stopService()
    assert network.clock.getDelayedCalls() == []


def test_aChangeBack() -> None:
    """
    An address that is there again before it was missed is no change.
    """
    network = Network()
    host = network.addHost("host", "198.51.100.1")
    counter = Counter()
    roaming = Roaming(host, counter)
    roaming.startService()
    host.detach("198.51.100.1")
    host.attach(network.internet, "198.51.100.1")
    network.advance(60.0)
    assert counter.count == 0
    roaming.stopService()


def test_sleep() -> None:
    """
    A machine that slept may be anywhere, whatever its addresses.
    """
    network = Network()
    host = network.addHost("host", "198.51.100.1")
    counter = Counter()
    made: list[Any] = []

    class Detector:
        """
        Is told when to detect.
        """

        def __init__(self, clock: Any, woke: Callable[[float], None]) -> None:
            self.woke = woke
            self.running = False
            made.append(self)

        def start(self) -> None:
            """
            From now on.
            """
            self.running = True

        def stop(self) -> None:
            """
            Not any more.
            """
            self.running = False

    roaming = Roaming(host, counter, Detector)
    roaming.startService()
    assert made[0].running
    made[0].woke(3600.0)
    assert counter.count == 1
    roaming.stopService()
    assert not made[0].running
