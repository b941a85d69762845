"""
How soon endpoint-independent pairs are direct, run after run, beside others::

    python -m bench.quick [--runs N] [--delay S] [--pairs A,B ...]
                          [--peers NAME ...] [--results FILE]

In the kernel lab, without delay unless told otherwise: what takes longer there than
some 100 ms waits for a retransmission.  50 runs, in turns with the others that can be
had here.  Each run has a lab and processes of its own; the seconds are those from the
dial until both sides are direct, and for aioice, which has no signaling, from the
moment both sides hold the candidates.

The status is 1 when one of our own runs is not direct, or without delay takes more than
250 ms.  What came of each is appended to the file of C{--results}, and is not tried
again when that is named the next time.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from punchd.testing.grid import grid
from punchd.testing.lab import whyNot
from punchd.testing.trial import Outcome

from .page import table
from .peers import PEERS
from .results import OURS, Conditions, Results, Trial
from .trials import Setting, tryAll

#: Seconds that are too long: the retransmission that others wait for is 500 ms.
CLIFF = 0.25
#: Round trips, after the dial has reached the peer, within which a pair is to be valid,
#: and within which the path is to be direct, proven by data.
VALID, DIRECT = 2.5, 3.5
#: Seconds that a run may take at most.
PATIENCE = 20.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quick",
        description=re.sub(r"C\{(.*?)\}", r"\1", __doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--runs", type=int, default=50, metavar="N", help="of each system (50)")
    add("--delay", type=float, default=0.0, metavar="S", help="one way (0)")
    add("--pairs", nargs="+", default=["portrestricted,portrestricted"], metavar="A,B")
    add("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    add("--jobs", type=int, default=1, metavar="N", help="at a time (1)")
    add("--results", type=Path, metavar="FILE", help="keep what comes, and go on")
    return parser


def row(pair: str, name: str, found: Sequence[Outcome], delay: float) -> list[str]:
    """
    @return: what L{HEAD} names, of one system's runs.
    """
    times = sorted(each.seconds for each in found if each.seconds is not None)
    cells = [pair, name, f"{sum(each.direct for each in found)} of {len(found)}"]
    if not times:
        return [*cells, *["-"] * (len(HEAD) - len(cells))]
    middle, most = median(times), times[-1]
    high = times[round(0.95 * (len(times) - 1))]
    cells += [f"{1000 * each:.0f}" for each in (middle, high, most)]
    cells.append(str(sum(each > CLIFF for each in times)))
    if delay and name == OURS:
        cells.append(", ".join(f"{trips(each, delay):.2f}" for each in (middle, most)))
    else:
        cells.append("-")
    return cells


def trips(seconds: float, delay: float) -> float:
    """
    @return: round trips after the dial has reached the peer: before that it has crossed
        the public network twice.
    """
    return seconds / (2 * delay) - 1


def bounds(found: Sequence[Outcome], delay: float) -> str:
    """
    @return: how many of our runs kept the bounds.  A pair is valid before it is proven,
        so that who is direct within the bound for valid pairs has kept both.
    """
    taken = [trips(e.seconds, delay) for e in found if e.seconds is not None]
    counts = [sum(each <= bound for each in taken) for bound in (VALID, DIRECT)]
    return (
        f"{counts[0]} of {len(found)} had a valid pair, and data over it, within "
        f"{VALID} round trips after the dial had reached the peer; {counts[1]} within "
        f"{DIRECT}."
    )


HEAD = (
    "pair",
    "system",
    "direct",
    "median, ms",
    "95 %",
    "most",
    "over 250 ms",
    "round trips after the dial (median, most)",
)


def main() -> int:
    """
    Print a table.

    @return: the exit status.
    """
    parser = _parser()
    arguments = parser.parse_args()
    reason = whyNot()
    if reason is not None:
        parser.exit(1, f"{parser.prog}: {reason}.\n")
    try:
        for pair in arguments.pairs:
            grid().named(pair)
        conditions = Conditions(arguments.delay, 0.0, 0.0, PATIENCE)
        here = conditions.here(f"python -m bench.quick {' '.join(sys.argv[1:])}")
        results = Results(here, arguments.results)
    except ValueError as e:
        parser.exit(1, f"{parser.prog}: {e}.\n")
    systems = [OURS]
    for name in arguments.peers:
        absent = PEERS[name].whyNot()
        if absent is None:
            systems.append(name)
        else:
            print(absent, file=sys.stderr)
    wanted = [
        Trial("lab", pair, 0.0, name, run)
        for pair in arguments.pairs
        for run in range(arguments.runs)
        for name in systems
    ]
    left = [each for each in wanted if each not in results.trials]
    setting = Setting(arguments.delay, 0.0, PATIENCE)
    for done, (trial, outcome) in enumerate(
        tryAll(left, setting, arguments.jobs, inOrder=False), 1
    ):
        results.add(trial, outcome)
        took = "-" if outcome.seconds is None else f"{1000 * outcome.seconds:.0f} ms"
        said = f" {outcome.error}" if outcome.error else ""
        print(
            f"[{done}/{len(left)}] {trial.cell} {trial.contender}: {took}{said}",
            flush=True,
        )
    results.close()
    return _report(arguments, results, wanted)


def _report(
    arguments: argparse.Namespace, results: Results, wanted: Sequence[Trial]
) -> int:
    lines, told, fine = [], [], True
    for pair in arguments.pairs:
        for name in dict.fromkeys(trial.contender for trial in wanted):
            trials = [t for t in wanted if (t.cell, t.contender) == (pair, name)]
            found = [results.trials[each] for each in trials]
            lines.append(row(pair, name, found, arguments.delay))
            if name == OURS:
                fine = fine and all(each.direct for each in found)
                times = [each.seconds or 0.0 for each in found]
                fine = fine and (arguments.delay > 0 or max(times) <= CLIFF)
                if arguments.delay:
                    told.append(f"{pair}: {bounds(found, arguments.delay)}")
    print("\n".join([table(HEAD, lines), *told]))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
