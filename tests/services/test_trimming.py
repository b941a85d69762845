"""
Tests for L{punchd.services.trimming}.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from punchd.services.trimming import CONNECTION, CROWD, PAUSE, Trimming, trimMemory


def test_crowd() -> None:
    """
    When many have gone memory is given back, once for all that go at about one time.
    """
    clock = Clock()
    done: list[float] = []
    trimming = Trimming(clock, lambda: done.append(clock.seconds()))
    trimming.freed(CROWD - 1)
    clock.advance(10 * PAUSE)
    assert done == []
    for _ in range(300):
        trimming.freed(CONNECTION)
    clock.advance(PAUSE)
    assert done == [11 * PAUSE]
    trimming.freed(CONNECTION)
    clock.advance(PAUSE)
    assert len(done) == 1
    assert clock.getDelayedCalls() == []


def test_stopped() -> None:
    """
    Who stops leaves nothing behind.
    """
    clock = Clock()
    trimming = Trimming(clock, lambda: None)
    trimming.freed(CROWD)
    trimming.stop()
    trimming.freed(CROWD)
    assert clock.getDelayedCalls() == []


def test_realMemory() -> None:
    """
    The C library's function can be called, wherever there is one.
    """
    assert trimMemory() in (True, False)
