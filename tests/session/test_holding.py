"""
Tests for L{punchd.session.holding}.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from punchd.session.holding import MOST, Hold


def made() -> tuple[Clock, Hold, list[list[bytes]]]:
    """
    A hold, its clock, and what it has released.
    """
    clock = Clock()
    released: list[list[bytes]] = []
    return clock, Hold(clock, released.append), released


def test_waits() -> None:
    """
    What follows a change to a faster path waits for half of what the round trips
    differ by, and leaves together, in order.
    """
    clock, hold, released = made()
    assert not hold.takes([b"before"])
    hold.begin(0.1, 0.05, 0.005)
    assert hold.takes([b"one", b"two"])
    clock.advance(0.019)
    assert hold.takes([b"three"])
    assert released == []
    clock.advance(0.002)
    assert released == [[b"one", b"two", b"three"]]
    assert not hold.takes([b"four"])
    assert clock.getDelayedCalls() == []


def test_nothingToOvertake() -> None:
    """
    Nothing waits when the path before was as fast, or nothing is on its way there.
    """
    clock, hold, _ = made()
    for before, after, since in ((0.05, 0.05, 0.0), (0.05, 0.1, 0.0), (0.1, 0.0, 0.05)):
        hold.begin(before, after, since)
        assert not hold.takes([b"x"])
    assert clock.getDelayedCalls() == []


def test_notForLong() -> None:
    """
    However long the queue on the path before is, nothing waits for longer than a
    limit; the end of the session releases it at once.
    """
    clock, hold, released = made()
    hold.begin(5.0, 0.05, 0.0)
    assert hold.takes([b"x"])
    clock.advance(MOST)
    assert released == [[b"x"]]
    hold.begin(5.0, 0.05, 0.0)
    assert hold.takes([b"y"])
    hold.end()
    assert released == [[b"x"], [b"y"]]
    hold.begin(5.0, 0.05, 0.0)
    hold.end()
    assert len(released) == 2
    assert clock.getDelayedCalls() == []
