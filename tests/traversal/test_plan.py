"""
Tests for L{punchd.traversal.plan} and the odds of the strategies.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from punchd._plugins import pluginsByName
from punchd.interfaces import ITraversalStrategy
from punchd.nat.model import Allocation, Anchor, PortModel
from punchd.traversal.builtin import BUILTIN
from punchd.traversal.explain import Situation, explain
from punchd.traversal.plan import plan, why
from punchd.traversal.spray import Shuffle
from punchd.traversal.verdict import Outcome, Reason, Verdict

HOSTS = (("198.51.100.10", 1.0),)
MODELS = {
    "independent": PortModel(
        Allocation.ENDPOINT_INDEPENDENT,
        0.99,
        8,
        hosts=HOSTS,
        mapped=((5000, ("198.51.100.10", 5000)),),
    ),
    "sequential": PortModel(
        Allocation.SEQUENTIAL,
        0.99,
        8,
        step=1,
        hosts=HOSTS,
        anchors=(Anchor("198.51.100.10", 4000, 0.0),),
    ),
    "block": PortModel(Allocation.BLOCK, 0.99, 8, 2048, 3071, hosts=HOSTS),
    "random": PortModel(Allocation.RANDOM, 0.99, 8, hosts=HOSTS),
    "unknown": PortModel(),
}
MODELS["open"] = replace(MODELS["independent"], open=True)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("sequential", "independent", ["predicted", "tcp"]),
        ("sequential", "sequential", ["predicted", "tcp"]),
        ("independent", "independent", ["fresh", "tcp"]),
        ("open", "independent", ["reversal", "fresh", "tcp"]),
        ("open", "random", ["reversal", "spray", "tcp"]),
        ("unknown", "independent", ["optimistic", "tcp"]),
        ("unknown", "unknown", ["optimistic", "tcp"]),
        ("unknown", "random", ["tcp"]),
        ("random", "independent", ["spray", "tcp"]),
        ("block", "independent", ["spray", "tcp"]),
        ("random", "random", ["tcp"]),
        ("random", "sequential", ["tcp"]),
        ("random", "block", ["tcp"]),
        ("block", "block", ["tcp"]),
        ("block", "sequential", ["tcp"]),
    ],
)
def test_plan(ours: str, theirs: str, expected: list[str]) -> None:
    """
    Both sides make the same plan; what no decent budget reaches is not tried, and
    TCP last.
    """
    for a, b in ((ours, theirs), (theirs, ours)):
        found = plan(BUILTIN, MODELS[a], MODELS[b])
        assert [each.name for each in found] == expected


def test_filtered() -> None:
    """
    Where a side gets no UDP through, nothing is left but TCP, and a guess; and after
    that, where the other side lets everybody in, to come there all the same.
    """
    for each in MODELS.values():
        for a, b in ((PortModel(), each), (each, PortModel())):
            found = [every.name for every in plan(BUILTIN, a, b)]
            assert set(found) - {"reversal", "optimistic"} == {"tcp"}
            opened = a.open or b.open
            assert found[-1 - opened :] == ["tcp", "reversal"][: 1 + opened]


def test_doubt() -> None:
    """
    A class forbids nothing that has a chance: models that are not sure leave all
    strategies in that can begin at all.
    """
    odds = {"predicted": 0.001, "spray": 0.0}
    fakes = [_Fake(name, chance) for name, chance in odds.items()]
    sure = MODELS["independent"]
    assert plan(fakes, sure, sure) == []
    doubtful = PortModel(Allocation.RANDOM, 0.4, 8, hosts=HOSTS)
    assert [each.name for each in plan(fakes, sure, doubtful)] == ["predicted"]


class _Fake:
    def __init__(self, name: str, chance: float) -> None:
        self.name = name
        self.chance = chance

    def odds(self, ours: PortModel, theirs: PortModel) -> float:
        return self.chance


def test_plugins() -> None:
    """
    The built-in strategies are found by name, and keep their interface.
    """
    found = pluginsByName(ITraversalStrategy)
    assert {each.name for each in BUILTIN} <= set(found)
    for each in found.values():
        verifyObject(ITraversalStrategy, each)


@given(st.integers(1, 5000), st.binary(min_size=8, max_size=8))
def test_shuffle(count: int, seed: bytes) -> None:
    """
    Every number comes once.
    """
    order = Shuffle(count, seed)
    assert sorted(order[index] for index in range(count)) == list(range(count))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.OUT_OF_REACH, ["2 connected, 3 attempts", "another port"]),
        (Reason.NOT_CONNECTED, ["2 connected, 3 attempts", "known ports"]),
        (Reason.NOT_POSSIBLE, ["cannot do it"]),
    ],
)
def test_filtered_explained(reason: Reason, words: list[str]) -> None:
    """
    Where UDP is dropped, it is said on whose side, and why TCP does not help.
    """
    evidence = why(PortModel(), MODELS["independent"])
    counts = {"connected": 2, "syns": 3}
    verdicts = [
        Verdict("checks", Outcome.FAILED, Reason.NO_ANSWER),
        Verdict("tcp", Outcome.FAILED, reason, {"attempts": counts, "seconds": 9}),
        Verdict("traversal", Outcome.FAILED, Reason.NOT_MEASURED, evidence),
    ]
    found = explain("b", Situation(state="relayed", kind="relayed", verdicts=verdicts))
    text = "\n".join(found.lines)
    for word in [*words, "Your network blocks UDP", "Let UDP out of your network"]:
        assert word in text
    assert "peer's network" not in text and "at the peer" not in text


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ("random", "random", ["at random", "cannot be opened", "here or at the peer"]),
        ("sequential", "block", ["the next port", "of a block"]),
    ],
)
def test_explained(ours: str, theirs: str, words: list[str]) -> None:
    """
    Out of reach is told in plain words, with who can change it.
    """
    evidence = why(MODELS[ours], MODELS[theirs])
    verdict = Verdict("traversal", Outcome.FAILED, Reason.OUT_OF_REACH, evidence)
    checks = Verdict("checks", Outcome.FAILED, Reason.NO_ANSWER)
    situation = Situation(state="relayed", kind="relayed", verdicts=[checks, verdict])
    text = "\n".join(explain("b", situation).lines)
    for word in words:
        assert word in text
