"""
How often and how fast the product gets a direct path, beside what is claimed of
it and beside the birthday formula, in the simulator::

    python -m bench.rates [--seeds=N] [--jobs=N] [--trouble=NAME ...]
                          [--foreign=RATE] [--loss=SHARE] [KIND,KIND ...]

Without pairs, the rows of the grid's C{rates}, then the same under each of its
C{trouble}s; C{--trouble=none} is the rows alone.  With pairs, those, under
C{--foreign} and C{--loss}.  Times are virtual seconds from the dial until both
sides are direct; probes are those of the busier side, beyond plain checks.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from functools import partial
from multiprocessing import get_context
from statistics import median

from punchd.nat.birthday import PORTS, hitProbability, sizeSpray
from punchd.testing.grid import Rate, Trouble, grid
from punchd.testing.trial import Outcome, simulated
from punchd.traversal.spray import WANTED

#: Seconds in which a first spray is over, and no second one has begun.
FIRST = 33.0
#: How many outside ports there may be, by kind, and how many a customer has.
RANGES = {"block1024": (1024, 1024), "symmetric": (PORTS, None)}


def once(rate: Rate, trouble: Trouble, patience: float, seed: int) -> Outcome:
    """
    One run.
    """
    cell = grid().cell(*rate.kinds)
    return simulated(
        cell,
        seed,
        foreign=rate.foreign,
        trouble=trouble,
        patience=patience,
        delay=grid().delay,
    )


def predicted(kind: str, found: list[Outcome]) -> str:
    """
    @return: what came of the first sprays, beside what the formula says.
    """
    ports, quota = RANGES[kind]
    spray = sizeSpray(ports, WANTED, quota=quota)
    chance = hitProbability(ports, spray.sockets, spray.probes)
    first = sum((each.seconds or FIRST) < FIRST for each in found) / len(found)
    size = f"{spray.sockets} x {spray.probes} of {ports}"
    return f"; first spray {first:.1%}, formula for {size}: {chance:.1%}"


def line(rate: Rate, trouble: Trouble, found: list[Outcome]) -> str:
    """
    @return: what came of many runs, beside the claim.
    """
    direct = [each for each in found if each.direct]
    times = [each.seconds for each in direct if each.seconds is not None]
    probes = [each.probes for each in found]
    ordered = sorted(times)
    middle = (
        f"median {median(times):.2f} s, 95 % in {ordered[int(0.95 * len(times))]:.2f} s"
        if times
        else "never"
    )
    share = len(direct) / len(found)
    under = f"{rate.foreign:g} foreign flows/s" if rate.foreign else "idle"
    if trouble.name != "none":
        under += f", {trouble.name}"
    by = Counter(strategy for each in direct for strategy in each.by)
    words = (
        f"{' x '.join(rate.kinds)} ({under}): direct {len(direct)}/{len(found)}"
        f" ({share:.1%}), {middle}; probes median {median(probes):.0f}"
        f" most {max(probes)}; connected {sum(each.connected for each in found)};"
        f" {', '.join(by)}"
    )
    if rate.formula:
        words += predicted(rate.formula, found)
    if trouble.name == "none" and rate.least:
        kept = (
            share >= rate.least
            and (rate.median is None or (bool(times) and median(times) <= rate.median))
            and (rate.probes is None or max(probes) <= rate.probes)
        )
        words += f"; claimed {rate.least:.0%}: {'kept' if kept else 'NOT KEPT'}"
    return words


def rows(names: Iterable[str]) -> list[tuple[Rate, Trouble]]:
    """
    @return: the grid's, plain and then under the troubles of these names.
    """
    known = {trouble.name: trouble for trouble in grid().troubles}
    wanted = list(names) or list(known)
    troubles = [known[name] for name in wanted if name != "none"]
    return [
        (rate, trouble)
        for trouble in (Trouble("none"), *troubles)
        for rate in grid().rates
    ]


def main() -> None:
    """
    Print one line a row.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--trouble", action="append", default=[])
    parser.add_argument("--foreign", type=float, default=0.0)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--patience", type=float, default=45.0)
    arguments = parser.parse_args()
    known = ["none", *(trouble.name for trouble in grid().troubles)]
    for name in arguments.trouble:
        if name not in known:
            parser.exit(1, f"--trouble={name}: expected one of {', '.join(known)}.\n")
    if arguments.pairs:
        lossy = Trouble("none")
        if arguments.loss:
            lossy = Trouble(f"{arguments.loss:.0%} loss", {"loss": arguments.loss})
        asked = []
        for text in arguments.pairs:
            try:
                kinds = grid().named(text).kinds
            except ValueError as e:
                parser.exit(1, f"{e}.\n")
            asked.append((Rate(kinds, 0.0, foreign=arguments.foreign), lossy))
    else:
        asked = rows(arguments.trouble)
    with get_context("fork").Pool(arguments.jobs) as pool:
        for rate, trouble in asked:
            run = partial(once, rate, trouble, arguments.patience)
            found = pool.map(run, range(arguments.seeds), chunksize=8)
            print(line(rate, trouble, found), flush=True)


if __name__ == "__main__":
    main()
