"""
The command that prints success rates.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rateruns import Runs
from bench.rates import effective
from punchd.testing.grid import Trouble, grid
from punchd.testing.trial import Outcome

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).parents[2]


def once(seed: int) -> Outcome:
    """
    A run that took nothing.
    """
    return Outcome(True, "direct", frozenset({"spray"}), 0.1, float(seed), 1, 2, 3)


def never(seed: int) -> Outcome:
    """
    A run that must not be.
    """
    raise AssertionError(seed)


def test_goesOn(tmp_path: Path) -> None:
    """
    What was run before is read from the file, whole or cut short, and only what
    is missing is run.
    """
    path = tmp_path / "runs"
    first = Runs(1, path).run("a", once, 3)
    assert [each.seconds for each in first] == [0.0, 1.0, 2.0]
    assert Runs(1, path).run("a", never, 3) == first
    with pytest.raises(AssertionError):
        Runs(1, path).run("b", never, 1)
    path.write_text(path.read_text()[:-10])
    with pytest.raises(AssertionError):
        Runs(1, path).run("a", never, 3)
    assert Runs(1, path).run("a", once, 3) == first
    assert Runs(1, path).run("a", never, 3) == first


def test_broken(tmp_path: Path) -> None:
    """
    A file of something else is not taken for one.
    """
    path = tmp_path / "runs"
    path.write_text(json.dumps(["a", 0, {"moon": 1, "by": [], "causes": []}]) + "\n")
    with pytest.raises(ValueError, match="line 1"):
        Runs(1, path)


def test_effective() -> None:
    """
    What is lost, refused, or has no room in the table does not count in the
    birthday formula.
    """
    _, whole = effective("symmetric", Trouble("none"))
    assert whole.probability == pytest.approx(0.998, abs=0.001)
    for trouble in grid().troubles:
        _, left = effective("symmetric", trouble)
        same = trouble.name in ("reordering", "duplication")
        assert (left == whole) is same
        assert left.probability <= whole.probability


def test_page(tmp_path: Path) -> None:
    """
    Every row is told in a line, and stands in the page beside what is expected.
    """
    page, state = tmp_path / "rates.rst", tmp_path / "runs"
    words = ("--seeds=1", "--jobs=1", "--trouble=none")
    done = subprocess.run(
        [sys.executable, "-m", "bench.rates", *words]
        + [f"--page={page}", f"--state={state}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(grid().rates)
    text = page.read_text()
    assert "(256 x 1545 of 64512)" in text
    assert "portrestricted × sequential" in text
    assert len(state.read_text().splitlines()) == len(grid().rates)
