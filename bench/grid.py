"""
The grid: every pair of kinds of connection, who connects, how, how soon, and what
it costs::

    python -m bench.grid [--simulator] [--lab] [--pairs A,B ...] [--seeds N]
                         [--peers aioice hyperdht iroh] [--delay S] [--foreign N]
                         [--loss SHARE] [--patience S] [--page FILE]
                         [--strategies NAME ...] [--predictors NAME ...]

In the simulator (unless told otherwise), in the kernel lab, or in both.  The pairs
are those of punchd/testing/grid.toml; C{lab} and C{isolated} as B are neighbours
behind one NAT.  Other systems are tried in the lab, in turns with ours, on the
pairs that the file names, or on C{--pairs}.

C{--strategies} takes only these strategies, by the names of their plugins;
C{--predictors} scores port predictors on every kind.  Both are for the simulator.

Seconds are those from the dial until both sides are direct; for aioice, which has
no signaling, from the moment both sides hold the candidates.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from punchd._plugins import pluginNamed
from punchd.errors import PunchError
from punchd.interfaces import IPortPredictor, ITraversalStrategy
from punchd.testing.grid import Cell, Trouble, grid
from punchd.testing.lab import Lab, Router, whyNot
from punchd.testing.trial import Outcome, inLab, simulated

from .page import page
from .peers import PEERS
from .predicting import score

OURS = "punchd"
#: The retransmission that others wait for is 500 ms; half of it is too long.
CLIFF = 0.25
#: Virtual seconds, or real ones in the lab, in which what is to stay relayed
#: could have become direct.
SETTLED = 3.0


@dataclass
class Row:
    """
    What came of one pair.

    @ivar where: C{"simulator"} or C{"lab"}.
    @ivar found: by contender, an outcome a run.
    """

    cell: Cell
    where: str
    found: dict[str, list[Outcome]] = field(default_factory=dict)

    def asExpected(self) -> bool:
        """
        Whether all our own runs had the path that there should be.
        """
        return all(
            each.connected
            and self.cell.fits(
                each.path, frozenset(), simulator=self.where == "simulator"
            )
            for each in self.found[OURS]
        )


def summary(found: list[Outcome]) -> str:
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
    return f"{words}, {packets:g} packets, {bindings:g} bindings"


# --- the simulator


def _simulate(job: tuple[str, int], **options: Any) -> Outcome:
    name, seed = job
    cell = grid().named(name)
    names = options.pop("strategies")
    if names:
        options["strategies"] = tuple(
            pluginNamed(ITraversalStrategy, each) for each in names
        )
    if cell.path != "direct":
        options["patience"] = SETTLED
    return simulated(cell, seed, **options)


def simulator(cells: list[Cell], seeds: int, **options: Any) -> Iterator[Row]:
    """
    @return: a row for every pair, as they come.
    """
    jobs = [(cell.name, seed) for cell in cells for seed in range(1, seeds + 1)]
    run = partial(_simulate, **options)
    with get_context("fork").Pool(2) as pool:
        outcomes = pool.imap(run, jobs, chunksize=4)
        for cell in cells:
            found = [next(outcomes) for _ in range(seeds)]
            yield Row(cell, "simulator", {OURS: found})


# --- the kernel lab


def metered(lab: Lab, outcome: Outcome) -> Outcome:
    """
    @return: the outcome, with the packets that the routers sent to the other side,
        and the UDP flows that the busier one remembers of its own side.
    """
    routers = lab.outermost
    packets = sum(router.sentTo(host) for router in routers for host in router.peers)
    return replace(outcome, packets=packets, bindings=max(map(_flows, routers)))


def _flows(router: Router) -> int:
    done = router.run(["conntrack", "-L", "-p", "udp"], capture_output=True)
    # Not those of other people.
    return sum("dst=203.0.113.1 " not in line for line in done.stdout.splitlines())


def _ours(expected: str, patience: float) -> Callable[[Lab, Path], Outcome]:
    def dial(lab: Lab, folder: Path) -> Outcome:
        return inLab(lab, expected, patience=patience, settle=2 * SETTLED)

    return dial


def kernel(
    cells: Iterable[Cell],
    runs: int,
    peers: Iterable[str],
    beside: Iterable[Cell],
    patience: float,
    **conditions: Any,
) -> Iterator[Row]:
    """
    @return: a row for every pair, as they come.
    """
    names, common = list(peers), list(beside)
    for cell in cells:
        row = Row(cell, "lab")
        contenders: dict[str, Callable[[Lab, Path], Outcome]] = {
            OURS: _ours(cell.path, patience)
        }
        if cell in common:
            for name in names:
                contenders[name] = partial(PEERS[name].dial, patience=patience)
        for number in range(runs):
            for name, dial in contenders.items():
                outcome = _once(cell, dial, name, seed=number, **conditions)
                row.found.setdefault(name, []).append(outcome)
        yield row


def _once(
    cell: Cell, dial: Callable[[Lab, Path], Outcome], name: str, **conditions: Any
) -> Outcome:
    folder = Path(tempfile.mkdtemp(prefix="punchd-"))
    together = {"sameNat": cell.sameNat, "isolated": cell.isolated}
    try:
        with Lab(*cell.kinds, **together, **conditions) as lab:
            try:
                return metered(lab, dial(lab, folder))
            except (RuntimeError, TimeoutError) as e:
                print(f"{cell.name}: {name}: {e}", file=sys.stderr)
                return Outcome()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- the command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.grid",
        description=re.sub(r"C\{(.*?)\}", r"\1", __doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    number = partial(add, type=float, metavar="N")
    names = partial(add, nargs="+", default=[], metavar="NAME")
    add("--simulator", action="store_true", help="in the simulator")
    add("--lab", action="store_true", help="in the kernel lab")
    names("--pairs", help="these alone, KIND,KIND")
    add("--seeds", type=int, default=1, metavar="N", help="runs a pair (1)")
    names("--peers", help=f"other systems: {', '.join(PEERS)}")
    number("--delay", default=grid().delay, help="seconds one way (0.025)")
    number("--foreign", default=0.0, help="other people's flows a second (0)")
    number("--loss", default=0.0, help="share of lost packets, 0 to 1 (0)")
    number("--patience", default=60.0, help="seconds for a direct path (60)")
    add("--page", metavar="FILE", help="write the page of the documentation")
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
    if arguments.lab or arguments.peers:
        reason = whyNot()
        if reason is not None:
            parser.exit(1, f"{parser.prog}: {reason}.\n")


def main() -> None:
    """
    Print a line a pair, and write the page.
    """
    parser = _parser()
    arguments = parser.parse_args()
    _check(parser, arguments)
    if arguments.predictors:
        for line in score(arguments.predictors, arguments.seeds, arguments.foreign):
            print(line, flush=True)
        return
    named = [grid().named(name) for name in arguments.pairs]
    peers, absent = [], []
    for name in arguments.peers:
        reason = PEERS[name].whyNot()
        (absent if reason else peers).append(reason or name)
    for reason in absent:
        print(reason, file=sys.stderr)
    rows = []
    inTheLab = arguments.lab or bool(arguments.peers)
    if arguments.simulator or not inTheLab:
        rows += _print(
            simulator(
                named or grid().cells(),
                arguments.seeds,
                delay=arguments.delay,
                foreign=arguments.foreign,
                trouble=Trouble("loss", {"loss": arguments.loss}),
                patience=arguments.patience,
                strategies=arguments.strategies,
            )
        )
    if inTheLab:
        every = grid().cells() if arguments.lab else grid().beside
        rows += _print(
            kernel(
                named or every,
                arguments.seeds,
                peers,
                named or grid().beside,
                arguments.patience,
                delay=arguments.delay,
                foreign=arguments.foreign,
                loss=100 * arguments.loss,
            )
        )
    wrong = [row for row in rows if not row.asExpected()]
    print(f"{len(rows)} pairs, {len(rows) - len(wrong)} as expected")
    for row in wrong:
        print(f"{row.where} {row.cell.name}: expected {row.cell.path}")
    if arguments.page:
        words = " ".join(sys.argv[1:])
        text = page(rows, absent, f"python -m bench.grid {words}", arguments)
        Path(arguments.page).write_text(text)


def _print(rows: Iterable[Row]) -> list[Row]:
    kept = []
    for row in rows:
        kept.append(row)
        words = "; ".join(f"{name}: {summary(row.found[name])}" for name in row.found)
        print(f"{row.where:9} {row.cell.name:33} {words}", flush=True)
    return kept


if __name__ == "__main__":
    main()
