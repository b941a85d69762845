"""
The command that prints the grid.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).parents[2]


def bench(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """
    Run C{python -m bench.grid}.
    """
    command = [sys.executable, "-m", "bench.grid", *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=220
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_simulator(tmp_path: Path) -> None:
    """
    A line a pair says what came about, and the page has the same in a table.
    """
    page = tmp_path / "grid.rst"
    words = ("--pairs", "portrestricted,sequential", "hairpin,isolated")
    out = bench(*words, "symmetric,symmetric", "--page", str(page)).stdout
    first, second, third, last = out.splitlines()
    assert "portrestricted,sequential" in first
    assert "punchd: direct (predicted)" in first
    assert "hairpin,isolated" in second
    assert "punchd: direct (srflx)" in second
    assert "punchd: relayed (relay)" in third
    assert last == "3 pairs, 3 as expected"
    text = page.read_text()
    assert "3 pairs, 3 as ``grid.toml`` expects." in text
    assert "portrestricted  sequential  direct   predicted" in text


def test_strategies() -> None:
    """
    Only the strategies that were named are scored.
    """
    words = ("--strategies", "spray", "--pairs", "portrestricted,sequential")
    out = bench(*words, "--patience", "5").stdout
    assert "punchd: relayed (relay)" in out
    assert "1 pairs, 0 as expected" in out


def test_predictors() -> None:
    """
    A predictor is right where the NAT is of its kind, and hardly elsewhere.
    """
    out = bench("--predictors", "sequential", "--seeds", "4").stdout
    found = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert found["sequential"] == found["cgnat-sequential"] == "sequential 4/4"
    assert found["symmetric"] == "sequential 0/4"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pairs", "moon,open"), "no kind 'moon'"),
        (("--pairs", "moon"), "expected KIND,KIND"),
        (("--strategies", "moon"), "plugin is named 'moon'"),
        (("--predictors", "moon"), "plugin is named 'moon'"),
        (("--peers", "moon"), "expected some of aioice hyperdht iroh"),
    ],
)
def test_wrong(words: tuple[str, ...], sentence: str) -> None:
    """
    What is not there is told in a sentence, with status 1.
    """
    said = bench(*words, status=1).stderr
    assert sentence in said
    assert len(said.splitlines()) == 1
