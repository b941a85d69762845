"""
The windows of streams.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from punchd.session.credit import (
    GROWTH,
    INITIAL_WINDOW,
    MAX_WINDOW,
    STEP,
    Growth,
    ReceiveCredit,
    SendCredit,
)


def transfer(credit: SendCredit, rtt: float, rate: float, seconds: float) -> None:
    """
    Keep the window full for a while, the user taking at C{rate}.
    """
    now, taken, began = 0.0, 0, credit.taken
    while now < seconds:
        credit.sent += credit.available
        now += 0.01
        taken = min(began + int(now * rate), credit.sent)
        assert credit.granted(taken, rtt, now)


def test_nothingBeyondTheWindow() -> None:
    """
    What was sent and not taken never exceeds the window.
    """
    credit = SendCredit(Growth())
    credit.sent = INITIAL_WINDOW
    assert credit.available == 0
    assert credit.granted(STEP, None, 1.0)
    assert credit.available == STEP
    assert credit.window == INITIAL_WINDOW


def test_creditForNothing() -> None:
    """
    A peer cannot have taken what was not sent; old news changes nothing.
    """
    credit = SendCredit(Growth())
    credit.sent = 1000
    assert not credit.granted(1001, None, 1.0)
    assert credit.granted(900, None, 1.0)
    assert credit.granted(300, None, 2.0)
    assert credit.taken == 900


def test_slowReaderKeepsTheWindowSmall() -> None:
    """
    The window does not grow for who takes little in a round trip.
    """
    credit = SendCredit(Growth())
    transfer(credit, rtt=0.1, rate=1e6, seconds=30.0)
    assert credit.window == INITIAL_WINDOW


def test_windowFollowsThePath() -> None:
    """
    250 ms and 100 Mbit/s want more than 3.1 MB: twice that.
    """
    credit = SendCredit(Growth())
    transfer(credit, rtt=0.25, rate=12.5e6, seconds=30.0)
    assert 5.5e6 < credit.window < 7e6


def test_windowHasALimit() -> None:
    """
    No stream gets more than the largest window.
    """
    credit = SendCredit(Growth())
    transfer(credit, rtt=1.0, rate=1e9, seconds=30.0)
    assert credit.window == MAX_WINDOW


def test_allWindowsHaveALimit() -> None:
    """
    The windows of a session together outgrow their beginnings by so much only;
    a stream that is over gives back what it had.
    """
    growth = Growth()
    credits = [SendCredit(growth) for _ in range(10)]
    for credit in credits:
        transfer(credit, rtt=1.0, rate=1e9, seconds=10.0)
    assert sum(credit.window - INITIAL_WINDOW for credit in credits) == GROWTH
    assert growth.left == 0
    for credit in credits:
        credit.released()
        credit.released()
    assert growth.left == GROWTH


def test_noGrowthWithoutARoundTripTime() -> None:
    """
    The window stays while the round-trip time is not known.
    """
    credit = SendCredit(Growth())
    for now in range(100):
        credit.sent += credit.available
        credit.granted(credit.sent, None, float(now))
    assert credit.window == INITIAL_WINDOW


@given(st.lists(st.integers(0, STEP * 2), max_size=50))
def test_receiverTellsInSteps(counts: list[int]) -> None:
    """
    What is told is the truth, and never more than a step behind it.
    """
    credit = ReceiveCredit()
    told = 0
    for count in counts:
        credit.came(count)
        news = credit.took(count)
        if news is not None:
            assert news == credit.taken >= told + STEP
            told = news
        assert credit.taken - told < STEP


def test_receiverNoticesTooMuch() -> None:
    """
    A sender with more under way than the largest window is out of its rights.
    """
    credit = ReceiveCredit()
    assert credit.came(MAX_WINDOW)
    credit.took(10)
    assert credit.came(10)
    assert not credit.came(1)
