"""
Many runs of the simulator, on several processes, which may be ended and go on.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from punchd.testing.trial import Outcome

#: Runs that a process is given at a time.
_CHUNK: Final = 4


def prepare() -> None:
    """
    Collect less garbage: what was imported is none, and a world of the simulator
    is thrown away as a whole.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _numbered(run: Callable[[int], Outcome], seed: int) -> tuple[int, Outcome]:
    return seed, run(seed)


class Runs:
    """
    I run what is asked for, unless it was run before.
    """

    def __init__(self, jobs: int, state: Path | None = None) -> None:
        """
        @param jobs: how many processes; with 1 it is this one.
        @param state: a file that keeps the outcomes: a JSON list a line.

        @raise ValueError: it is not such a file.
        @raise OSError: it cannot be read.
        """
        self._jobs = jobs
        self._state = state
        self._known: dict[str, dict[int, Outcome]] = {}
        if state is not None and state.exists():
            text = state.read_text()
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                # It was ended while it wrote.
                state.write_text(whole)
            self._load(whole)

    def _load(self, text: str) -> None:
        for number, line in enumerate(text.splitlines(), 1):
            try:
                key, seed, fields = json.loads(line)
                outcome = Outcome.fromDict(fields)
            except (ValueError, TypeError, KeyError) as e:
                raise ValueError(f"line {number} is no outcome of a run") from e
            self._known.setdefault(key, {})[seed] = outcome

    def run(
        self, key: str, once: Callable[[int], Outcome], seeds: int
    ) -> list[Outcome]:
        """
        @param key: what makes these runs different from others.
        @param once: one run, of a seed; has to be picklable.
        @param seeds: how many runs; 0 for those only that were run before.

        @return: what came of the seeds from 0 on.
        """
        known = self._known.setdefault(key, {})
        if not seeds:
            return [outcome for _, outcome in sorted(known.items())]
        missing = [seed for seed in range(seeds) if seed not in known]
        numbered = partial(_numbered, once)
        if self._jobs == 1:
            self._take(key, map(numbered, missing))
        elif missing:
            with get_context("fork").Pool(self._jobs, prepare) as pool:
                self._take(key, pool.imap_unordered(numbered, missing, _CHUNK))
        return [known[seed] for seed in range(seeds)]

    def _take(self, key: str, outcomes: Iterable[tuple[int, Outcome]]) -> None:
        for seed, outcome in outcomes:
            self._known[key][seed] = outcome
            self._keep(key, seed, outcome)

    def _keep(self, key: str, seed: int, outcome: Outcome) -> None:
        if self._state is None:
            return
        with self._state.open("a") as file:
            file.write(json.dumps([key, seed, outcome.toDict()]) + "\n")
