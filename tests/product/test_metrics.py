"""
The numbers of a rendezvous, while the whole product runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from punchd.services import metrics
from punchd.services.metrics import INTERVAL, Lateness, RendezvousCollector
from punchd.services.outcomes import SETTLE
from punchd.signaling.commands import Outcome

from .talk import product

#: What a label may look like: words and numbers of ours.
_LABEL = re.compile(r"[\w.,: -]{1,60}")


def numbers(rendezvous: Any) -> CollectorRegistry:
    """
    @return: the numbers of a rendezvous.
    """
    registry = CollectorRegistry()
    registry.register(RendezvousCollector(rendezvous))
    return registry


def test_explained() -> None:
    """
    Every number has its row on the page for operators.
    """
    page = Path(__file__).parents[2] / "docs" / "howto" / "operate.rst"
    rows = re.findall(r"^``(punchd_\w+)``  ", page.read_text(), re.MULTILINE)
    names = set(re.findall(r'"(punchd_\w+)"', Path(metrics.__file__).read_text()))
    names |= {"punchd_relayed_packets", "punchd_relayed_bytes"}
    assert {row.removesuffix("_total") for row in rows} == names


def test_relayed() -> None:
    """
    What is relayed shows by transport, family and direction, while the allocation
    lives and after it, and it never becomes less.
    """
    with product("symmetric", "symmetric", options={"mode": "relay"}) as pair:
        registry = numbers(pair.rendezvous)
        value = registry.get_sample_value
        assert value("punchd_clients") == 2
        assert value("punchd_dials_total") == 0
        stream, collector = pair.open()
        stream.write(b"x" * 50_000)
        pair.network.runUntil(collector.whenReceived(50_000), 30.0)
        labels = {"transport": "udp", "family": "ipv4"}
        assert value("punchd_dials_total") == 1
        assert value("punchd_dials_answered_total", {"answer": "accepted"}) == 1
        assert value("punchd_allocations", labels) == 2
        assert value("punchd_allocations_made_total", labels) == 2
        before = {}
        for direction in ("from_client", "to_client"):
            which = {**labels, "direction": direction}
            before[direction] = value("punchd_relayed_bytes_total", which)
            assert (before[direction] or 0) > 100_000
            assert (value("punchd_relayed_packets_total", which) or 0) > 80
        for client in (pair.a, pair.b):
            client.presence.relaying.stop()
        pair.network.advance(1.0)
        assert value("punchd_allocations", labels) == 0
        assert value("punchd_allocations_made_total", labels) == 2
        for direction, count in before.items():
            which = {**labels, "direction": direction}
            assert (value("punchd_relayed_bytes_total", which) or 0) >= (count or 0)


def test_refusals() -> None:
    """
    Refusals show by reason, and nothing that a client says gets into a label.
    """
    with product("open", "open") as pair:
        address = ("203.0.113.10", 3478)
        registry = numbers(pair.rendezvous)
        for data in (
            b"",
            b"\xff" * 30,
            b"\x40\x00\x00\x00evil",
            b"\x00\x03\x00\x00" * 5,
        ):
            pair.rendezvous.datagrams.datagramReceived(
                data, address, ("198.51.100.130", 666)
            )
        opened = pair.a.open("a" * 52, "evil")
        opened.addErrback(lambda failure: None)
        pair.network.advance(2.0)
        value = registry.get_sample_value
        dropped = {"part": "udp", "reason": "not STUN"}
        assert value("punchd_refusals_total", dropped) == 2
        odd = {"part": "relay", "reason": "no allocation"}
        assert value("punchd_refusals_total", odd) == 1
        offline = {"part": "directory", "reason": "offline"}
        assert value("punchd_refusals_total", offline) == 1
        text = generate_latest(registry).decode()
        assert "evil" not in text
        assert "666" not in text
        for label in re.findall(r'="((?:[^"\\]|\\.)*)"', text):
            assert _LABEL.fullmatch(label), label


def test_lateness() -> None:
    """
    A call that is made late is counted as late.
    """
    with product("open", "open") as pair:
        registry = CollectorRegistry()
        clock = pair.clock
        late = Lateness(clock, registry)
        late.start()
        pair.network.advance(10 * INTERVAL + 0.001)
        late.stop()
        count = registry.get_sample_value("punchd_event_loop_lag_seconds_count")
        assert count == 10
        soon = registry.get_sample_value(
            "punchd_event_loop_lag_seconds_bucket", {"le": "0.001"}
        )
        assert soon == 10


@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
def test_outcome(kind: str) -> None:
    """
    The dialler tells once what its session has settled on.
    """
    with product(kind, kind) as pair:
        value = numbers(pair.rendezvous).get_sample_value
        pair.open()
        pair.network.advance(SETTLE - 1.0)
        outcomes = pair.rendezvous.registrar.outcomes
        assert not outcomes
        pair.network.advance(2.0)
        assert outcomes.total() == 1
        (strategy,) = outcomes
        assert (strategy == "relay") == (kind == "symmetric")
        told = value("punchd_dial_outcomes_total", {"strategy": strategy})
        assert told == 1
        pair.network.advance(2 * SETTLE)
        (a, _) = pair.sessions()
        pair.a.links.bye(a.exchange.dialId, "over")
        pair.network.advance(1.0)
        assert outcomes.total() == 1


def test_madeUpOutcome() -> None:
    """
    A strategy that is none of ours counts as another one, and an outcome of a dial
    that is none as nothing.
    """
    with product("open", "open") as pair:
        pair.open()
        (a, _) = pair.sessions()
        registrar = pair.rendezvous.registrar
        for client, dialId in (
            (pair.a, a.dialId),
            (pair.a, a.dialId),
            (pair.b, a.dialId),
            (pair.a, "nonsense"),
        ):
            connection = client.links._links[0].connection
            assert connection is not None
            connection.ask(Outcome, 5.0, dialId=dialId, strategy="made up").addErrback(
                lambda failure: None
            )
            pair.network.advance(0.2)
        assert registrar.outcomes == {"other": 1}
        assert registrar.counters["outcome of nothing"] == 3


def test_oldRendezvous() -> None:
    """
    A rendezvous that does not know the command is not told again.
    """
    with product("open", "open") as pair:
        for each in pair.rendezvous.registrar._connections:
            del each._responders[Outcome.commandName]
        pair.open()
        pair.network.advance(SETTLE + 1.0)
        assert pair.a.links.registered
        assert len(pair.a.links._incurious) == 1
        assert not pair.rendezvous.registrar.outcomes
