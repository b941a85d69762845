"""
Tests for L{punchd.session.haste}.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from punchd.session.haste import TIMES, Haste

#: What floats are good at.
RTT = 0.125


def make() -> tuple[Clock, list[float], Haste]:
    """
    @return: the time, the times at which something is sent again, and what has that
        done.
    """
    clock = Clock()
    times: list[float] = []
    haste = Haste(clock, lambda: times.append(round(clock.seconds() / RTT, 3)))
    return clock, times, haste


def test_silence() -> None:
    """
    What is not acknowledged is sent again, ever more seldom, and not for ever.
    """
    clock, times, haste = make()
    haste.begin(1, RTT)
    clock.pump([RTT / 8] * 160)
    assert times == list(TIMES)
    assert clock.getDelayedCalls() == []


def test_arrived() -> None:
    """
    What has arrived is not sent again.
    """
    clock, times, haste = make()
    haste.begin(1, RTT)
    clock.pump([RTT / 4] * 8)
    haste.arrived(1)
    assert times == [TIMES[0]]
    assert clock.getDelayedCalls() == []


def test_later() -> None:
    """
    Of several messages the latest counts: an earlier one, or a ping for something
    else, is no news of it.
    """
    clock, times, haste = make()
    haste.begin(1, RTT)
    clock.advance(RTT)
    haste.begin(3, RTT)
    haste.arrived(1)
    haste.arrived(2)
    clock.pump([RTT / 4] * 6)
    assert times == [1 + TIMES[0]]
    haste.arrived(3)
    assert clock.getDelayedCalls() == []


def test_stop() -> None:
    """
    Nobody waits for it any more.
    """
    clock, times, haste = make()
    haste.begin(1, RTT)
    haste.stop()
    haste.stop()
    haste.arrived(1)
    clock.advance(20 * RTT)
    assert times == []
