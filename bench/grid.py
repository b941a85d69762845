"""
The grid: every pair of kinds of connection, who connects, how, how soon, and what
it costs::

    python -m bench.grid [--simulator] [--lab] [--pairs A,B ...] [--seeds N]
                         [--peers aioice hyperdht iroh] [--part I/N] [--jobs N]
                         [--results FILE [--again]] [--page FILE] [--report]
                         [--logs DIR]
                         [--delay S] [--foreign N] [--loss SHARE] [--patience S]
                         [--strategies NAME ...] [--predictors NAME ...]

In the simulator (unless told otherwise), in the kernel lab, or in both.  The pairs
are those of punchd/testing/grid.toml, and those that it wants so are tried beside
other people's flows, too; C{lab} and C{isolated} as B are neighbours behind one NAT.
Other systems are tried in the lab, in turns with ours, on the pairs that the file
names, or on C{--pairs}.

What came of each trial is appended to the file of C{--results}; a run that was broken
off goes on where it was when the same file is named, and C{--report} prints the file,
and writes the page, without trying anything.  C{--part 2/3} takes the second third
of the pairs.  A trial that fails for other reasons than the network's is repeated once.

The status is 1 if anything contradicts grid.toml: a pair that does not connect, takes
another path, or is relayed for another reason than C{punchd why} tells.

C{--strategies} takes only these strategies, by the names of their plugins;
C{--predictors} scores port predictors on every kind.  Both are for the simulator.

Seconds are those from the dial until both sides are direct; for aioice, which has
no signaling, from the moment both sides hold the candidates.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from punchd._plugins import pluginNamed
from punchd.errors import PunchError
from punchd.interfaces import IPortPredictor, ITraversalStrategy
from punchd.testing.grid import Cell, grid
from punchd.testing.lab import whyNot
from punchd.testing.trial import Outcome

from .page import COLUMNS, cellsOf, page, table
from .peers import PEERS
from .predicting import score
from .results import OURS, Conditions, Results, Row, Trial, read, rowsOf
from .trials import Setting, tryAll

#: The retransmission that others wait for is 500 ms; half of it is too long.
CLIFF = 0.25


def summary(found: Sequence[Outcome]) -> str:
    """
    @return: what came of one contender's runs, for a line.
    """
    paths = [each.path for each in found]
    times = [each.seconds for each in found if each.seconds is not None]
    best = max(set(paths), key=paths.count) or "no path"
    words = best if len(found) == 1 else f"{best} {paths.count(best)}/{len(found)}"
    by = sorted({strategy for each in found for strategy in each.by})
    if by:
        words += f" ({', '.join(by)})"
    if times:
        words += f" {median(times):.3f} s"
        if len(times) > 1:
            slow = sum(each > CLIFF for each in times)
            words += f" (max {max(times):.3f}, {slow} over {1000 * CLIFF:g} ms)"
    packets = median(each.packets for each in found)
    bindings = median(each.bindings for each in found)
    words += f", {packets:g} packets, {bindings:g} bindings"
    told = dict.fromkeys(each.causes for each in found if each.causes)
    return words + "".join(f", told: {' / '.join(each)}" for each in told)


# --- what is to be done


def planned(arguments: argparse.Namespace, peers: Sequence[str]) -> list[Trial]:
    """
    @return: all trials that were asked for, those of a pair together.
    """
    named = [grid().named(name) for name in arguments.pairs]
    inTheLab = arguments.lab or bool(arguments.peers)
    found: list[Trial] = []
    if arguments.simulator or not inTheLab:
        cells = named or grid().cells()
        found += _trials("simulator", cells, (), [], arguments)
    if inTheLab:
        cells = named or (grid().cells() if arguments.lab else grid().beside)
        beside = named or grid().beside
        found += _trials("lab", cells, peers, beside, arguments)
    return found


def _trials(
    where: str,
    cells: Sequence[Cell],
    peers: Sequence[str],
    beside: Sequence[Cell],
    arguments: argparse.Namespace,
) -> list[Trial]:
    pairs = [(cell, arguments.foreign) for cell in cells]
    if not arguments.pairs and not arguments.foreign:
        pairs += [(cell, grid().foreign) for cell in cells if cell.foreign]
    part, parts = arguments.part
    common = [_unordered(cell) for cell in beside]
    return [
        Trial(where, cell.name, foreign, name, run)
        for cell, foreign in pairs[part - 1 :: parts]
        for run in range(arguments.seeds)
        for name in (OURS, *(peers if _unordered(cell) in common else ()))
    ]


def _unordered(cell: Cell) -> tuple[object, ...]:
    return sorted(cell.kinds), cell.sameNat, cell.isolated


# --- the command


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected I/N, such as 1/3")
    return int(found[1]), int(found[2])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.grid",
        description=re.sub(r"C\{(.*?)\}", r"\1", __doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    number = partial(add, type=float, metavar="N")
    whole = partial(add, type=int, metavar="N")
    names = partial(add, nargs="+", default=[], metavar="NAME")
    add("--simulator", action="store_true", help="in the simulator")
    add("--lab", action="store_true", help="in the kernel lab")
    names("--pairs", help="these alone, KIND,KIND")
    add("--part", type=_part, default=(1, 1), metavar="I/N", help="these pairs alone")
    whole("--seeds", default=1, help="runs a pair (1)")
    names("--peers", help=f"other systems: {', '.join(PEERS)}")
    whole("--jobs", default=None, help="at a time (1 in the lab, 2 in the simulator)")
    number("--delay", default=grid().delay, help="seconds one way (0.025)")
    number("--foreign", default=0.0, help="other people's flows a second (0)")
    number("--loss", default=0.0, help="share of lost packets, 0 to 1 (0)")
    number("--patience", default=60.0, help="seconds for a direct path (60)")
    add("--results", type=Path, metavar="FILE", help="keep what comes, and go on")
    add("--again", action="store_true", help="try what contradicted claims again")
    add("--page", type=Path, metavar="FILE", help="write the documentation's page")
    add("--report", action="store_true", help="try nothing")
    add("--logs", type=Path, metavar="DIR", help="keep those of what is contradicted")
    names("--strategies", help="these plugins alone")
    names("--predictors", help="score these plugins")
    return parser


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """
    Leave with a sentence when something that was asked for is not there.
    """
    try:
        for name in arguments.pairs:
            grid().named(name)
        for name in arguments.strategies:
            pluginNamed(ITraversalStrategy, name)
        for name in arguments.predictors:
            pluginNamed(IPortPredictor, name)
    except (ValueError, PunchError) as e:
        parser.exit(1, f"{parser.prog}: {str(e).rstrip('.')}.\n")
    for name in arguments.peers:
        if name not in PEERS:
            known = " ".join(PEERS)
            parser.exit(
                1, f"{parser.prog}: --peers={name}: expected some of {known}.\n"
            )
    if arguments.report:
        if arguments.results is None or not arguments.results.exists():
            parser.exit(1, f"{parser.prog}: --report: --results names no file.\n")
    elif arguments.lab or arguments.peers:
        reason = whyNot()
        if reason is not None:
            parser.exit(1, f"{parser.prog}: {reason}.\n")


def main() -> int:
    """
    Print a line a pair and a table, and write the page.

    @return: the exit status.
    """
    parser = _parser()
    arguments = parser.parse_args()
    _check(parser, arguments)
    if arguments.predictors:
        for line in score(arguments.predictors, arguments.seeds, arguments.foreign):
            print(line, flush=True)
        return 0
    peers: list[str] = []
    absent: list[str] = []
    for name in () if arguments.report else arguments.peers:
        reason = PEERS[name].whyNot()
        (absent if reason else peers).append(reason or name)
    for reason in absent:
        print(reason, file=sys.stderr)
    try:
        conditions, trials = _found(arguments, peers)
    except ValueError as e:
        parser.exit(1, f"{parser.prog}: --results: {e}.\n")
    rows = rowsOf((each, outcome) for each, outcome in trials.items() if outcome)
    if arguments.page:
        arguments.page.write_text(page(rows, absent, conditions))
    return report(rows, sum(outcome is None for outcome in trials.values()))


def _found(
    arguments: argparse.Namespace, peers: Sequence[str]
) -> tuple[Conditions, dict[Trial, Outcome | None]]:
    """
    @return: what was asked for, L{None} for what has not been tried.

    @raise ValueError: the file of results is of no use.
    """
    if arguments.report:
        conditions, trials = read(arguments.results)
        return conditions, dict(trials)
    limits = arguments.delay, arguments.foreign, arguments.loss, arguments.patience
    words = " ".join(sys.argv[1:])
    here = Conditions(*limits).here(f"python -m bench.grid {words}")
    results = Results(here, arguments.results)
    if arguments.again:
        results.dropContradictions()
    wanted = planned(arguments, peers)
    try:
        run(results, wanted, arguments)
    except KeyboardInterrupt:
        print("broken off")
    finally:
        results.close()
    return results.conditions, {each: results.trials.get(each) for each in wanted}


def run(
    results: Results, wanted: Sequence[Trial], arguments: argparse.Namespace
) -> None:
    """
    Try what has not been tried, and print what comes.
    """
    setting = Setting(
        arguments.delay,
        arguments.loss,
        arguments.patience,
        arguments.strategies,
        arguments.logs,
    )
    began, done = time.monotonic(), 0
    left = [each for each in wanted if each not in results.trials]
    if len(left) < len(wanted):
        print(f"{len(wanted) - len(left)} of {len(wanted)} trials are there already")
    for where, usual in (("simulator", 2), ("lab", 1)):
        jobs, inOrder = arguments.jobs or usual, where == "simulator"
        here = [each for each in left if each.where == where]
        if not here:
            continue
        waiting = Counter(_pairOf(each) for each in here)
        for trial, outcome in tryAll(here, setting, jobs, inOrder=inOrder):
            results.add(trial, outcome)
            done += 1
            waiting[_pairOf(trial)] -= 1
            if not waiting[_pairOf(trial)]:
                minutes = (time.monotonic() - began) / done * (len(left) - done) / 60
                place = f"[{done}/{len(left)}, {minutes:.0f} min left]"
                _print(results, _pairOf(trial), place if len(left) > 20 else "")


def _pairOf(trial: Trial) -> tuple[str, str, float]:
    return trial.where, trial.cell, trial.foreign


def _print(results: Results, pair: tuple[str, str, float], place: str) -> None:
    [row] = rowsOf(each for each in results.trials.items() if _pairOf(each[0]) == pair)
    words = "; ".join(f"{name}: {summary(row.found[name])}" for name in row.found)
    line = f"{place} {row.where:9} {row.name:33} {words}"
    print(line.strip(), flush=True)
    for text in row.contradictions():
        print(f"    CONTRADICTION: {text}", flush=True)


def report(rows: Sequence[Row], missing: int) -> int:
    """
    Print a table of our own trials, if there are many, and what contradicts the
    claims.

    @return: the exit status.
    """
    ours = [row for row in rows if OURS in row.found]
    if len(ours) > 20:
        lines = [[row.where, *cellsOf(row)] for row in ours]
        print(table(("", *COLUMNS), lines).replace("\\-", "-"))
    paths = Counter(each.path or "none" for row in ours for each in row.found[OURS])
    if len(ours) > 20:
        print(", ".join(f"{count} {path}" for path, count in paths.most_common()))
    wrong = [row for row in ours if row.contradictions()]
    print(f"{len(ours)} pairs, {len(ours) - len(wrong)} as expected")
    for row in wrong:
        for text in dict.fromkeys(row.contradictions()):
            print(f"{row.where} {row.name}: {text}")
    if missing:
        print(f"{missing} trials are missing")
    return 1 if wrong or missing else 0


if __name__ == "__main__":
    sys.exit(main())
