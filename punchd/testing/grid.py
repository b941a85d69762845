"""
The grid: every pair of kinds of connection, and what has to come of it.

The data are in C{grid.toml} beside this; the simulator's tests, those of the
kernel lab, and the benchmarks take their pairs from here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from itertools import combinations_with_replacement
from typing import Any


@dataclass(frozen=True)
class Cell:
    """
    One pair, of which A dials.

    @ivar kinds: of A and of B.
    @ivar path: C{"direct"}, C{"tcp"} (direct, over TCP) or C{"relayed"}.
    @ivar by: the strategies that the path may be due to, as in C{status}.
    @ivar foreign: whether it has to be so with other people's flows, too.
    @ivar sameNat: both are behind one NAT.
    @ivar isolated: and their network keeps them apart.
    @ivar causes: what C{punchd why} has to tell the user of A and that of B of a
        relayed path.
    """

    kinds: tuple[str, str]
    path: str
    by: frozenset[str]
    foreign: bool = False
    sameNat: bool = False
    isolated: bool = False
    causes: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        """
        As a user writes it.
        """
        kindA, kindB = self.kinds
        if not self.sameNat:
            return f"{kindA},{kindB}"
        return f"{kindA},{'isolated' if self.isolated else 'lan'}"

    def fits(self, path: str | None, by: frozenset[str]) -> bool:
        """
        @return: whether this is what was expected.
        """
        return path == self.path and by <= self.by


@dataclass(frozen=True)
class Rate:
    """
    What is claimed of many runs of one pair.

    @ivar kinds: of A and of B.
    @ivar foreign: other people's flows a second.
    @ivar least: the share of runs that become direct.
    @ivar median: seconds from the dial until both sides are direct, L{None}
        without a claim.
    @ivar probes: the most packets of one side beyond plain checks, L{None}
        without a claim.
    @ivar formula: the kind whose range of ports the birthday formula is about,
        L{None} where it does not apply.
    """

    kinds: tuple[str, str]
    least: float
    foreign: float = 0.0
    median: float | None = None
    probes: int | None = None
    formula: str | None = None


@dataclass(frozen=True)
class Trouble:
    """
    What makes it harder.

    @ivar link: arguments of L{Link<punchd.testing.link.Link>}.
    @ivar nat: arguments of L{Nat<punchd.testing.nat.Nat>}.
    """

    name: str
    link: Mapping[str, Any] = field(default_factory=dict)
    nat: Mapping[str, Any] = field(default_factory=dict)


_OF_NAT = ("flowRate", "tableSize")
#: The groups from which no UDP gets out.
_BLOCKED = ("blocked", "sixblocked", "only443")


class Grid:
    """
    What the file says.

    @ivar delay: seconds one way.
    @ivar foreign: other people's flows a second.
    @ivar groups: the group of each kind.
    @ivar rates: the claims.
    @ivar troubles: under which they are tried, too.
    @ivar beside: the pairs on which other systems are tried.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        """
        @raise ValueError: a pair is not expected to be anything, or to be two
            things.
        """
        self.delay: float = data["conditions"]["delay"]
        self.foreign: float = data["conditions"]["foreign"]
        self.groups: dict[str, str] = dict(data["kinds"])
        self._expected = _expected(data["expect"])
        groups = set(self.groups.values())
        for pair in combinations_with_replacement(sorted(groups), 2):
            if pair not in self._expected:
                raise ValueError(f"the grid expects nothing of {pair}")
        self._neighbours = data["neighbours"]
        self.rates = [
            Rate(**{k: v for k, v in row.items() if k != "pair"}, kinds=_two(row))
            for row in data["rates"]
        ]
        self.troubles = [_trouble(row) for row in data["trouble"]]
        self._representative: Mapping[str, list[str]] = data["representative"]
        self.beside = [self.cell(*pair.split()) for pair in data["beside"]["pairs"]]

    def cell(self, kindA: str, kindB: str) -> Cell:
        """
        @return: what is expected of a pair.

        @raise ValueError: a kind is not in the grid.
        """
        for kind in (kindA, kindB):
            if kind not in self.groups:
                raise ValueError(
                    f"no kind {kind!r} in the grid; there are {', '.join(self.groups)}"
                )
        first, second = sorted((self.groups[kindA], self.groups[kindB]))
        row = self._expected[first, second]
        return Cell(
            (kindA, kindB),
            row["path"],
            frozenset(row["by"]),
            row.get("foreign", False),
            causes=self._causes(kindA, kindB),
        )

    def blocksUdp(self, kind: str) -> bool:
        """
        @return: whether no UDP gets out there.
        """
        return self.groups[kind] in _BLOCKED

    def _causes(self, kindA: str, kindB: str) -> tuple[str, str]:
        return self._cause(kindA, kindB), self._cause(kindB, kindA)

    def _cause(self, here: str, there: str) -> str:
        """
        @return: why the user behind C{here} has no direct path.
        """
        blocked, far = self.blocksUdp(here), self.blocksUdp(there)
        if here == "proxyonly":
            return "proxy-only"
        if blocked:
            return "udp-blocked-on-both-sides" if far else "udp-blocked-here"
        return "udp-blocked-at-the-peer" if far else "out-of-reach"

    def named(self, name: str) -> Cell:
        """
        @param name: C{KIND,KIND}; the second is C{lan} or C{isolated} for
            neighbours.

        @raise ValueError: there is no such pair.
        """
        kindA, comma, kindB = name.partition(",")
        if not comma:
            raise ValueError(f"{name!r}: expected KIND,KIND")
        if kindB in ("lan", "isolated"):
            for cell in self.neighbours():
                if cell.name == name:
                    return cell
            known = " ".join(cell.name for cell in self.neighbours())
            raise ValueError(f"no neighbours {name!r} in the grid; there are {known}")
        return self.cell(kindA, kindB)

    def neighbours(self) -> list[Cell]:
        """
        @return: the pairs behind one NAT.
        """
        return [
            Cell(
                (row["kind"], row["kind"]),
                row["path"],
                frozenset(row["by"]),
                sameNat=True,
                isolated=row.get("isolated", False),
                causes=(row.get("cause", ""),) * 2,
            )
            for row in self._neighbours
        ]

    def cells(self) -> list[Cell]:
        """
        @return: every pair of kinds once, then the neighbours.
        """
        pairs = combinations_with_replacement(self.groups, 2)
        return [self.cell(a, b) for a, b in pairs] + self.neighbours()

    def representative(self, name: str) -> list[Cell]:
        """
        @param name: of a list of pairs for the tests in the kernel lab.
        """
        return [self.cell(*pair.split()) for pair in self._representative[name]]


def _two(row: Mapping[str, Any]) -> tuple[str, str]:
    kindA, kindB = row["pair"].split()
    return kindA, kindB


def _expected(
    rows: list[dict[str, Any]],
) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        ones, others = (words.split() for words in row["between"])
        for pair in {
            (min(one, other), max(one, other)) for one in ones for other in others
        }:
            if pair in found:
                raise ValueError(f"the grid expects two things of {pair}")
            found[pair] = row
    return found


def _trouble(row: Mapping[str, Any]) -> Trouble:
    rest = {key: value for key, value in row.items() if key != "name"}
    nat = {key: rest.pop(key) for key in _OF_NAT if key in rest}
    return Trouble(row["name"], rest, nat)


@lru_cache
def grid() -> Grid:
    """
    @return: the one that comes with punchd.
    """
    return Grid(tomllib.loads((files(__package__) / "grid.toml").read_text()))
