"""
The command that prints the grid.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.grid import _parser, planned
from bench.page import page as pageOf
from bench.quick import bounds
from bench.results import Conditions, Results, Row, Trial
from punchd.testing.grid import grid
from punchd.testing.trial import Outcome

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
    assert "out-of-reach / out-of-reach" in text


def test_results(tmp_path: Path) -> None:
    """
    What is in the file is not tried again, and can be told and made a page of
    without any trial.
    """
    kept, page = tmp_path / "grid.jsonl", tmp_path / "grid.rst"
    pairs = ["--pairs", "open,open", "open,portrestricted", "open,symmetric"]
    words = ("--results", str(kept))
    first = bench(*pairs[:2], *words).stdout
    assert "open,open" in first
    # As if it had been broken off in the middle of a pair.
    lines = kept.read_text().splitlines()
    assert len(lines) == 2
    again = bench(*pairs, *words).stdout
    assert "1 of 3 trials are there already" in again
    assert again.splitlines()[-1] == "3 pairs, 3 as expected"
    assert len(kept.read_text().splitlines()) == 4
    told = bench("--report", *words, "--page", str(page)).stdout
    assert told.splitlines() == ["3 pairs, 3 as expected"]
    text = page.read_text()
    assert "3 pairs, 3 as ``grid.toml`` expects." in text
    # The conditions are those of the first run.
    assert " ".join(["python -m bench.grid", *pairs[:2], *words]) in text


def test_contradiction(tmp_path: Path) -> None:
    """
    A path, or a cause, that is not as it is claimed is told, with status 1.
    """
    kept = tmp_path / "grid.jsonl"
    results = Results(Conditions(0.025, 0.0, 0.0, 60.0), kept)
    relayed = Outcome(connected=True, path="relayed", causes=("trying", "out-of-reach"))
    results.add(Trial("lab", "open,open"), relayed)
    results.add(Trial("lab", "symmetric,symmetric"), relayed)
    results.add(Trial("lab", "open,fullcone"), Outcome(connected=True, path="direct"))
    results.add(Trial("lab", "open,symmetric"), Outcome(error="LabError: no"))
    results.close()
    said = bench("--report", "--results", str(kept), status=1).stdout.splitlines()
    assert said == [
        "4 pairs, 1 as expected",
        "lab open,open: expected direct, found relayed (trying, out-of-reach)",
        "lab open,symmetric: no trial: LabError: no",
        "lab symmetric,symmetric: punchd why tells trying, out-of-reach;"
        " it is out-of-reach, out-of-reach",
    ]
    again = Results(Conditions(0.025, 0.0, 0.0, 60.0), kept)
    assert len(again.trials) == 3
    again.dropContradictions()
    assert list(again.trials) == [Trial("lab", "open,fullcone")]
    again.close()


def test_parts() -> None:
    """
    The parts are all pairs, each once; those that have to are tried beside other
    people's flows, too, and other systems on the pairs of the file.
    """
    parser = _parser()
    whole = planned(parser.parse_args(["--lab"]), ["aioice"])
    parts = [
        trial
        for number in (1, 2, 3)
        for trial in planned(parser.parse_args(["--lab", f"--part={number}/3"]), [])
    ]
    ours = [trial for trial in whole if trial.contender == "punchd"]
    assert sorted(map(str, ours)) == sorted(map(str, parts))
    cells = grid().cells()
    foreign = [cell for cell in cells if cell.foreign]
    assert len(ours) == len(cells) + len(foreign)
    assert {t.foreign for t in ours} == {0.0, grid().foreign}
    # Whoever of the two dials.
    beside = {
        frozenset(t.cell.split(","))
        for t in whole
        if t.contender == "aioice" and not t.foreign
    }
    assert beside == {frozenset(cell.kinds) for cell in grid().beside}


def test_strategies() -> None:
    """
    Only the strategies that were named are scored.
    """
    words = ("--strategies", "spray", "--pairs", "portrestricted,sequential")
    out = bench(*words, "--patience", "5", status=1).stdout
    assert "punchd: relayed (relay)" in out
    assert "1 pairs, 0 as expected" in out
    assert "expected direct, found relayed" in out


def test_beside() -> None:
    """
    The page tells beside other people's flows from without them.
    """
    cell = grid().named("portrestricted,sequential")
    found = {"punchd": [Outcome(True, "direct", seconds=1.0)], "aioice": [Outcome()]}
    rows = [Row(cell, "lab", foreign, found) for foreign in (0.0, 35.0)]
    text = pageOf(rows, [], Conditions(0.025, 0.0, 0.0, 60.0))
    [plain, beside] = [line for line in text.splitlines() if "×" in line]
    assert plain.split("punchd")[0].strip() == "portrestricted × sequential"
    assert beside.split("punchd")[0].strip() == "portrestricted × sequential +35/s"


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
        (("--report",), "--results names no file"),
        (("--report", "--results", __file__), "is no file of results"),
    ],
)
def test_wrong(words: tuple[str, ...], sentence: str) -> None:
    """
    What is not there is told in a sentence, with status 1.
    """
    said = bench(*words, status=1).stderr
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_bounds() -> None:
    """
    With 25 ms each way the dial has reached the peer after 50 ms: 2.5 round trips
    later it is 175 ms, and 3.5 later 225 ms.
    """
    times = (0.17, 0.18, 0.22, 0.23, None)
    found = [Outcome(path="direct" if each else None, seconds=each) for each in times]
    told = bounds(found, 0.025)
    assert told.startswith("1 of 5 had a valid pair, and data over it, within 2.5 ")
    assert told.endswith("; 3 within 3.5.")
