"""
What C{punchd why} says where there is no direct path.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from punchd.testing.grid import grid
from tests.product.talk import product

#: Much computing, where a machine may be busy with other tests.
pytestmark = pytest.mark.timeout(240)

GRID = grid()
CELLS = [
    (kindA, kindB)
    for kindA, kindB in combinations_with_replacement(GRID.groups, 2)
    if GRID.cell(kindA, kindB).path == "relayed"
]


@pytest.mark.parametrize("part", range(6))
def test_causes(part: int) -> None:
    """
    For every relayed pair of the grid both users are told the right cause, and in
    words what they could change.
    """
    cells = CELLS[part::6]
    assert len(cells) > 8
    wrong = []
    for kindA, kindB in cells:
        with product(kindA, kindB, seen=False) as pair:
            stream, _ = pair.open()
            stream.write(b"x")
            pair.network.advance(20.0)
            found = [
                pair.a.why(pair.identityB.peerId),
                pair.b.why(pair.identityA.peerId),
            ]
            causes = tuple(str(each["cause"]) for each in found)
            if causes != GRID.cell(kindA, kindB).causes:
                wrong.append((kindA, kindB, causes))
            assert all(each["advice"] for each in found)
    assert wrong == []
