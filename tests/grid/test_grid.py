"""
The whole grid in virtual time: every pair of kinds gets the path
that the scenario file expects.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib.resources import files
from itertools import product
from typing import Any

import pytest

from punchd.testing.grid import Cell, Grid, grid
from punchd.testing.lab import KINDS
from punchd.testing.scenario import kinds
from punchd.testing.trial import Outcome, simulated

#: Much computing, where a machine may be busy with other tests.
pytestmark = pytest.mark.timeout(240)

GRID = grid()
#: Seconds to wait for a direct path: one spray in fifty finds nothing, and the
#: next one comes half a minute later.
PATIENCE = 150.0


def run(cell: Cell, **options: Any) -> Outcome:
    """
    Try a pair once.
    """
    return simulated(cell, 1, delay=GRID.delay, patience=PATIENCE, **options)


def check(cell: Cell, **options: Any) -> str:
    """
    @return: what is wrong with a pair, nothing if all is as expected.
    """
    found = run(cell, **options)
    if found.connected and cell.fits(found.path, found.by):
        if found.direct or found.causes == cell.causes:
            return ""
    return f"{cell.name}: expected {cell.path} by {set(cell.by)}, found {found}"


@pytest.mark.parametrize("kindA", GRID.groups)
def test_row(kindA: str) -> None:
    """
    A host of each kind reaches the others, by the path that there should be.
    Each dials one half of them, and is dialled by the other.
    """
    names = list(GRID.groups)
    place = names.index(kindA)
    others = (names + names)[place : place + len(names) // 2 + 1]
    wrong = [check(GRID.cell(kindA, kindB)) for kindB in others]
    assert [each for each in wrong if each] == []


@pytest.mark.parametrize("cell", GRID.neighbours(), ids=lambda cell: cell.name)
def test_neighbours(cell: Cell) -> None:
    """
    Two behind one NAT meet in their network, or by a hairpin, or at the relay.
    """
    assert check(cell) == ""


@pytest.mark.parametrize("part", range(4))
def test_foreign(part: int) -> None:
    """
    Where it has to be so beside other people's flows, it is.
    """
    cells = [cell for cell in GRID.cells() if cell.foreign][part::4]
    assert len(cells) > 8
    wrong = [check(cell, foreign=GRID.foreign) for cell in cells]
    assert [each for each in wrong if each] == []


EASY = [
    kind for kind, group in GRID.groups.items() if group in ("public", "open", "cone")
]


@pytest.mark.parametrize(
    "pairs",
    [
        [("portrestricted", "portrestricted")],
        [("noinputfilter", "noinputfilter")],
        list(product(EASY, EASY)),
    ],
    ids=["portrestricted", "noinputfilter", "all"],
)
def test_noCliff(pairs: list[tuple[str, str]]) -> None:
    """
    Without delay, not one of 50 endpoint-independent pairs takes more than 250 ms
    until both sides are direct: there is no retransmission of 500 ms in the way.
    """
    slow = []
    for seed in range(50):
        cell = GRID.cell(*pairs[seed * 7 % len(pairs)])
        found = simulated(cell, seed, delay=0.0, patience=5.0)
        if not found.direct or found.seconds is None or found.seconds > 0.25:
            slow.append((cell.name, seed, found))
    assert slow == []


# --- the file


def data() -> dict[str, Any]:
    """
    @return: the file's content.
    """
    return tomllib.loads((files("punchd.testing") / "grid.toml").read_text())


def test_kindsExist() -> None:
    """
    The simulator and the kernel lab have every kind of the grid.
    """
    carried = {f"cgnat-{kind}" for kind in kinds()}
    assert set(GRID.groups) <= {*kinds(), *carried}
    assert set(GRID.groups) <= set(KINDS)


def test_everyPair() -> None:
    """
    There is a cell for every pair, and one for each sort of neighbours.
    """
    cells = GRID.cells()
    count = len(GRID.groups)
    assert len(cells) == count * (count + 1) / 2 + len(GRID.neighbours())
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        assert replace(GRID.named(cell.name), foreign=cell.foreign) == cell
    for name, path in (("checks", "direct"), ("hard", "direct"), ("relay", "relayed")):
        assert {cell.path for cell in GRID.representative(name)} == {path}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("portrestricted", "expected KIND,KIND"),
        ("portrestricted,moon", "no kind 'moon'"),
        ("fullcone,lan", "no neighbours 'fullcone,lan'"),
    ],
)
def test_wrongNames(name: str, words: str) -> None:
    """
    A pair that is not there is told in a sentence that names what there is.
    """
    with pytest.raises(ValueError, match=words):
        GRID.named(name)


def test_gapsAndContradictions() -> None:
    """
    A file that expects nothing, or two things, of a pair is refused.
    """
    gap = data()
    gap["kinds"]["moon"] = "moon"
    with pytest.raises(ValueError, match="nothing of"):
        Grid(gap)
    double = data()
    double["expect"].append(double["expect"][0])
    with pytest.raises(ValueError, match="two things"):
        Grid(double)


def test_claims() -> None:
    """
    Every claimed rate is of a pair that is expected to become direct.
    """
    assert len(GRID.rates) >= 5
    for rate in GRID.rates:
        assert GRID.cell(*rate.kinds).path == "direct"
        assert 0.9 <= rate.least <= 1.0
    assert {trouble.name for trouble in GRID.troubles} >= {"20 % loss", "reordering"}
    assert all(trouble.link or trouble.nat for trouble in GRID.troubles)
