"""
Many runs of the simulator, on several processes, which may be ended and go on.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from punchd.testing.trial import Outcome

#: Runs that a process is given at a time.
_CHUNK: Final = 4


def _prepare() -> None:
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
        @param jobs: how many processes.
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
                outcome = Outcome(**{**fields, "by": frozenset(fields["by"])})
            except (ValueError, TypeError, KeyError) as e:
                raise ValueError(f"line {number} is no outcome of a run") from e
            self._known.setdefault(key, {})[seed] = outcome

    def run(
        self, key: str, once: Callable[[int], Outcome], seeds: int
    ) -> list[Outcome]:
        """
        @param key: what makes these runs different from others.
        @param once: one run, of a seed; has to be picklable.

        @return: what came of the seeds from 0 on.
        """
        known = self._known.setdefault(key, {})
        missing = [seed for seed in range(seeds) if seed not in known]
        if missing:
            with get_context("fork").Pool(self._jobs, _prepare) as pool:
                numbered = partial(_numbered, once)
                for seed, outcome in pool.imap_unordered(numbered, missing, _CHUNK):
                    known[seed] = outcome
                    self._keep(key, seed, outcome)
        return [known[seed] for seed in range(seeds)]

    def _keep(self, key: str, seed: int, outcome: Outcome) -> None:
        if self._state is None:
            return
        fields: dict[str, Any] = {**asdict(outcome), "by": sorted(outcome.by)}
        with self._state.open("a") as file:
            file.write(json.dumps([key, seed, fields]) + "\n")
