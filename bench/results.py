"""
What came of the grid's trials: one JSON object a line, written as they end, so that
a run that was broken off goes on where it was, and pages can be made again.

The first line has the conditions; the rest are trials.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from punchd.testing.grid import Cell, grid
from punchd.testing.trial import Outcome

OURS = "punchd"


@dataclass(frozen=True)
class Trial:
    """
    One try of one contender.

    @ivar where: C{"simulator"} or C{"lab"}.
    @ivar cell: the pair, as L{Cell.name} has it.
    @ivar foreign: other people's flows a second.
    @ivar contender: who tries.
    @ivar run: counted from 0.
    """

    where: str
    cell: str
    foreign: float = 0.0
    contender: str = OURS
    run: int = 0


@dataclass
class Row:
    """
    What came of one pair.

    @ivar found: by contender, an outcome a run.
    """

    cell: Cell
    where: str
    foreign: float = 0.0
    found: dict[str, list[Outcome]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """
        The pair, and what makes it harder.
        """
        return self.cell.name + (f" +{self.foreign:g}/s" if self.foreign else "")

    def contradictions(self) -> list[str]:
        """
        @return: how our own runs differ from what is claimed, a sentence each.
        """
        return [text for each in self.found.get(OURS, []) for text in self._wrong(each)]

    def _wrong(self, outcome: Outcome) -> list[str]:
        cell = self.cell
        if outcome.error:
            return [f"no trial: {outcome.error}"]
        if not outcome.connected:
            return ["not connected"]
        if not cell.fits(outcome.path, frozenset()):
            because = f" ({', '.join(outcome.causes)})" if outcome.causes else ""
            return [f"expected {cell.path}, found {outcome.path}{because}"]
        if outcome.path == "relayed":
            if outcome.causes != cell.causes:
                told, right = (", ".join(x) for x in (outcome.causes, cell.causes))
                return [f"punchd why tells {told}; it is {right}"]
        return []


@dataclass
class Conditions:
    """
    Under which it was tried; times in seconds.

    @ivar loss: the share of lost packets.
    @ivar load: of the machine, when it began.
    """

    delay: float
    foreign: float
    loss: float
    patience: float
    command: str = ""
    date: str = ""
    cores: int = 0
    load: float = 0.0
    kernel: str = ""

    def here(self, command: str) -> Conditions:
        """
        @return: the same, on this machine, now.
        """
        return Conditions(
            self.delay,
            self.foreign,
            self.loss,
            self.patience,
            command,
            str(datetime.now(timezone.utc).date()),
            os.cpu_count() or 1,
            round(os.getloadavg()[2], 1),
            platform.release().partition("-")[0],
        )

    @property
    def key(self) -> tuple[float, ...]:
        """
        What has to be the same to go on.
        """
        return self.delay, self.foreign, self.loss, self.patience


class Results:
    """
    I keep them, in a file if there is one.

    @ivar conditions: of the first run.
    @ivar trials: what was tried, with what came of it.
    """

    def __init__(self, conditions: Conditions, path: Path | None = None) -> None:
        """
        @param path: the file; what it has already is taken from it.

        @raise ValueError: it has been made under other conditions, or is no such
            file.
        """
        self.conditions = conditions
        self.trials: dict[Trial, Outcome] = {}
        self._file: TextIO | None = None
        if path is None:
            return
        known = path.exists() and path.stat().st_size > 0
        if known:
            self._read(path, conditions)
        self._file = path.open("a", encoding="utf-8")
        if not known:
            self._write({"conditions": asdict(conditions)})

    def _read(self, path: Path, conditions: Conditions) -> None:
        head, trials = read(path)
        if head.key != conditions.key:
            raise ValueError(
                f"{path} was made with another delay, loss, patience or foreign flows"
            )
        self.conditions = head
        # What came to no trial is tried again.
        self.trials = {key: each for key, each in trials.items() if not each.error}

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def dropContradictions(self) -> None:
        """
        Forget our own trials that contradict a claim, to try them again.
        """
        for trial, outcome in list(self.trials.items()):
            [row] = rowsOf([(trial, outcome)])
            if row.contradictions():
                del self.trials[trial]

    def add(self, trial: Trial, outcome: Outcome) -> None:
        """
        Keep one.
        """
        self.trials[trial] = outcome
        self._write({**asdict(trial), "outcome": outcome.toDict()})

    def close(self) -> None:
        """
        That was all.
        """
        if self._file is not None:
            self._file.close()


def read(path: Path) -> tuple[Conditions, dict[Trial, Outcome]]:
    """
    @return: what a file has.

    @raise ValueError: it is no such file.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        conditions = Conditions(**json.loads(lines[0])["conditions"])
        trials = {}
        for line in lines[1:]:
            data = json.loads(line)
            outcome = Outcome.fromDict(data.pop("outcome"))
            trials[Trial(**data)] = outcome
    except (LookupError, TypeError, ValueError) as e:
        raise ValueError(f"{path} is no file of results of the grid: {e!r}") from e
    return conditions, trials


def rowsOf(trials: Iterable[tuple[Trial, Outcome]]) -> list[Row]:
    """
    @return: the trials by pair, in the order of the grid.
    """
    rows: dict[tuple[str, str, float], Row] = {}
    ordered = sorted(trials, key=lambda each: each[0].run)
    for trial, outcome in ordered:
        key = (trial.where, trial.cell, trial.foreign)
        if key not in rows:
            cell = grid().named(trial.cell)
            rows[key] = Row(cell, trial.where, trial.foreign)
        rows[key].found.setdefault(trial.contender, []).append(outcome)
    places = {cell.name: number for number, cell in enumerate(grid().cells())}
    last = len(places)
    return sorted(
        rows.values(),
        key=lambda row: (
            row.where != "simulator",
            row.foreign,
            places.get(row.cell.name, last),
        ),
    )
