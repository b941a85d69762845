"""
The whole product gets through in the simulator, and says how or why not.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.session.session import Session
from punchd.testing.pair import Pair
from tests.product.talk import RTT, firstByte, product


def untilDirect(pair: Pair, timeout: float = 60.0) -> float:
    """
    @return: seconds from the dial until both sides are direct, data flowing all
        the while.
    """
    began = pair.clock.seconds()
    stream, collector, _ = firstByte(pair)
    pair.network.runUntil(lambda: pair.kinds() == ("direct", "direct"), timeout)
    seconds = pair.clock.seconds() - began
    before = len(collector.received)
    stream.write(bytes(200_000))
    pair.network.runUntil(collector.whenReceived(before + 200_000), 20.0)
    assert pair.kinds() == ("direct", "direct")
    return seconds


def strategies(pair: Pair) -> set[str]:
    """
    @return: what the paths of both sides are due to.
    """
    found = set()
    for session in pair.sessions():
        assert session.paths.current is not None
        found.add(session.paths.current.strategy)
    return found


def verdicts(session: Session) -> dict[str, Any]:
    """
    @return: the last verdict of each strategy.
    """
    return {verdict.strategy: verdict for verdict in session.verdicts}


@pytest.mark.parametrize(
    ("kindA", "kindB"),
    [
        ("noinputfilter", "portrestricted"),
        ("portrestricted", "noinputfilter"),
        ("noinputfilter", "noinputfilter"),
    ],
)
def test_opener(kindA: str, kindB: str) -> None:
    """
    A NAT that lets an early packet claim the port is no obstacle: the first
    packet of who begins early does not reach it.
    """
    with product(kindA, kindB) as pair:
        assert untilDirect(pair) <= 3.5 * RTT + 0.01
        assert strategies(pair) == {"srflx"}


def test_noOpener() -> None:
    """
    Without that first packet the same pair fails.
    """
    with product("noinputfilter", "portrestricted") as pair:
        pair.a.context.openerTtl = pair.b.context.openerTtl = None
        firstByte(pair)
        pair.network.advance(1.0)
        assert pair.kinds() == ("relayed", "relayed")


@pytest.mark.parametrize("foreign", [0.0, 35.0])
@pytest.mark.parametrize(
    ("kindA", "kindB"),
    [
        ("portrestricted", "sequential"),
        ("sequential", "portrestricted"),
        ("sequential", "sequential"),
        ("sequential2", "sequentialdown"),
        ("noinputfilter", "sequential"),
        ("cgnat-sequential", "portrestricted"),
    ],
)
def test_predicted(kindA: str, kindB: str, foreign: float) -> None:
    """
    NATs that give out one port after another are seen through, while others
    take ports too.
    """
    options: dict[str, Any] = {}
    for side, kind in (("optionsA", kindA), ("optionsB", kindB)):
        if "sequential" in kind:
            options[side] = {"foreign": foreign}
    with product(kindA, kindB, **options) as pair:
        assert untilDirect(pair, 10.0) <= 2.0
        assert strategies(pair) == {"predicted"}
        for session in pair.sessions():
            verdict = verdicts(session)["predicted"]
            assert verdict.outcome.value == "succeeded"
            assert verdict.evidence["probes"] <= 64
            assert "NOT_HIT" not in {v.reason.name for v in session.verdicts}
        for client in (pair.a, pair.b):
            # All sockets but the one in use are closed.
            assert client.socket.spares <= 1


@pytest.mark.parametrize(
    ("kindA", "kindB", "probes"),
    [
        ("block1024", "portrestricted", 256),
        ("portrestricted", "block1024", 256),
        ("symmetric", "portrestricted", 1750),
        ("portrestricted", "symmetric", 1750),
        ("parity", "portrestricted", 1750),
    ],
)
def test_spray(kindA: str, kindB: str, probes: int) -> None:
    """
    Random ports are found by trying, within the budget.
    """
    with product(kindA, kindB, seed=5) as pair:
        assert untilDirect(pair) <= 45.0
        # A probe may also meet the port that is mapped to the punching socket.
        assert "spray" in strategies(pair)
        for client in (pair.a, pair.b):
            budget = client.context.budget
            assert budget.probes <= probes
            assert budget.flows <= 16 + 50 * pair.clock.seconds()
            assert budget.sprays == 1
            assert client.socket.spares <= 1
        for session in pair.sessions():
            verdict = verdicts(session)["spray"]
            assert verdict.outcome.value == "succeeded"
            assert verdict.evidence["sockets"] <= 256


@pytest.mark.parametrize(
    ("kindA", "kindB"),
    [
        ("symmetric", "symmetric"),
        ("symmetric", "sequential"),
        ("block1024", "block1024"),
        ("sequential", "block1024"),
    ],
)
def test_outOfReach(kindA: str, kindB: str) -> None:
    """
    Two NATs whose ports cannot be guessed are left in peace: the models of both
    tell so, and few packets are spent.
    """
    with product(kindA, kindB) as pair:
        firstByte(pair)
        pair.network.advance(15.0)
        assert pair.kinds() == ("relayed", "relayed")
        for session in pair.sessions():
            verdict = verdicts(session)["traversal"]
            assert verdict.reason.name == "OUT_OF_REACH"
            assert verdict.evidence["theirRange"] > 1
        for client in (pair.a, pair.b):
            assert client.context.budget.flows <= 16
            assert client.socket.spares == 0
        text = pair.a.why(pair.identityB.peerId)["text"]
        assert "relay" in text


def test_plainNeedsNothing() -> None:
    """
    Where checks get through, no strategy sends anything or says anything.
    """
    with product("portrestricted", "portrestricted") as pair:
        untilDirect(pair)
        pair.network.advance(30.0)
        for session in pair.sessions():
            assert set(verdicts(session)) <= {"checks", "relay"}
        for client in (pair.a, pair.b):
            assert client.context.budget.flows == 0


def test_winnerStays() -> None:
    """
    A path over a further socket is kept alive, and closed with its session.
    """
    with product("portrestricted", "sequential") as pair:
        untilDirect(pair)
        pair.network.advance(200.0)
        assert pair.kinds() == ("direct", "direct")
        assert pair.b.socket.spares == 1
        seconds = firstByte(pair)[2]
        assert seconds == pytest.approx(RTT, abs=0.01)
        pair.network.runUntil(pair.b.stopService(), 10.0)
        pair.network.advance(1.0)
        assert pair.b.socket.spares == 0


def test_noStrategies() -> None:
    """
    A client without strategies keeps the relay.
    """
    with product("portrestricted", "sequential", options={"strategies": ()}) as pair:
        firstByte(pair)
        pair.network.advance(15.0)
        assert pair.kinds() == ("relayed", "relayed")
        assert pair.a.context.budget.flows == 0
