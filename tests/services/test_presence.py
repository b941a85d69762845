"""
Tests for L{punchd.services.presence} and L{punchd.services.links}, in the
simulator.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from punchd.errors import PeerUnavailable, RendezvousUnreachable
from punchd.testing.pair import Pair
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario


@contextmanager
def ready(kindA: str, kindB: str = "open") -> Generator[Pair, None, None]:
    """
    Two clients that are registered and seen.
    """
    pair = Pair(Scenario(kindA, kindB, 1))
    pair.ready()
    yield pair
    pair.stop()
    assert pair.clock.getDelayedCalls() == []


def caught(pair: Pair, waiting: Deferred[Any], timeout: float) -> Any:
    """
    @return: why it failed.
    """
    failures: list[Any] = []
    waiting.addErrback(failures.append)
    pair.network.runUntil(lambda: failures, timeout)
    return failures[0].value


@pytest.mark.parametrize(
    ("kind", "mapping"),
    [
        ("open", "endpoint-independent"),
        ("fullcone", "endpoint-independent"),
        ("portrestricted", "endpoint-independent"),
        ("symmetric", "address-dependent"),
        ("addressdependent", "address-dependent"),
    ],
)
def test_mapping(kind: str, mapping: str) -> None:
    """
    Two addresses of the rendezvous tell whether our NAT keeps one port for
    all destinations; C{status} has it and the addresses.
    """
    with ready(kind) as pair:
        assert pair.a.presence.mapping == mapping
        nat = pair.a.status()["nat"]
        assert nat["mapping"] == mapping
        [public] = nat["publicAddresses"]
        assert public.startswith("198.51.100.")


def test_ipv6() -> None:
    """
    Each family is seen.
    """
    with ready("ipv6") as pair:
        assert sorted(pair.a.gathering.mapped) == [4, 6]
        assert any(a.startswith("[2001:") for a in _public(pair))


def _public(pair: Pair) -> list[str]:
    return list(pair.a.status()["nat"]["publicAddresses"])


def test_roundTrip() -> None:
    """
    The round trip to the rendezvous is measured: it paces the first checks.
    """
    with ready("portrestricted") as pair:
        assert pair.a.context.rtt == pytest.approx(0.05)


def test_registeredAnew() -> None:
    """
    A rendezvous that was started anew sees us as the one before did, and is
    sent no more than that one.
    """
    with ready("portrestricted") as pair:
        mapped = dict(pair.a.gathering.mapped)

        def hourly() -> int:
            sent = pair.network.capture(
                "sent", matches=lambda r: r.where == "hostA" and r.protocol == "udp"
            )
            pair.network.advance(1800.0)
            return len(sent.stop())

        before = hourly()
        for _ in range(3):
            pair.network.kill(pair.scenario.rendezvous)
            pair.rendezvous = pair.startRendezvous()
            pair.network.advance(10.0)
            assert pair.a.links.registered
        assert pair.a.gathering.mapped == mapped
        assert hourly() < 1.2 * before


def test_quietAfterTheEnd() -> None:
    """
    A client that was stopped sends nothing any more.
    """
    with ready("portrestricted") as pair:
        pair.network.runUntil(pair.a.stopService(), 10.0)
        sent = pair.network.capture("sent", matches=lambda r: r.where == "hostA")
        pair.network.advance(120.0)
        assert {r.protocol for r in sent.stop()} <= {"tcp"}


def test_onlyTheRendezvousIsSpokenTo() -> None:
    """
    Before anybody dials, a client sends to the rendezvous alone.
    """
    with ready("portrestricted") as pair:
        pair.network.advance(60.0)
        spoken = {remote[0] for _, remote in pair.network.sent}
        hosts = {*RENDEZVOUS_HOSTS, "198.51.100.10", "192.0.2.130"}
        assert spoken <= hosts


def test_dialWithoutRendezvous() -> None:
    """
    A dial while the rendezvous is away fails with that reason, or goes through
    when it is back in time.
    """
    with ready("open") as pair:
        pair.network.kill(pair.scenario.rendezvous)
        pair.network.advance(1.0)
        assert not pair.a.links.registered
        opened = pair.a.open(pair.identityB.peerId, "echo")
        reason = caught(pair, opened, 60.0)
        assert isinstance(reason, RendezvousUnreachable)
        assert "cannot be reached" in str(reason)
        opened = pair.a.open(pair.identityB.peerId, "echo")
        pair.rendezvous = pair.startRendezvous()
        opened.addErrback(lambda failure: None)
        pair.network.advance(90.0)
        again = pair.a.open(pair.identityB.peerId, "echo")
        assert pair.network.runUntil(again, 10.0) is not None


@pytest.mark.parametrize(("error", "way"), [(600.0, "ahead of"), (-600.0, "behind")])
def test_wrongClock(error: float, way: str) -> None:
    """
    Peers refuse who has a wrong clock and do not tell why; comparing with the clock of
    the rendezvous does, where the user looks.
    """
    scenario = Scenario("open", "open", 1)
    scenario.hostA.clockError = error
    pair = Pair(scenario)
    told: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("event") == "clock":
            told.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        pair.ready()
    finally:
        globalLogPublisher.removeObserver(observe)
    trouble = f"This machine's clock is 600 s {way} that of the rendezvous"
    assert [each.startswith(trouble) for each in told] == [True]
    assert pair.a.status()["rendezvous"]["clockAhead"] == pytest.approx(error, abs=1)
    assert pair.b.status()["rendezvous"]["clockAhead"] == pytest.approx(0, abs=1)
    failed = caught(pair, pair.a.open(pair.b.context.identity.peerId, "echo"), 20.0)
    assert isinstance(failed, PeerUnavailable)
    assert trouble in str(failed)
    pair.stop()


def test_silentRendezvous() -> None:
    """
    Who waits for the first connection is told in the end which rendezvous is silent.
    """
    pair = Pair(Scenario("open", "open", 1))
    pair.network.kill(pair.scenario.rendezvous, silently=True)
    failures: list[Any] = []
    pair.a.open(pair.identityB.peerId, "echo").addErrback(failures.append)
    pair.network.advance(11.0)
    reason = failures[0].value
    assert isinstance(reason, RendezvousUnreachable)
    assert str(reason).startswith("The rendezvous at 203.0.113.10")
    pair.scenario.rendezvous.powerOn()
    pair.rendezvous = pair.startRendezvous()
    pair.stop()


def test_status() -> None:
    """
    How the rendezvous is reached is told, and if it is not, why.
    """
    with ready("open") as pair:
        found = pair.a.status()["rendezvous"]
        assert (found["port"], found["proxied"]) == (3478, False)
        pair.network.runUntil(pair.rendezvous.stopService(), 10.0)
        pair.network.advance(2.0)
        found = pair.a.status()["rendezvous"]
        assert not found["connected"]
        assert "cannot be reached" in found["reason"]
        pair.rendezvous = pair.startRendezvous()


def test_goneLink() -> None:
    """
    What is said about dials of a rendezvous that is away is not an error.
    """
    with ready("open") as pair:
        links = pair.a.links
        links.trickle("unknown", b"", [])
        links.bye("unknown", "no reason")
        url = str(pair.rendezvous.url)
        assert str(links.current.url) == url
        pair.network.runUntil(pair.rendezvous.stopService(), 10.0)
        pair.network.advance(2.0)
        assert not links.registered
        assert str(links.current.url) == url
        pair.rendezvous = pair.startRendezvous()


def test_unknownSession() -> None:
    """
    There is nothing to say about a peer that was never dialled, and news of
    one change nothing.
    """
    with ready("open") as pair:
        with pytest.raises(PeerUnavailable):
            pair.a.why(pair.identityB.peerId)
        peers = pair.a.peers
        peers.peerGone("stranger")
        peers.peerReturned("stranger")
        peers.byeReceived("stranger", "dial", "reason")
        peers.trickled("stranger", "dial", b"", [b""])
        peers.networkChanged()
        peers.permissionsChanged()
        assert peers.sessions == peers.ended == {}
