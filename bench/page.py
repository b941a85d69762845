"""
The grid as a page of the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from punchd.testing.trial import Outcome

from .results import OURS, Conditions, Row

_HEAD = """\
The grid, measured
==================

Written on {date} by ::

    {command}

on a machine with {cores} cores, a load of {load:.0f} and Linux {kernel};
{delay:g} ms each way between any two public addresses{more}.

Each pair of kinds (:doc:`howto/lab`) is one line: the path that came about, the
strategy that found it, the seconds until the first byte was back and until both sides
were direct, the packets and the bindings that it took, and where the path is relayed,
the cause that ``punchd why`` tells the user of A and that of B (:doc:`verdicts`).
Where there were several runs, seconds, packets and bindings are medians.
``cgnat-KIND`` is a NAT of that kind at the carrier behind a port-restricted one at
home; ``lan`` and ``isolated`` are neighbours behind one NAT, whom their own network
joins, or keeps apart; ``+35/s`` means so many new flows a second of other people
through each NAT.

Our seconds begin with the dial, so they have the exchange of offer and answer in
them, two ways through the rendezvous and back.  What is relayed is so from the first
byte on; where direct comes late, data have flowed over the relay before.
"""

_BESIDE = """\
Other systems on the same pairs, in the same run, in turns with ours: seconds until the
path is direct, from the moment both sides hold the candidates (aioice, which leaves
their exchange to others) or begin to dial (the rest).  Packets are those that both
routers have sent to the other side, bindings the UDP flows that the busier router
remembers, both counted by the kernel, for all alike.

* aioice has our own rendezvous as its STUN server, and no relay.
* hyperdht has a DHT of its own on the public host: a bootstrap node and four others.
  It dials again a second after an error; what it does not reach stays without a path,
  for it has been given no relay.
* iroh has a stand-in for its relay, over plain HTTP.  As there is no certificate that
  it trusts, it cannot ask its relay for its public address, and is told the NAT's
  address with its own port; that is right where ports are preserved, and where they are
  not it would not learn better from its relay than that port towards the relay.
"""


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """
    @return: a simple table of reStructuredText.
    """
    rows = [head, *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]
    return "\n".join([rule, text[0], rule, *text[1:], rule, ""])


def _seconds(seconds: Iterable[float | None]) -> str:
    times = [each for each in seconds if each is not None]
    if not times:
        return "\\-"
    most = f" (most {max(times):.2f})" if len(times) > 1 else ""
    return f"{median(times):.2f}{most}"


def _path(found: Sequence[Outcome]) -> str:
    paths = [each.path or "none" for each in found]
    best = max(sorted(set(paths)), key=paths.count)
    return (
        best
        if paths.count(best) == len(paths)
        else (f"{best} {paths.count(best)} of {len(paths)}")
    )


def cellsOf(row: Row) -> list[str]:
    """
    @return: what L{COLUMNS} name, of our own trials of one pair.
    """
    found = row.found[OURS]
    by = sorted({strategy for each in found for strategy in each.by})
    causes = dict.fromkeys(" / ".join(each.causes) for each in found if each.causes)
    kindA, kindB = row.name.split(",")
    return [
        kindA,
        kindB,
        _path(found),
        ", ".join(by) or "\\-",
        _seconds(each.firstByte for each in found),
        _seconds(each.seconds for each in found),
        f"{median(each.packets for each in found):g}",
        f"{median(each.bindings for each in found):g}",
        "; ".join(causes) or "\\-",
    ]


def _beside(row: Row) -> Iterable[list[str]]:
    first = row.name.replace(",", " × ")
    for name, found in row.found.items():
        direct = sum(each.direct for each in found)
        yield [
            first,
            name,
            f"{direct} of {len(found)}",
            _seconds(each.seconds for each in found),
            f"{median(each.packets for each in found):g}",
            f"{median(each.bindings for each in found):g}",
        ]
        first = "\\"


COLUMNS = (
    "A",
    "B",
    "path",
    "by",
    "first byte",
    "direct",
    "packets",
    "bindings",
    "why relayed",
)
_TITLES = {"simulator": "In the simulator", "lab": "In the kernel lab"}


def page(rows: Sequence[Row], absent: Sequence[str], conditions: Conditions) -> str:
    """
    @param absent: why peers are not there, a sentence each.

    @return: the page.
    """
    more = ""
    if conditions.foreign:
        more += f", {conditions.foreign:g} foreign flows a second"
    if conditions.loss:
        more += f", {conditions.loss:.0%} loss"
    parts = [
        _HEAD.format(
            command=conditions.command,
            date=conditions.date,
            cores=conditions.cores,
            load=conditions.load,
            kernel=conditions.kernel,
            delay=1000 * conditions.delay,
            more=more,
        )
    ]
    for where, title in _TITLES.items():
        here = [row for row in rows if row.where == where and OURS in row.found]
        if here:
            parts.append(f"{title}\n{'-' * len(title)}\n")
            kept = sum(not row.contradictions() for row in here)
            parts.append(f"{len(here)} pairs, {kept} as ``grid.toml`` expects.\n")
            parts.append(table(COLUMNS, map(cellsOf, here)))
    compared = [row for row in rows if len(row.found) > 1]
    if compared or absent:
        title = "Beside other systems"
        parts += [f"{title}\n{'-' * len(title)}\n", _BESIDE, *absent]
        head = ("pair", "system", "direct", "seconds", "packets", "bindings")
        lines = [line for row in compared for line in _beside(row)]
        parts.append(table(head, lines))
    return "\n".join(parts)
