"""
Asking before spraying: the rendezvous lends each public address to one at a time.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from punchd.nat.model import Allocation
from punchd.services.signalingconnection import SignalingConnection
from punchd.signaling import commands
from punchd.testing.pair import Pair
from tests.product.talk import firstByte, product
from tests.traversal.test_manners import PEER, Follower, model

PUBLIC = ("198.51.100.10", "192.0.2.10")


def follower(wait: float | None) -> Follower:
    """
    @return: one that is asked to spray, and has to wait for the rendezvous.
    """
    made = Follower(Allocation.RANDOM)
    made.wait = wait
    made.hear(0.0, do="measure")
    independent = model(Allocation.ENDPOINT_INDEPENDENT)
    made.hear(0.1, do="begin", strategy="spray", model=independent, lease="theirs")
    return made


def test_silence() -> None:
    """
    Nothing is sent before there is an answer; what the peer has said meanwhile is
    not lost.
    """
    made = follower(None)
    made.hear(0.2, do="act", strategy="spray", at=[PEER, 6000])
    made.run(0.2, 1.0)
    assert made.shots == [] and made.leases == ["theirs"]
    made.core.leased("another", 0.0, 1.0)
    assert made.core.strategy is None
    made.core.leased("theirs", 0.0, 1.0)
    made.drain(1.0)
    made.run(1.0, 2.0)
    assert len(made.shots) > 16
    made.core.stop(2.0)
    made.drain(2.0)
    assert made.leases == []
    assert made.budget.toDict()["leases"] == 1


def test_refused() -> None:
    """
    The leader is told, nothing is sent, and another session may spray.
    """
    made = follower(30.0)
    assert made.told[-1] == {"do": "refuse", "reason": "BUSY"}
    made.run(0.1, 3.0)
    assert made.shots == []
    assert made.budget.beginSpray("another")
    assert made.budget.toDict()["leasesRefused"] == 1


@pytest.mark.parametrize("name", [None, 5, "", "x" * 33, ["theirs"]])
def test_names(name: object) -> None:
    """
    What is no name is replaced by one.
    """
    made = Follower(Allocation.RANDOM)
    made.wait = None
    made.hear(0.0, do="measure")
    body = model(Allocation.ENDPOINT_INDEPENDENT)
    made.hear(0.1, do="begin", strategy="spray", model=body, lease=name)
    assert made.leases == [bytes(range(8)).hex()]


def direct(pair: Pair) -> bool:
    """
    @return: whether both sides are.
    """
    return pair.kinds() == ("direct", "direct")


@pytest.mark.parametrize("host", PUBLIC)
def test_behindOneAddress(host: str) -> None:
    """
    While somebody else behind the address of either side sprays, we wait; then we
    have our turn.
    """
    with product("block1024", "portrestricted") as pair:
        leases = pair.rendezvous.registrar.leases._leases
        leases.ask([host], "somebody", pair.clock.seconds())
        firstByte(pair)
        pair.network.advance(30.0)
        assert pair.kinds() == ("relayed", "relayed")
        budgets = [client.context.budget for client in (pair.a, pair.b)]
        assert sum(each.leasesRefused for each in budgets) >= 1
        assert [each.probes for each in budgets] == [0, 0]
        last = {v.strategy: v for v in pair.sessions()[0].verdicts}
        assert last["traversal"].reason.name == "BUSY"
        leases.release([host], "somebody")
        pair.network.runUntil(lambda: direct(pair), 180.0)
        pair.network.advance(1.0)
        assert [each.spraying for each in budgets] == [False, False]
        for public in PUBLIC:
            # Given back as soon as it had worked.
            assert leases.ask([public], "somebody", pair.clock.seconds()) == 0.0


def test_oldRendezvous(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One that does not know the question is no obstacle, and nothing breaks.
    """
    begin = SignalingConnection.__init__

    def init(self: SignalingConnection, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        for command in (commands.Lease, commands.Release):
            del self._responders[command.commandName]

    monkeypatch.setattr(SignalingConnection, "__init__", init)
    with product("block1024", "portrestricted") as pair:
        firstByte(pair)
        pair.network.runUntil(lambda: direct(pair), 10.0)
        pair.network.advance(5.0)
        assert pair.rendezvous.registrar.counters["registered"] == 2
        assert pair.rendezvous.registrar.counters["leases"] == 0


def test_noAnswer(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One that does not answer is no obstacle either.
    """
    with product("block1024", "portrestricted") as pair:
        registrar = pair.rendezvous.registrar
        monkeypatch.setattr(
            registrar.leases, "lease", lambda presence, name: Deferred()
        )
        firstByte(pair)
        pair.network.runUntil(lambda: direct(pair), 15.0)
        assert pair.clock.seconds() > 6.0
        assert pair.a.context.budget.sprays == 1
