"""
What the predictors of L{punchd.nat.plugins} do, and who is asked of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from .allocation import shares
from .evidence import weigh
from .model import Allocation
from .sample import Sample, allocations


def evidenceFor(kind: str, observations: Sequence[Sample]) -> float:
    """
    @see: L{punchd.interfaces.IPortPredictor.evidence}.
    """
    made = allocations(observations)
    found = weigh(made, Allocation(kind)) if made else None
    return -inf if found is None else found.evidence


def predictAs(
    kind: str, observations: Sequence[Sample], now: float, count: int
) -> list[tuple[str, int, float]]:
    """
    @see: L{punchd.interfaces.IPortPredictor.predict}.
    """
    made = allocations(observations)
    weighed = weigh(made, Allocation(kind)) if made else None
    if weighed is None:
        return []
    model = replace(
        weighed.model,
        confidence=1.0,
        hosts=shares(made),
        used=frozenset(sample.mappedPort for sample in made),
    )
    local = observations[-1].localPort
    found = model.predict(now, count=count, localPort=local)
    return [(host, port, probability) for host, port, probability in found]


def predict(
    predictors: Iterable[Any],
    observations: Sequence[Sample],
    now: float,
    count: int = 64,
) -> tuple[str | None, list[tuple[str, int, float]]]:
    """
    Ask the predictor whose way explains the observations best.

    @param predictors: L{IPortPredictor<punchd.interfaces.IPortPredictor>}s, the
        built-in ones and others.

    @return: its name and its predictions; L{None} and nothing if none of them
        can explain what was seen.
    """
    best, name, chosen = -inf, None, None
    for each in predictors:
        evidence = each.evidence(observations)
        if evidence > best:
            best, name, chosen = evidence, each.name, each
    if chosen is None:
        return None, []
    found: list[tuple[str, int, float]] = chosen.predict(observations, now, count)
    return name, found
