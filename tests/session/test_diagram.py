"""
Tests for C{docs/machines}.
"""

from __future__ import annotations

import runpy
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "machines"


def test_theDiagramIsTheMachine() -> None:
    """
    C{session.dot} is what C{draw.py} makes of the machine now.
    """
    draw = runpy.run_path(str(FOLDER / "draw.py"))["draw"]
    assert (FOLDER / "session.dot").read_text() == draw()
