"""
What is predicted for pairs of NATs.
"""

from __future__ import annotations

import pytest

from punchd.nat.allocation import PortModel, fit
from punchd.nat.behavior import Filtering
from punchd.nat.odds import PEERS, odds

from .field import Field

OPEN = Filtering.ENDPOINT_INDEPENDENT
ADDRESS = Filtering.ADDRESS_DEPENDENT
PORT = Filtering.ADDRESS_AND_PORT_DEPENDENT


def model(kind: str) -> PortModel:
    """
    What a client finds behind a kind of NAT.
    """
    return fit(Field(kind, 1).sample(6))


@pytest.mark.parametrize(
    ("kindA", "filterA", "kindB", "filterB", "strategy", "least"),
    [
        ("portrestricted", PORT, "portrestricted", PORT, "srflx", 0.95),
        ("fullcone", OPEN, "symmetric", PORT, "prflx", 0.95),
        ("restricted", ADDRESS, "symmetric", PORT, "prflx", 0.95),
        ("portrestricted", PORT, "sequential", PORT, "predicted", 0.95),
        ("sequential", PORT, "sequential", PORT, "predicted", 0.95),
        ("portrestricted", PORT, "block1024", PORT, "spray", 0.92),
        ("portrestricted", PORT, "symmetric", PORT, "spray", 0.92),
        ("symmetric", OPEN, "symmetric", ADDRESS, "prflx", 0.95),
        ("symmetric", PORT, "symmetric", PORT, "relay", 0.0),
        ("sequential", PORT, "symmetric", PORT, "relay", 0.0),
        ("block1024", PORT, "sequential", PORT, "relay", 0.0),
    ],
)
def test_pairs(
    kindA: str,
    filterA: Filtering,
    kindB: str,
    filterB: Filtering,
    strategy: str,
    least: float,
) -> None:
    """Strategy and probability of pairs, the same from both sides."""
    a, b = model(kindA), model(kindB)
    found = odds(a, filterA, b, filterB)
    assert found.strategy == strategy
    assert least <= found.probability <= 1.0
    assert odds(b, filterB, a, filterA) == found
    assert (found.probability == 0.0) == (strategy == "relay")


def test_budget() -> None:
    """A block costs far less than all ports do."""
    block = odds(model("portrestricted"), PORT, model("block1024"), PORT)
    random = odds(model("portrestricted"), PORT, model("symmetric"), PORT)
    assert block.probes < 64
    assert 200 < random.probes < 400
    assert set(random.toDict()) == {"probability", "strategy", "probes"}


def test_foreignFlowsCost() -> None:
    """Foreign flows make predictions worse, not hopeless."""
    busy = fit(
        Field("sequential", 1, optionsA={"foreign": 35.0}).sample(6, spacing=0.2)
    )
    idle = model("sequential")
    assert (
        0.85
        < odds(busy, PORT, busy, PORT).probability
        <= odds(idle, PORT, idle, PORT).probability
    )


def test_typicalPeers() -> None:
    """A client at home reaches every kind of peer."""
    home = model("portrestricted")
    for name, theirs, filtering in PEERS:
        assert odds(home, PORT, theirs, filtering).probability > 0.9, name


def test_nothingKnown() -> None:
    """Nothing known is no reason to despair."""
    found = odds(PortModel(), Filtering.UNKNOWN, PortModel(), Filtering.UNKNOWN)
    assert 0.5 < found.probability < 0.9
