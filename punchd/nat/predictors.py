"""
What the predictors of L{punchd.nat.plugins} do, and who is asked of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import exp, inf
from typing import Any

from punchd.core import Address

from .allocation import fit, shares
from .evidence import PRIORS, weigh
from .model import Allocation, Anchor, PortModel
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


def fitting(predictors: Sequence[Any]) -> Callable[[Sequence[Sample]], PortModel]:
    """
    @param predictors: plugins of others.

    @return: L{fit<punchd.nat.allocation.fit>}, but that the model is predictable by
        the one of them, if any, that explains the samples better than we can.
    """
    if not predictors:
        return fit

    def fitted(samples: Sequence[Sample]) -> PortModel:
        model = fit(samples)
        made = allocations(sorted(samples, key=lambda each: each.time))
        if model.independent or len(made) < 2:
            return model
        weighed = [weigh(made, kind) for kind in PRIORS]
        known = max((each.evidence for each in weighed if each), default=-inf)
        best = max(predictors, key=lambda each: _evidence(each, made))
        found = _evidence(best, made)
        if found <= known:
            return model
        last = made[-1]
        return replace(
            model,
            # To the peer it is a NAT whose next port we can tell.
            kind=Allocation.SEQUENTIAL,
            confidence=1 / (1 + exp(known - found)),
            step=1,
            anchors=(Anchor(last.mappedHost, last.mappedPort, last.time),),
            predictor=best,
            observed=tuple(made),
        )

    return fitted


def foresee(
    model: PortModel, fresh: Sequence[tuple[int, Address]], now: float
) -> Address | None:
    """
    @param model: one that a plugin explains.
    @param fresh: our latest local ports and where they were seen, in order.

    @return: the most probable next outside address, L{None} if the plugin knows none.
    """
    last = model.observed[-1]
    samples = [
        replace(last, time=now, localPort=port, mappedHost=host, mappedPort=mapped)
        for port, (host, mapped) in fresh
    ]
    try:
        found = model.predictor.predict([*model.observed, *samples], now, 1)
        host, port, _ = found[0]
    except Exception:
        # Somebody else's mistake shall cost no more than his prediction.
        return None
    return (str(host), int(port)) if 0 < int(port) < 65536 else None


def _evidence(predictor: Any, made: Sequence[Sample]) -> float:
    try:
        return float(predictor.evidence(made))
    except Exception:
        return -inf
