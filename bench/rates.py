"""
How often and how fast the product gets a direct path, beside what is claimed of
it and beside the birthday formula, in the simulator::

    python -m bench.rates [--seeds=N] [--jobs=N] [--trouble=NAME ...]
                          [--foreign=RATE] [--loss=SHARE] [--patience=S]
                          [--state=FILE] [--page=FILE] [KIND,KIND ...]

Without pairs, the rows of the grid's C{rates}, then the same under each of its
C{trouble}s; C{--trouble=none} is the rows alone.  With pairs, those, under
C{--foreign} and C{--loss}.  Times are virtual seconds from the dial until both
sides are direct; probes are those of the busier side, beyond plain checks.

C{--state} keeps what came of each run in a file, so that a run of the whole that
was ended goes on where it was, and more seeds are added to those that there are.
The file belongs to one version of the program.  C{--seeds=0} runs nothing, and tells
what the file has.  C{--page} writes the table.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from statistics import median

from punchd.nat.birthday import PORTS, RATE, Spray, hitProbability, sizeSpray
from punchd.testing.grid import Rate, Trouble, grid
from punchd.testing.trial import Outcome, simulated
from punchd.traversal.spray import WANTED

from .page import table
from .rateruns import Runs, prepare

#: Seconds in which a first spray is over, and no second one has begun.
FIRST = 33.0
#: How many outside ports there may be, by kind, and how many a customer has.
RANGES = {"block1024": (1024, 1024), "symmetric": (PORTS, None)}
#: Flows that a client has of its own, for which a NAT's table has room, too.
OWN = 20

_HEAD = """\
How often it gets through
=========================

Written on {date} by ::

    {command}

on a machine with {cores} cores and Linux {kernel}, in the simulator, {delay:g} ms each
way between any two public addresses.

Each line is one pair of kinds of NAT (:doc:`howto/simulator`), of which the whole
product was run with so many seeds: the share that became direct within {patience:g} s,
the virtual seconds from the dial until both sides were (the median, and those of 95 %),
and the packets of the busier side beyond plain checks.  A relay carried the session
meanwhile.

Where ports are random, the birthday formula tells how often a spray should hit: the
probability that *m* different ports tried meet one of *k* open sockets among *N* ports
is 1 - C(N-k, m) / C(N, m); ``k x m of N`` is in brackets.  Both are what the trouble
leaves of what is sent: of probes that may get lost those that arrive, of flows those
that the NAT admits.  Beside it is the share of runs in which the first spray did hit.
That is greater where a probe that came too early, or got lost, is made good: the socket
shoots at the prober later, who lets it in since.

Claimed are the lines without trouble; the others are there to be seen.
"""


@dataclass(frozen=True)
class Row:
    """
    One line: what was run under which conditions, and what came of it.
    """

    rate: Rate
    trouble: Trouble
    found: Sequence[Outcome]

    @property
    def direct(self) -> list[Outcome]:
        """
        The runs that became direct.
        """
        return [each for each in self.found if each.direct]

    @property
    def share(self) -> float:
        """
        How many of all these are.
        """
        return len(self.direct) / len(self.found)

    @property
    def byTCP(self) -> str:
        """
        How many of them did so over TCP, in words; nothing for none.
        """
        count = sum(each.path == "tcp" for each in self.found)
        return f", {count} by TCP" if count else ""

    @property
    def times(self) -> list[float]:
        """
        The seconds that it took, in order.
        """
        return sorted(e.seconds for e in self.direct if e.seconds is not None)

    @property
    def probes(self) -> list[int]:
        """
        The packets of the busier side.
        """
        return [each.probes for each in self.found]

    @property
    def conditions(self) -> str:
        """
        Under what.
        """
        rate, trouble = self.rate, self.trouble
        words = f"{rate.foreign:g} foreign flows/s" if rate.foreign else "idle"
        return words if trouble.name == "none" else f"{words}, {trouble.name}"

    @property
    def claimed(self) -> bool:
        """
        Whether something is promised.
        """
        return self.trouble.name == "none" and bool(self.rate.least)

    @property
    def kept(self) -> bool:
        """
        Whether the promise is.
        """
        rate, times = self.rate, self.times
        return (
            self.share >= rate.least
            and (rate.median is None or (bool(times) and median(times) <= rate.median))
            and (rate.probes is None or max(self.probes) <= rate.probes)
        )

    @property
    def claim(self) -> str:
        """
        The promise.
        """
        rate = self.rate
        words = [f"{rate.least:.0%}"]
        if rate.median is not None:
            words.append(f"median {rate.median:g} s")
        if rate.probes is not None:
            words.append(f"{rate.probes} packets")
        return ", ".join(words)

    @property
    def first(self) -> float:
        """
        In how many runs the first spray has hit.
        """
        hits = sum((each.seconds or FIRST) < FIRST for each in self.found)
        return hits / len(self.found)


def effective(kind: str, trouble: Trouble) -> tuple[int, Spray]:
    """
    @return: the number of ports, and what a trouble leaves of the first spray.
    """
    ports, quota = RANGES[kind]
    spray = sizeSpray(ports, WANTED, quota=quota)
    sockets, probes = spray.sockets, float(spray.probes)
    probes *= 1.0 - trouble.link.get("loss", 0.0)
    if (rate := trouble.nat.get("flowRate")) is not None:
        # A second's worth at once; what is refused is not sent again.
        probes = min(probes, rate * (1.0 + spray.probes / RATE))
    if (size := trouble.nat.get("tableSize")) is not None:
        sockets = min(sockets, size - OWN)
        probes = min(probes, size - OWN)
    tried = int(probes)
    chance = hitProbability(ports, sockets, tried)
    return ports, Spray(sockets, tried, chance, spray.seconds)


def formula(row: Row) -> str:
    """
    @return: what the birthday formula expects, empty where it does not apply.
    """
    if row.rate.formula is None:
        return ""
    ports, spray = effective(row.rate.formula, row.trouble)
    size = f"{spray.sockets} x {spray.probes} of {ports}"
    return f"{spray.probability:.1%} ({size})"


def line(row: Row) -> str:
    """
    @return: what came of many runs, beside the claim.
    """
    times, probes = row.times, row.probes
    middle = (
        f"median {median(times):.2f} s, 95 % in {times[int(0.95 * len(times))]:.2f} s"
        if times
        else "never"
    )
    by = Counter(strategy for each in row.direct for strategy in each.by)
    words = (
        f"{' x '.join(row.rate.kinds)} ({row.conditions}): direct"
        f" {len(row.direct)}/{len(row.found)} ({row.share:.1%}){row.byTCP},"
        f" {middle}; probes"
        f" median {median(probes):.0f} most {max(probes)}; connected"
        f" {sum(each.connected for each in row.found)}; {', '.join(by)}"
    )
    if row.rate.formula:
        words += f"; first spray {row.first:.1%}, formula {formula(row)}"
    if row.claimed:
        kept = "kept" if row.kept else "NOT KEPT"
        words += f"; claimed {row.claim}: {kept}"
    return words


def page(found: Sequence[Row], command: str, patience: float) -> str:
    """
    @return: the page of the documentation.
    """
    lines = []
    for row in found:
        times, probes = row.times, row.probes
        slow = times[int(0.95 * len(times))] if times else float("nan")
        lines.append(
            (
                " × ".join(row.rate.kinds),
                row.conditions,
                f"{row.share:.1%} of {len(row.found)}{row.byTCP}",
                f"{median(times):.2f} ({slow:.2f})" if times else "\\-",
                f"{median(probes):.0f} ({max(probes)})",
                f"{row.first:.1%}" if row.rate.formula else "\\-",
                formula(row) or "\\-",
                f"{row.claim}: {'kept' if row.kept else 'NOT KEPT'}"
                if row.claimed
                else "\\-",
            )
        )
    head = (
        "pair",
        "conditions",
        "direct",
        "seconds (95 %)",
        "packets (most)",
        "first spray",
        "formula",
        "claimed",
    )
    text = _HEAD.format(
        command=command,
        date=datetime.now(timezone.utc).date(),
        cores=os.cpu_count(),
        kernel=platform.release().partition("-")[0],
        delay=1000 * grid().delay,
        patience=patience,
    )
    return f"{text}\n{table(head, lines)}"


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
    parser.add_argument("--state", type=Path)
    parser.add_argument("--page", type=Path)
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
    try:
        runs = Runs(arguments.jobs, arguments.state)
    except (OSError, ValueError) as e:
        parser.exit(1, f"--state={arguments.state}: {e}.\n")
    if arguments.jobs == 1:
        prepare()
    found = []
    for rate, trouble in asked:
        patience: float = arguments.patience
        key = f"{','.join(rate.kinds)} {rate.foreign:g} {trouble.name} {patience:g}"
        run = partial(once, rate, trouble, patience)
        row = Row(rate, trouble, runs.run(key, run, arguments.seeds))
        if row.found:
            found.append(row)
            print(line(row), flush=True)
    if not found:
        parser.exit(1, "--seeds=0: nothing was run yet; expected --state with runs.\n")
    if arguments.page is not None:
        most = max(len(row.found) for row in found)
        command = f"python -m bench.rates --seeds={most} --page={arguments.page.name}"
        arguments.page.write_text(page(found, command, arguments.patience))


if __name__ == "__main__":
    main()
