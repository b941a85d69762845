"""
What gets through where every fifth packet is lost.
"""

from __future__ import annotations

import pytest

from punchd.testing.grid import grid
from punchd.testing.trial import Outcome, simulated

#: Much computing, where a machine may be busy with other tests.
pytestmark = pytest.mark.timeout(240)

GRID = grid()
LOSS = next(each for each in GRID.troubles if each.name == "20 % loss")


def run(kindA: str, kindB: str, seed: int, foreign: float) -> Outcome:
    """
    Try a pair once.
    """
    cell = GRID.cell(kindA, kindB)
    return simulated(cell, seed, foreign=foreign, trouble=LOSS, patience=12.0)


@pytest.mark.parametrize("foreign", [0.0, GRID.foreign])
def test_predicted(foreign: float) -> None:
    """
    Two NATs that count get through in one attempt, though most rounds are in vain, and
    every dial comes through.
    """
    found = [run("sequential", "sequential", seed, foreign) for seed in range(24)]
    assert all(each.connected for each in found)
    assert sum(each.path == "direct" for each in found) >= 22
    assert {name for each in found if each.direct for name in each.by} == {"predicted"}
