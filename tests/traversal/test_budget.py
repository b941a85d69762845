"""
Tests for L{punchd.traversal.budget}.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.traversal.budget import (
    MAX_CONNECTS,
    MAX_STREAMS,
    Allowance,
    Backoff,
    Budget,
)


def test_openingBurst() -> None:
    """
    At most 16 flows are made at once, then 50 a second.
    """
    budget = Budget()
    assert budget.take(100, 0.0) == 16
    assert budget.take(1, 0.0) == 0
    assert budget.take(100, 0.1) == 5
    assert budget.waitFor(1, 0.1) == pytest.approx(0.02)
    assert budget.take(100, 60.0) == 16
    assert budget.flows == 37


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40)), max_size=60))
def test_rate(asked: list[tuple[float, int]]) -> None:
    """
    However it is asked, no more than the burst and the rate are granted.
    """
    budget, now, granted = Budget(), 0.0, 0
    for pause, wanted in asked:
        now += pause
        granted += budget.take(wanted, now)
        assert granted <= 16 + 50 * now + 1e-3


def test_oneSpray() -> None:
    """
    One spray at a time.
    """
    budget = Budget()
    assert budget.beginSpray("a")
    assert budget.beginSpray("a")
    assert not budget.beginSpray("b")
    budget.endSpray("b")
    assert not budget.beginSpray("b")
    budget.endSpray("a")
    assert budget.beginSpray("b")
    assert budget.sprays == 2


def test_streams() -> None:
    """
    TCP has its own limits, which a spray before does not use up; its flows are paid
    like all others.
    """
    budget = Budget()
    allowance = Allowance(budget)
    allowance.sockets, allowance.probes = 256, 1750
    assert sum(allowance.openStream() for _ in range(100)) == MAX_STREAMS
    assert sum(allowance.connect(0.0) for _ in range(100)) == 16
    assert budget.refused == 84
    later = sum(allowance.connect(now * 0.1) for now in range(1000))
    assert later == MAX_CONNECTS - 16
    assert budget.flows == allowance.flows == MAX_CONNECTS


def test_sockets() -> None:
    """
    An attempt opens 256 sockets and no more.
    """
    allowance = Allowance(Budget())
    assert sum(allowance.openSocket() for _ in range(1000)) == 256


def test_probes() -> None:
    """
    An attempt sends 1,750 packets and no more; what is refused is counted.
    """
    budget = Budget()
    allowance = Allowance(budget)
    assert sum(allowance.send(False, 0.0) for _ in range(2000)) == 1750
    assert budget.toDict() == {
        "flows": 0,
        "refused": 250,
        "probes": 1750,
        "sprays": 0,
        "spraying": 0,
        "leases": 0,
        "leasesRefused": 0,
    }


def test_reserve() -> None:
    """
    What was set aside is used first, and what is left goes back.
    """
    budget = Budget()
    allowance = Allowance(budget)
    assert allowance.reserve(10, 0.0) == 10
    assert allowance.reserve(10, 0.0) == 10
    assert allowance.send(True, 0.0)
    assert budget.flows == 10
    allowance.release()
    assert budget.flows == 1
    assert budget.take(100, 0.0) == 15


def test_backoff() -> None:
    """
    Pauses double up to an hour, and a success ends them.
    """
    backoff = Backoff()
    assert backoff.mayTry(0.0)
    backoff.failed(0.0)
    assert not backoff.mayTry(29.9)
    assert backoff.mayTry(30.0)
    backoff.failed(30.0)
    assert not backoff.mayTry(89.9)
    for _ in range(20):
        backoff.failed(100.0)
    assert backoff.mayTry(3700.0)
    backoff.reset()
    assert backoff.mayTry(0.0)
