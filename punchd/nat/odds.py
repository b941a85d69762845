"""
What to expect of two NATs: the probability of a direct path, the strategy that
most likely finds it, and what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .behavior import Filtering
from .birthday import afterRounds, expectedProbes, sizeSpray
from .drift import Drift
from .model import Allocation, Anchor, PortModel

#: A hole between NATs that keep their ports: what remains is firewalls that
#: nobody knows of.
SURE: Final = 0.99

#: Seconds from a sample to the burst.
SHOT: Final = 0.3

#: Sockets a side and round of a prediction, and rounds.
BURST: Final = 16
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Odds:
    """
    @ivar probability: of a direct path over UDP.
    @ivar strategy: what makes it: C{"srflx"}, C{"prflx"}, C{"predicted"},
        C{"spray"}; C{"relay"} where there is no hope.
    @ivar probes: packets that it takes on average.
    """

    probability: float
    strategy: str
    probes: float

    def toDict(self) -> dict[str, Any]:
        """
        @return: what JSON can carry.
        """
        return {
            "probability": round(self.probability, 4),
            "strategy": self.strategy,
            "probes": round(self.probes),
        }


def odds(
    modelA: PortModel, filteringA: Filtering, modelB: PortModel, filteringB: Filtering
) -> Odds:
    """
    @return: the odds of the pair; the same whichever side comes first.
    """
    knownA, knownB = _known(modelA), _known(modelB)
    if knownA and knownB:
        return Odds(SURE * min(knownA, knownB), "srflx", 2)
    if knownA:
        return _half(knownA, filteringA, modelB)
    if knownB:
        return _half(knownB, filteringB, modelA)
    open_ = (filteringA, filteringB)
    if Filtering.ENDPOINT_INDEPENDENT in open_ and all(
        each in (Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)
        for each in open_
    ):
        # One side lets the other in at the port that the rendezvous sees, and
        # is let in with whatever port its answer gets.
        return Odds(SURE, "prflx", 2)
    if modelA.kind is modelB.kind is Allocation.SEQUENTIAL:
        hit = _aimed(modelA) * _aimed(modelB)
        sure = SURE * afterRounds(hit, ROUNDS)
        return Odds(sure, "predicted", BURST * _rounds(hit))
    return Odds(0.0, "relay", 0)


def _known(model: PortModel) -> float:
    """
    @return: how sure it is that the peer knows the port that it has to send
        to, 0 where it surely does not.
    """
    if model.kind is Allocation.UNKNOWN:
        # Most are of this sort.
        return 0.8
    if model.kind is Allocation.PRESERVING:
        return model.confidence * model.preserving
    return model.confidence if model.independent else 0.0


def _half(known: float, filtering: Filtering, model: PortModel) -> Odds:
    """
    @param known: how sure the port of the one side is.
    @param filtering: of this side.
    @param model: of the other.
    """
    if filtering in (Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT):
        return Odds(SURE * known, "prflx", 2)
    if model.kind is Allocation.SEQUENTIAL:
        hit = _aimed(model)
        sure = SURE * known * afterRounds(hit, ROUNDS)
        return Odds(sure, "predicted", BURST * _rounds(hit))
    quota = model.size if model.kind is Allocation.BLOCK else None
    spray = sizeSpray(model.size, 0.98, quota=quota)
    return Odds(
        SURE * known * spray.probability * model.confidence,
        "spray",
        min(spray.probes, expectedProbes(model.size, spray.sockets)),
    )


def _aimed(model: PortModel) -> float:
    if not model.anchors:
        return 0.0
    aim = model.aim(max(anchor.time for anchor in model.anchors) + SHOT, BURST)
    return 0.0 if aim is None else aim.probability


def _rounds(hit: float) -> float:
    """
    @return: how many rounds are played on average.
    """
    return sum((1 - hit) ** done for done in range(ROUNDS))


def _typical(kind: Allocation, **fields: Any) -> PortModel:
    hosts = (("198.51.100.1", 1.0),)
    return PortModel(kind, confidence=1.0, samples=8, hosts=hosts, **fields)


#: The NATs that peers have, in plain words.
PEERS: Final[tuple[tuple[str, PortModel, Filtering], ...]] = (
    (
        "no NAT, or one that lets everybody in",
        _typical(Allocation.ENDPOINT_INDEPENDENT),
        Filtering.ENDPOINT_INDEPENDENT,
    ),
    (
        "a common router at home",
        _typical(Allocation.ENDPOINT_INDEPENDENT),
        Filtering.ADDRESS_AND_PORT_DEPENDENT,
    ),
    (
        "a NAT with one port after another",
        _typical(
            Allocation.SEQUENTIAL,
            step=1,
            drift=Drift(0.0, 71.0, 2.0),
            anchors=(Anchor("198.51.100.1", 30000, 0.0),),
        ),
        Filtering.ADDRESS_AND_PORT_DEPENDENT,
    ),
    (
        "a carrier's NAT with a block of 1024 ports",
        _typical(Allocation.BLOCK, low=20480, high=21503),
        Filtering.ADDRESS_AND_PORT_DEPENDENT,
    ),
    (
        "a NAT with random ports",
        _typical(Allocation.RANDOM),
        Filtering.ADDRESS_AND_PORT_DEPENDENT,
    ),
)
