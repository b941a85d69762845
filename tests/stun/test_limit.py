"""
Rations for sources that have proven nothing.
"""

from __future__ import annotations

from punchd.stun.limit import NoLimit, PrefixLimit


def test_byNetwork() -> None:
    """
    The hosts of one /24 or /56 share a ration.
    """
    limit = PrefixLimit(rate=10.0, burst=4.0)
    assert [limit.allows(f"192.0.2.{each}", 0.0) for each in range(6)] == (
        [True] * 4 + [False] * 2
    )
    assert limit.allows("198.51.100.1", 0.0)
    assert [limit.allows(f"2001:db8::{each}", 0.0) for each in range(5)] == (
        [True] * 4 + [False]
    )
    assert limit.allows("192.0.2.9", 0.1)
    assert not limit.allows("192.0.2.9", 0.1)
    assert limit.refused == 4


def test_altogether() -> None:
    """
    Many networks together are rationed too, and recover.
    """
    limit = PrefixLimit(rate=10.0, burst=4.0, totalRate=100.0)
    hosts = [f"10.{each >> 8}.{each & 255}.1" for each in range(500)]
    assert sum(limit.allows(each, 0.0) for each in hosts) == 100
    assert sum(limit.allows(each, 0.5) for each in hosts) == 50


def test_memory() -> None:
    """
    However many networks there are, only so many are remembered.
    """
    limit = PrefixLimit(totalRate=20000.0, maximum=100)
    for each in range(10000):
        limit.allows(f"{each >> 8}.{each & 255}.0.1", 0.0)
    assert len(limit) == 100
    assert limit.allows("no address", 0.0)


def test_noLimit() -> None:
    """
    Without a limit everything is allowed.
    """
    limit = NoLimit()
    assert all(limit.allows("192.0.2.1", 0.0) for _ in range(1000))
