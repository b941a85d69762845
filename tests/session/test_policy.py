"""
Tests for L{punchd.traversal.policy} and the books that it reads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from punchd.ice.delivery import Delivery
from punchd.interfaces import IPathPolicy
from punchd.traversal.policy import Choice, PathState, Quality, consult

DIRECT = PathState(kind="direct", rtt=0.05, least=0.05)
RELAYED = PathState(kind="relayed", relays=1, near=0, rtt=0.1, least=0.1)
FOUR = replace(DIRECT, near=1)
SIX = replace(DIRECT, family=6, near=2)


def choose(current: PathState | None, *paths: PathState) -> Choice | None:
    """
    @return: what the built-in policy says.
    """
    given = paths if current is None else (current, *paths)
    choice: Choice | None = Quality().choose(given, current)
    return choice


def test_isWhole() -> None:
    """
    It provides what it should, and stays where there is nothing to choose.
    """
    assert verifyObject(IPathPolicy, Quality())
    assert choose(None) is None
    assert choose(DIRECT) is None


def test_kinds() -> None:
    """
    Direct beats relayed, UDP beats TCP, one relay beats two, the nearer way the
    longer one; never the other way round.
    """
    stream = replace(DIRECT, transport="tcp")
    two = replace(RELAYED, relays=2)
    for better, worse in (
        (DIRECT, RELAYED),
        (DIRECT, stream),
        (stream, RELAYED),
        (RELAYED, two),
        (SIX, FOUR),
    ):
        choice = choose(worse, better)
        assert choice is not None
        assert choice.path is better
        assert not choice.bad
        assert choose(better, worse) is None
        first = choose(None, worse, better)
        assert first is not None
        assert first.path is better


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": 0.2, "known": 100.0}, "loses 20 %"),
        ({"limit": 50e3}, "carries 50 kB a second"),
        ({"rtt": 0.9}, "900 ms"),
        ({"delivers": False}, "does not arrive"),
    ],
)
def test_bad(change: dict[str, float], words: str) -> None:
    """
    A bad direct path loses to the relay, and it is said why; it is not taken again
    while it is as bad, nor at once when it is good.
    """
    bad = replace(DIRECT, **change)  # type: ignore[arg-type]
    choice = choose(bad, RELAYED)
    assert choice is not None
    assert choice.bad
    assert words in choice.reason
    assert choose(RELAYED, replace(bad, left=1, idle=60.0, known=100.0)) is None
    healed = replace(DIRECT, left=1, known=100.0)
    assert choose(RELAYED, replace(healed, idle=1.0)) is None
    assert choose(RELAYED, replace(healed, idle=60.0, known=3.0)) is None
    assert choose(RELAYED, replace(healed, idle=60.0)) is not None
    assert choose(RELAYED, replace(healed, left=5, idle=60.0)) is None


def test_carried() -> None:
    """
    A path that carries much is not left for what QUIC loses on it to find its rate.
    """
    full = replace(DIRECT, loss=0.2, known=100.0)
    assert choose(replace(full, carried=2e6), RELAYED) is None
    assert choose(replace(full, carried=50e3), RELAYED) is not None


def test_chance() -> None:
    """
    Two losses in twenty say little, two hundred in two thousand much.
    """
    assert choose(replace(DIRECT, loss=0.1, known=20.0), RELAYED) is None
    assert choose(replace(DIRECT, loss=0.1, known=2000.0), RELAYED) is not None


def test_alike() -> None:
    """
    Of two that are alike neither is taken in turn because chance had it lose a little
    more; one that surely loses more is left.
    """
    one = replace(RELAYED, rtt=0.2, loss=0.06, known=50.0)
    other = replace(one, loss=0.01, known=60.0)
    assert choose(one, other) is None
    assert choose(other, one) is None
    assert choose(one, replace(one, loss=None, known=0.0)) is None
    sure = replace(one, loss=0.3, known=500.0)
    choice = choose(sure, replace(other, known=500.0))
    assert choice is not None
    assert choice.bad


def test_sixAgainstFour() -> None:
    """
    IPv6 is left for IPv4 when it is much slower, and neither is taken in turn.
    """
    slow = replace(SIX, rtt=0.2)
    choice = choose(slow, FOUR)
    assert choice is not None
    assert choice.path is FOUR
    assert choose(FOUR, slow) is None
    assert choose(replace(SIX, rtt=0.06), FOUR) is None


def test_whereAllIsBadNothingChanges() -> None:
    """
    What the two paths share is no reason to change.
    """
    bad = {"loss": 0.2, "known": 100.0, "limit": 50e3}
    direct, relayed = (replace(path, **bad) for path in (DIRECT, RELAYED))  # type: ignore[arg-type]
    assert choose(direct, relayed) is None


class Wrong:
    """
    A policy with a mistake.
    """

    name = "wrong"

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def choose(self, paths: object, current: object) -> object:
        """
        Say what is of no use.
        """
        if self._answer is None:
            raise ZeroDivisionError
        return self._answer


@pytest.mark.parametrize("answer", [None, Choice(SIX, "it is not here"), 5])
def test_mistakes(answer: object) -> None:
    """
    What a policy does wrong leaves the session where it is, and gives it a path when
    it has none.
    """
    wrong: Any = Wrong(answer)
    assert consult(wrong, [RELAYED, DIRECT], RELAYED) is None
    first = consult(wrong, [RELAYED, DIRECT], None)
    assert first is not None
    assert first.path is DIRECT


def test_lossIsExact() -> None:
    """
    What left between two checks and what arrived between their answers make the
    loss, whatever is under way.
    """
    books = Delivery()
    assert books.loss(0.0) is None
    books.answered(books.mark(0.0), 0, 0.1)
    books.left(100, 120_000, 0.5)
    mark = books.mark(1.0)
    books.left(50, 60_000, 1.05)
    books.answered(mark, 80, 1.1)
    assert books.loss(1.1) == pytest.approx(0.2)
    assert books.goodput == books.carried == pytest.approx(96_000)
    books.left(10, 12_000, 1.2)
    books.answered(books.mark(1.2), 140, 1.3)
    assert books.carried == pytest.approx(72_000 / 0.2)
    assert books.goodput == pytest.approx(96_000)
    books = Delivery()
    books.answered(books.mark(0.0), 0, 0.1)
    books.left(100, 120_000, 0.5)
    books.answered(books.mark(1.0), 80, 1.1)
    assert books.loss(61.1) is None


def test_nothingArrives() -> None:
    """
    Three datagrams of which none arrives are a doubt, by an answer or by a check of
    the peer; one that arrives ends it.
    """
    books = Delivery()
    books.answered(books.mark(0.0), 0, 0.1)
    books.left(3, 300, 0.2)
    books.reported(False, 0.3)
    assert not books.undelivered
    books.reported(False, 0.7)
    assert books.undelivered
    books.reported(True, 0.8)
    assert not books.undelivered
    books.answered(books.mark(1.0), 0, 1.1)
    assert books.undelivered


def test_countsBegunAnew() -> None:
    """
    A peer that counts from the beginning again has lost nothing, and the count may
    wrap.
    """
    books = Delivery()
    books.answered(books.mark(0.0), (1 << 32) - 10, 0.1)
    books.left(20, 2000, 0.2)
    books.answered(books.mark(1.0), 10, 1.1)
    assert books.loss(1.1) == 0.0
    books.left(20, 2000, 1.2)
    books.answered(books.mark(2.0), 0, 2.1)
    assert books.loss(2.1) == 0.0
