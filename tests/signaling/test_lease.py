"""
One spray at a time behind one public address.
"""

from __future__ import annotations

from punchd.signaling.lease import MOST, TERM, Leases


def test_oneAtATime() -> None:
    """
    A second one has to wait, until the first ends or its time is over.
    """
    leases = Leases()
    assert leases.ask(["198.51.100.10"], "one", 0.0) == 0.0
    assert leases.ask(["192.0.2.10"], "two", 0.0) == 0.0
    assert leases.ask(["198.51.100.10"], "three", 5.0) == TERM - 5.0
    leases.release(["198.51.100.10"], "three")
    assert leases.ask(["198.51.100.10"], "three", 6.0) > 0
    leases.release(["198.51.100.10"], "one")
    assert leases.ask(["198.51.100.10"], "three", 7.0) == 0.0
    assert leases.ask(["198.51.100.10"], "four", 7.0 + TERM) == 0.0


def test_sameName() -> None:
    """
    Both peers of a spray may be behind one address.
    """
    leases = Leases()
    assert leases.ask(["198.51.100.10"], "one", 0.0) == 0.0
    assert leases.ask(["198.51.100.10"], "one", 1.0) == 0.0


def test_severalAddresses() -> None:
    """
    A NAT with several addresses is free if all of them are.
    """
    leases = Leases()
    leases.ask(["198.51.100.10"], "one", 0.0)
    assert leases.ask(["198.51.100.11", "198.51.100.10"], "two", 0.0) > 0
    assert leases.ask(["198.51.100.11"], "three", 0.0) == 0.0


def test_bounded() -> None:
    """
    What is over is forgotten, and what is too much is not remembered.
    """
    leases = Leases()
    for number in range(MOST + 10):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert leases.ask([host], "name", 0.0) == 0.0
    assert len(leases) == MOST
    leases.ask(["192.0.2.1"], "other", 2 * TERM)
    assert len(leases) == 1
