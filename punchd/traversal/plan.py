"""
Which strategies are tried, and in which order.

A class of NAT orders the attempts; it forbids none that has a chance.  What has
none within the budget - both sides' ports unpredictable - is told from the
models, and a relay carries the session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from punchd.nat.model import Allocation, PortModel

from .verdict import Reason

#: What is less probable is not worth the packets, if the models are sure.
LEAST: Final = 0.01
#: Models with less confidence may be wrong.
SURE: Final = 0.8
#: Strategies that end so have not missed an open port.
_NO_MISSES: Final = {
    Reason.OUT_OF_REACH,
    Reason.NOT_POSSIBLE,
    Reason.NOT_CONNECTED,
    Reason.NO_ANSWER,
}


def plan(
    strategies: Iterable[Any],
    ours: PortModel,
    theirs: PortModel,
    first: str | None = None,
) -> list[Any]:
    """
    @param strategies: L{ITraversalStrategy
        <punchd.interfaces.ITraversalStrategy>} plugins.
    @param first: the name of the one that got through the last time.

    @return: those to be tried, the most promising first.
    """
    odds = {each: each.odds(ours, theirs) for each in strategies}
    doubtful = min(ours.confidence, theirs.confidence) < SURE
    least = 0.0 if doubtful else LEAST
    found = [each for each in odds if odds[each] > least]
    return sorted(found, key=lambda each: (each.name != first, -odds[each], each.name))


def inVain(reasons: Collection[Reason], planned: bool, measured: bool) -> Reason:
    """
    @param reasons: why each strategy has failed.
    @param planned: whether there was one to be tried.
    @param measured: whether both NATs were.

    @return: why nothing is left to try.
    """
    missed = set(reasons) - _NO_MISSES
    if missed == {Reason.BUSY} or (planned and not reasons):
        return Reason.BUSY
    if missed:
        return Reason.NOT_HIT
    return Reason.OUT_OF_REACH if measured else Reason.NOT_MEASURED


def why(ours: PortModel, theirs: PortModel) -> dict[str, object]:
    """
    @return: what made the plan what it is, as the evidence of a verdict.
    """
    return {
        "ours": ours.kind.value,
        "theirs": theirs.kind.value,
        "ourRange": _span(ours),
        "theirRange": _span(theirs),
    }


def _span(model: PortModel) -> int:
    return 0 if model.kind is Allocation.UNKNOWN else model.size
