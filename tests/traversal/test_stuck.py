"""
The strategies for pairs whose NATs are no obstacle, but one of their ports is: the
whole product, in the simulator.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.testing.nat import Nat
from punchd.testing.pair import Pair
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario, Side
from punchd.traversal.builtin import BUILTIN
from tests.product.talk import firstByte, product

from .test_through import strategies, untilDirect, verdicts


def nat(side: Side) -> Nat:
    """
    The outermost one.
    """
    found = side.routers[-1]
    assert isinstance(found, Nat)
    return found


def wedge(pair: Pair) -> None:
    """
    Let the port of A's punching socket be stuck, from before the dial on.
    """
    host, port = pair.a.gathering.hosts()[0]
    nat(pair.scenario.sideA).wedge((host, port))


def without(*names: str) -> dict[str, Any]:
    """
    @return: options of clients that lack some strategies.
    """
    return {"strategies": [each for each in BUILTIN if each.name not in names]}


def neverDirect(pair: Pair) -> None:
    """
    No direct path comes about.
    """
    firstByte(pair)
    pair.network.advance(15.0)
    assert pair.kinds() == ("relayed", "relayed")


# --- fresh


def test_fresh() -> None:
    """
    A stuck port is left for a fresh socket at either side, and the verdict says so.
    """
    with product("portrestricted", "portrestricted") as pair:
        wedge(pair)
        assert untilDirect(pair, 10.0) < 1.5
        assert strategies(pair) == {"fresh"}
        for session in pair.sessions():
            verdict = verdicts(session)["fresh"]
            assert verdict.reason.name == "PROVEN"
            assert verdict.evidence["sockets"] == 1
            assert verdict.evidence["probes"] <= 16
        for client in (pair.a, pair.b):
            assert client.socket.spares == 1


@pytest.mark.parametrize(
    ("kind", "strategy"), [("sequential", "predicted"), ("block1024", "spray")]
)
def test_searchedFromAFreshPort(kind: str, strategy: str) -> None:
    """
    Where the port of the other NAT has to be found, a stuck port is left, too.
    """
    with product("portrestricted", kind) as pair:
        wedge(pair)
        assert untilDirect(pair, 10.0) < 5.0
        assert strategies(pair) == {strategy}
        assert pair.a.socket.spares == 1


def test_notFresh() -> None:
    """
    Without it the same pair stays relayed.
    """
    with product(
        "portrestricted", "portrestricted", options=without("fresh", "tcp")
    ) as pair:
        wedge(pair)
        neverDirect(pair)


def test_freshInVain() -> None:
    """
    A firewall that drops everything is no stuck port: three rounds, some packets.
    """
    with product("portrestricted", "portrestricted", options=without("tcp")) as pair:
        pair.scenario.sideA.dropDirect()
        neverDirect(pair)
        for session in pair.sessions():
            assert verdicts(session)["fresh"].reason.name == "NOT_HIT"
        why = pair.a.why(pair.identityB.peerId)
        assert "a firewall on one of the two sides" in why["text"]
        assert why["advice"] == ["Let UDP out to all addresses, here and at the peer."]
        for client in (pair.a, pair.b):
            assert client.context.budget.probes <= 24
            assert client.socket.spares == 0


# --- reversal


@pytest.mark.parametrize("kindA", ["symmetric", "sequential", "portrestricted"])
def test_reversal(kindA: str) -> None:
    """
    Who is stuck comes with a fresh socket to a peer that lets everybody in, whatever
    ports its NAT gives it: no samples, and a packet or two.
    """
    with product(kindA, "fullcone") as pair:
        pair.network.advance(30.0)
        wedge(pair)
        untilDirect(pair, 10.0)
        assert strategies(pair) == {"reversal", "prflx"}
        for session in pair.sessions():
            verdict = verdicts(session)["reversal"]
            assert verdict.reason.name == "PROVEN"
            assert verdict.evidence["probes"] <= 4
        assert pair.a.context.budget.sprays == 0


def test_reversedDial() -> None:
    """
    It is the same when the peer dials who is stuck.
    """
    with product("fullcone", "symmetric") as pair:
        pair.network.advance(30.0)
        host, port = pair.b.gathering.hosts()[0]
        nat(pair.scenario.sideB).wedge((host, port))
        untilDirect(pair, 10.0)
        assert strategies(pair) == {"reversal", "prflx"}


def test_openedPort() -> None:
    """
    A port that a router has opened is a door, too: it helps where the ports of both
    NATs are random.
    """
    with product("symmetric", "symmetric", options=without("tcp")) as pair:
        inside = pair.b.gathering.hosts()[0]
        opened = ("192.0.2.10", 40000)
        nat(pair.scenario.sideB).addForward("udp", opened, inside)
        pair.b.gathering.mappedPortLearned(opened, inside)
        wedge(pair)
        untilDirect(pair, 10.0)
        assert "reversal" in strategies(pair)


def test_notReversed() -> None:
    """
    Without it the same pair stays relayed.
    """
    options = without("reversal", "spray", "tcp")
    with product("symmetric", "fullcone", options=options) as pair:
        pair.network.advance(30.0)
        wedge(pair)
        neverDirect(pair)


# --- optimistic


def deaf(side: Side) -> None:
    """
    Let a side have no answer of a STUN server, while its UDP passes elsewhere.
    """
    side.routers[-1].refuses = lambda packet, out: (
        packet.protocol == "udp"
        and bool({packet.source[0], packet.destination[0]} & set(RENDEZVOUS_HOSTS))
    )


class DeafB(Pair):
    """
    B has no answer of a STUN server, from the first packet on.
    """

    def __init__(self, scenario: Scenario, **options: Any) -> None:
        deaf(scenario.sideB)
        super().__init__(scenario, **options)


class DeafA(Pair):
    """
    A has none.
    """

    def __init__(self, scenario: Scenario, **options: Any) -> None:
        deaf(scenario.sideA)
        super().__init__(scenario, **options)


class DeafBoth(DeafA):
    """
    Neither has one.
    """

    def __init__(self, scenario: Scenario, **options: Any) -> None:
        deaf(scenario.sideB)
        super().__init__(scenario, **options)


@pytest.mark.parametrize("make", [DeafA, DeafB, DeafBoth])
def test_optimistic(make: type[Pair]) -> None:
    """
    Where no server has seen a side, its port is guessed to be that of its socket, at
    the host from which it is connected; one round trip, a few packets.
    """
    with product("portrestricted", "portrestricted", make=make, seen=False) as pair:
        untilDirect(pair, 10.0)
        assert "optimistic" in strategies(pair) <= {"optimistic", "srflx"}
        for session in pair.sessions():
            assert session.paths.current is not None
            assert session.paths.current.transport == "udp"
            verdict = verdicts(session)["optimistic"]
            assert verdict.reason.name == "PROVEN"
            assert verdict.evidence["probes"] <= 4


def test_notOptimistic() -> None:
    """
    Without it there is TCP at the most.
    """
    options = without("optimistic", "tcp")
    with product(
        "portrestricted", "portrestricted", make=DeafB, seen=False, options=options
    ) as pair:
        neverDirect(pair)


def test_guessedWrong() -> None:
    """
    A NAT that does not keep ports is not met; that is told, and costs a moment
    before TCP is tried.
    """
    with product("portrestricted", "sequential", make=DeafB, seen=False) as pair:
        firstByte(pair)
        pair.network.advance(2.0)
        for session in pair.sessions():
            verdict = verdicts(session)["optimistic"]
            assert verdict.reason.name == "NO_ANSWER"
            assert verdict.evidence["probes"] <= 4
