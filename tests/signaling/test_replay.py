"""
Offers that were seen before.
"""

from __future__ import annotations

import pytest

from punchd.errors import ReplayedOffer
from punchd.signaling.replay import ReplayGuard


def test_once() -> None:
    """
    A dial id counts once a sender.
    """
    guard = ReplayGuard()
    guard.remember("alice", "1", 0)
    with pytest.raises(ReplayedOffer):
        guard.check("alice", "1", 1)
    guard.check("alice", "2", 1)
    guard.check("bob", "1", 1)


def test_refusedOffersTakeNoMemory() -> None:
    """
    Looking is not remembering.
    """
    guard = ReplayGuard()
    for number in range(100):
        guard.check("mallory", str(number), 0)
    assert len(guard) == 0


def test_forgottenWhenStale() -> None:
    """
    An id is kept for as long as an offer with it can count as fresh: signed a
    window ahead of our clock, until a window after that.
    """
    guard = ReplayGuard(window=120)
    guard.remember("alice", "1", 1000)
    with pytest.raises(ReplayedOffer):
        guard.check("alice", "1", 1239)
    guard.check("alice", "1", 1240)
    assert len(guard) == 0


def test_boundedBySender() -> None:
    """
    Who dials without end is refused, alone, until old ids are forgotten.
    """
    guard = ReplayGuard(window=120, perSender=3)
    for number in range(3):
        guard.remember("mallory", str(number), number)
    with pytest.raises(ReplayedOffer):
        guard.remember("mallory", "3", 3)
    guard.remember("alice", "1", 3)
    guard.remember("mallory", "3", 240)
    with pytest.raises(ReplayedOffer):
        guard.check("mallory", "2", 240)


def test_boundedInAll() -> None:
    """
    Nothing is forgotten to make room: an old offer could be played again.
    """
    guard = ReplayGuard(window=120, total=3)
    for number in range(3):
        guard.remember(str(number), "1", 0)
    with pytest.raises(ReplayedOffer):
        guard.remember("alice", "1", 0)
    with pytest.raises(ReplayedOffer):
        guard.check("0", "1", 239)
    assert len(guard) == 3
    guard.remember("alice", "1", 240)
