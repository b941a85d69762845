"""
The port model: what is believed of how a NAT chooses outside ports, from a
handful of samples.

C{fit(samples)} weighs what each way to choose ports would make of the samples
(L{punchd.nat.evidence}) and returns the model of the best one, with the
probability that it is right.  A wrong belief costs probes; it never forbids to
try something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import exp

from .evidence import PRIORS, Weighed, weigh
from .model import Allocation, PortModel, Prediction
from .sample import Sample, allocations, reuse

__all__ = ["Allocation", "PortModel", "Prediction", "Sample", "fit"]

#: More samples than these are of no use; the latest count.
MAX_SAMPLES = 64

#: The sockets that a model remembers.
_MAX_MAPPED = 64


def fit(samples: Sequence[Sample]) -> PortModel:
    """
    @param samples: in any order, at best 8 to 12: of several sockets, some with
        odd and some with even ports, towards two servers; the socket to punch
        with first.

    @return: the model; of kind C{unknown} without samples.
    """
    given = list(samples)
    ordered = sorted(given, key=lambda each: each.time)[-MAX_SAMPLES:]
    if not ordered:
        return PortModel()
    found = reuse(ordered)
    # Two samples of one mapping are one choice of a port.
    made = allocations(ordered)
    if found.independent:
        model = _independent(found.same, found.different, made)
    else:
        model = _dependent(made, one=found.independent is None)
    first = given[0].localPort
    mapped = dict(
        sorted(
            ((sample.localPort, sample.mapped) for sample in reversed(ordered)),
            key=lambda each: each[0] != first,
        )
    )
    return replace(
        model,
        samples=len(ordered),
        hosts=shares(made),
        mapped=tuple(mapped.items())[:_MAX_MAPPED],
        used=frozenset(sample.mappedPort for sample in made),
    )


def _independent(same: int, different: int, made: Sequence[Sample]) -> PortModel:
    kept = sum(sample.mappedPort == sample.localPort for sample in made)
    return PortModel(
        Allocation.ENDPOINT_INDEPENDENT,
        # Laplace's rule, but that a port meets its like by chance is out of
        # the question.
        confidence=(9 + same) / (9 + same + different + 0.1),
        preserving=kept / len(made),
    )


def _dependent(made: Sequence[Sample], one: bool) -> PortModel:
    """
    @param one: whether all is known of one server only.
    """
    kinds = [
        kind
        for kind in PRIORS
        # A socket's own port for all destinations is independent of them.
        if kind is not Allocation.PRESERVING or one or _keeps(made)
    ]
    found: list[Weighed] = []
    for kind in kinds:
        weighed = weigh(made, kind)
        if weighed is not None:
            found.append(weighed)
    if len(made) < 2 and not _keeps(made):
        return PortModel()
    if not found:
        return PortModel()
    best = max(found, key=lambda each: each.evidence)
    total = sum(exp(each.evidence - best.evidence) for each in found)
    return replace(best.model, confidence=1 / total)


def _keeps(made: Sequence[Sample]) -> bool:
    return any(sample.mappedPort == sample.localPort for sample in made)


def shares(made: Sequence[Sample]) -> tuple[tuple[str, float], ...]:
    """
    @return: the outside hosts, with the share of the mappings of each.
    """
    counts = Counter(sample.mappedHost for sample in made)
    return tuple((host, n / len(made)) for host, n in counts.most_common(4))
