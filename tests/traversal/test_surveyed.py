"""
What a survey found out before is not measured again, but sampled.
"""

from __future__ import annotations

import pytest

from punchd.nat.model import Allocation
from punchd.testing.pair import Pair
from tests.product.talk import firstByte, product


def flows(pair: Pair, wait: float) -> tuple[int, list[str]]:
    """
    @param wait: seconds before the dial.

    @return: how many flows the dialler made until both sides are direct, and the
        strategies.
    """
    pair.network.advance(wait)
    firstByte(pair)
    pair.network.runUntil(lambda: pair.kinds() == ("direct", "direct"), 60.0)
    paths = [session.paths.current for session in pair.sessions()]
    strategies = [path.strategy for path in paths if path is not None]
    return pair.a.context.budget.flows, strategies


@pytest.mark.parametrize(
    ("kinds", "strategy"),
    [
        (("sequential", "portrestricted"), "predicted"),
        (("portrestricted", "block1024"), "spray"),
    ],
)
def test_savesFlows(kinds: tuple[str, str], strategy: str) -> None:
    """
    With a survey at hand, an attempt spends nothing on the model, and gets through
    as without.
    """
    with product(*kinds) as pair:
        early, strategies = flows(pair, 0.0)
        assert pair.a.presence.surveyor.knowledge is None
        assert strategies == [strategy] * 2
    with product(*kinds) as pair:
        late, strategies = flows(pair, 30.0)
        assert pair.a.presence.surveyor.knowledge is not None
        assert strategies == [strategy] * 2
    if strategy == "predicted":
        assert late == early - 8


def test_elsewhere() -> None:
    """
    What is known of another NAT is of no use, nor is what is not sure.
    """
    with product("sequential", "portrestricted") as pair:
        pair.network.advance(30.0)
        surveyor = pair.a.presence.surveyor
        mapped = pair.a.gathering.mapped[4]
        known = surveyor.model(mapped)
        assert known is not None and known[0].kind.value == "sequential"
        assert surveyor.model(("192.0.2.99", 5000)) is None
        assert surveyor.model(None) is None
        surveyor._hosts = [("192.168.7.7", "eth0")]
        assert surveyor.model(mapped) is None


def test_olderPorts() -> None:
    """
    The ports that the punching socket got at the registration, before others took
    theirs, do not make a sequence look like a block.
    """
    busy = {"foreign": 35.0}
    with product("sequential", "sequential", optionsA=busy, optionsB=busy) as pair:
        pair.network.advance(30.0)
        for client in (pair.a, pair.b):
            known = client.presence.surveyor.knowledge
            assert known is not None
            assert known.model.kind is Allocation.SEQUENTIAL
            assert abs(known.model.step) == 1
