"""
Retransmission, counted exactly.
"""

from __future__ import annotations

import pytest

from punchd.stun.transaction import (
    MAXIMUM_WAIT,
    MINIMUM_WAIT,
    STANDARD_SCHEDULE,
    Transaction,
    fastSchedule,
)

SERVER = ("192.0.2.1", 3478)
LOCAL = ("198.51.100.1", 5000)
ID = b"transactions"


def run(transaction: Transaction) -> list[float]:
    """
    @return: the times at which the transaction sends, until it fails.
    """
    times = []
    while transaction.deadline is not None:
        now = transaction.deadline
        if transaction.poll(now) is not None:
            times.append(now)
    return times


def test_standardSchedule() -> None:
    """
    RFC 8489, 6.2.1: with an RTO of 500 ms requests go out at 0, 500, 1500,
    3500, 7500, 15500 and 31500 ms, and it fails after 39500 ms.
    """
    transaction = Transaction(b"hello", SERVER, ID, 0.0)
    last = 0.0
    times = []
    while transaction.deadline is not None:
        last = transaction.deadline
        if transaction.poll(last) is not None:
            times.append(last)
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert last == 39.5
    assert transaction.timedOut


def test_fastSchedule() -> None:
    """
    The first repetition comes after half a round trip, then at doubled waits.
    """
    times = run(Transaction(b"hello", SERVER, ID, 10.0, fastSchedule(0.1)))
    assert times[:4] == pytest.approx([10.0, 10.05, 10.15, 10.35])
    assert len(times) == len(fastSchedule(0.1)) == 10


@pytest.mark.parametrize("rtt", [0.0, 0.001, 0.05, 0.3, 2.0, 50.0])
def test_fastScheduleIsBounded(rtt: float) -> None:
    """
    However fast or slow the path: no wait below or above the limits, neither
    many sendings nor an early end.
    """
    waits = fastSchedule(rtt)
    assert all(MINIMUM_WAIT <= each <= MAXIMUM_WAIT for each in waits)
    assert sum(waits) >= 8.0
    assert len(waits) <= 12


def test_datagram() -> None:
    """
    What is sent is the message, from and to where it was said.
    """
    transaction = Transaction(b"hello", SERVER, ID, 1.0, local=LOCAL)
    assert transaction.poll(0.5) is None
    datagram = transaction.poll(1.0)
    assert datagram is not None
    assert (datagram.data, datagram.local, datagram.remote) == (b"hello", LOCAL, SERVER)
    assert transaction.poll(1.2) is None
    assert transaction.sent == 1


def test_roundTripTime() -> None:
    """
    A response measures the round trip, unless it may be to either of two.
    """
    transaction = Transaction(b"hello", SERVER, ID, 1.0)
    transaction.poll(1.0)
    assert transaction.finish(1.25) == 0.25
    assert transaction.deadline is None
    assert not transaction.timedOut
    again = Transaction(b"hello", SERVER, ID, 1.0)
    again.poll(1.0)
    again.poll(1.5)
    assert again.finish(1.6) is None


def test_lateClock() -> None:
    """
    After a long sleep one datagram goes out, not all that were missed.
    """
    transaction = Transaction(b"hello", SERVER, ID, 0.0)
    assert transaction.poll(1000.0) is not None
    assert transaction.poll(1000.0) is None
    assert transaction.deadline == 1000.0 + STANDARD_SCHEDULE[0]
