"""
How probable each way to choose ports makes the ports that were seen.

Each function takes the samples that made a new mapping, oldest first, and
returns logarithms: prior probabilities times likelihoods, comparable with each
other.  A port drawn from N has the likelihood 1/N, so a few samples decide: of
eight ports within 1,024, a NAT that draws from all would make them 10^14 times
less probable than one with such a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, inf, lgamma, log

from .drift import Drift, learn
from .model import HIGH, LOW, Allocation, Anchor, PortModel
from .sample import Sample, byHost

#: How common each way is believed to be.
PRIORS = {
    Allocation.PRESERVING: 0.30,
    Allocation.SEQUENTIAL: 0.25,
    Allocation.RANDOM: 0.25,
    Allocation.BLOCK: 0.17,
    Allocation.PARITY: 0.03,
}

#: Steps of sequential NATs, and how common they are.
_STEPS = {1: 0.55, 2: 0.15, -1: 0.10, -2: 0.04} | {
    sign * step: 0.16 / 28 for step in range(3, 17) for sign in (1, -1)
}

#: Whole ranges: what RFC 6056 calls ephemeral, Linux's and IANA's.
_RANGES = ((LOW, HIGH, 0.8), (32768, 60999, 0.1), (49152, 65535, 0.1))

#: Sizes of blocks, all equally common (RFC 7422 leaves them to the carrier).
_SIZES = tuple(2**power for power in range(6, 15))

#: Blocks begin at a multiple of their size, or anywhere.
_ALIGNED = 0.7

#: The probability that one port in a sequence is out of it: the NAT began
#: anew, or two packets overtook each other.
_OUTLIER = 0.02

#: More foreign flows between two samples are taken for an outlier.
_MAX_GAP = 4000

_ALL = HIGH - LOW + 1


@dataclass(frozen=True, slots=True)
class Weighed:
    """
    A model and the logarithm of its evidence.
    """

    evidence: float
    model: PortModel


def weigh(samples: Sequence[Sample], kind: Allocation) -> Weighed | None:
    """
    @param samples: those that made a new mapping, oldest first.

    @return: the best model of this kind, or L{None} when it is impossible.
    """
    found = max(_WAYS[kind](samples), key=lambda each: each.evidence, default=None)
    if found is None or found.evidence == -inf:
        return None
    return replace(found, evidence=found.evidence + log(PRIORS[kind]))


def _base(samples: Sequence[Sample], kind: Allocation) -> PortModel:
    return PortModel(kind, samples=len(samples))


def _preserving(samples: Sequence[Sample]) -> Iterator[Weighed]:
    """
    The port of the socket, mostly; else any.  The share has a beta
    distribution, at first of 9 to 1.
    """
    kept = sum(sample.mappedPort == sample.localPort for sample in samples)
    if not kept:
        return
    lost = len(samples) - kept
    evidence = (
        lgamma(10) - lgamma(9) + lgamma(9 + kept) + lgamma(1 + lost)
        - lgamma(10 + kept + lost) - lost * log(_ALL)
    )  # fmt: skip
    share = (9 + kept) / (10 + kept + lost)
    yield Weighed(
        evidence, replace(_base(samples, Allocation.PRESERVING), preserving=share)
    )


def _random(samples: Sequence[Sample]) -> Iterator[Weighed]:
    ports = [sample.mappedPort for sample in samples]
    base = _base(samples, Allocation.RANDOM)
    for low, high, common in _RANGES:
        if low <= min(ports) and max(ports) <= high:
            evidence = log(common) - len(ports) * log(high - low + 1)
            yield Weighed(evidence, replace(base, low=low, high=high))
    if min(ports) < LOW:
        evidence = log(0.01) - len(ports) * log(HIGH)
        yield Weighed(evidence, replace(base, low=1))
    first = ports[0] % 2
    if all(port % 2 == first for port in ports):
        # Every second port whatever the socket's: seldom.
        evidence = log(0.02) - len(ports) * log(_ALL / 2)
        yield Weighed(evidence, replace(base, low=LOW + first, stride=2))


def _parity(samples: Sequence[Sample]) -> Iterator[Weighed]:
    """
    Odd ports for odd ones (RFC 4787, 4.2.2).
    """
    if all(s.mappedPort % 2 == s.localPort % 2 for s in samples):
        yield Weighed(-len(samples) * log(_ALL / 2), _base(samples, Allocation.PARITY))


def _block(samples: Sequence[Sample]) -> Iterator[Weighed]:
    """
    Any port out of a block, whose size and place are unknown.
    """
    ports = [sample.mappedPort for sample in samples]
    base = _base(samples, Allocation.BLOCK)
    low, high = min(ports), max(ports)
    total = -inf
    best, model = -inf, base
    for size in _SIZES:
        if high - low >= size:
            continue
        likelihood = log(1 / len(_SIZES)) - len(ports) * log(size)
        aligned = low // size == high // size
        evidence = log(_ALIGNED * size / _ALL) + likelihood if aligned else -inf
        if evidence > best:
            first = low // size * size
            best = evidence
            model = replace(base, low=max(1, first), high=first + size - 1)
        # As many places as keep all samples inside.
        places = size - (high - low)
        anywhere = log((1 - _ALIGNED) * places / _ALL) + likelihood
        if anywhere > best:
            best = anywhere
            # The block reaches beyond the samples, on either side by about
            # the mean distance between two.
            more = (high - low) // max(1, len(ports) - 1) + 1
            model = replace(base, low=max(1, low - more), high=min(HIGH, high + more))
        total = _add(_add(total, evidence), anywhere)
    if total > -inf:
        yield Weighed(total, model)


def _sequential(samples: Sequence[Sample]) -> Iterator[Weighed]:
    hosts = byHost(samples)
    if len(samples) < len(hosts) + 1:
        return
    for step, common in _STEPS.items():
        gaps: list[tuple[int, float]] = []
        evidence = log(common)
        for group in hosts.values():
            evidence -= log(_ALL)
            for before, after in pairwise(group):
                foreign = _foreign(before.mappedPort, after.mappedPort, step)
                if foreign is None:
                    evidence += log(_OUTLIER / _ALL)
                else:
                    evidence += log(1 - _OUTLIER)
                    gaps.append((foreign, after.time - before.time))
        if not gaps:
            continue
        likelihood, drift = learn(gaps)
        yield Weighed(evidence + likelihood, _sequence(samples, hosts, step, drift))


def _sequence(
    samples: Sequence[Sample],
    hosts: dict[str, list[Sample]],
    step: int,
    drift: Drift,
) -> PortModel:
    anchors = [
        Anchor(host, group[-1].mappedPort, group[-1].time)
        for host, group in hosts.items()
    ]
    anchors.sort(key=lambda anchor: anchor.time)
    return replace(
        _base(samples, Allocation.SEQUENTIAL),
        low=min(LOW, *(sample.mappedPort for sample in samples)),
        step=step,
        drift=drift,
        anchors=tuple(anchors),
    )


def _foreign(before: int, after: int, step: int) -> int | None:
    """
    @return: how many flows came between, or L{None} if C{after} is no port
        that follows.
    """
    distance = after - before
    if distance * step < 0:
        # It may have begun anew at the other end.
        distance += _ALL if step > 0 else -_ALL
    count, rest = divmod(distance, step)
    if rest or not 1 <= count <= _MAX_GAP:
        return None
    return count - 1


def _add(one: float, other: float) -> float:
    """
    @return: the logarithm of a sum from those of its parts.
    """
    if other == -inf:
        return one
    high, low = max(one, other), min(one, other)
    return high + log(1 + exp(low - high))


_WAYS = {
    Allocation.PRESERVING: _preserving,
    Allocation.SEQUENTIAL: _sequential,
    Allocation.RANDOM: _random,
    Allocation.PARITY: _parity,
    Allocation.BLOCK: _block,
}
