"""
The keepalive follows from the binding lifetime that was measured.
"""

from __future__ import annotations

import pytest

from punchd.services.memory import Memory
from punchd.testing.pair import Pair
from punchd.testing.router import Firewall, Lifetimes
from tests.product.talk import firstByte, product

#: As long as a search takes at the most, in seconds.
_SEARCH = 1200.0


def _nat(pair: Pair) -> tuple[float | None, float]:
    """
    @return: the lifetime and the keepalive that C{a} tells of.
    """
    nat = pair.a.status()["nat"]
    return nat["bindingLifetime"], nat["keepaliveInterval"]


@pytest.mark.parametrize(
    ("kind", "lifetime"),
    [
        ("portrestricted", 12.0),
        ("symmetric", 30.0),
        ("sequential", 65.0),
        ("portrestricted", 180.0),
    ],
)
def test_measured(kind: str, lifetime: float) -> None:
    """
    After a while the lifetime is known within a quarter, and a keepalive leaves
    each 0.65 of it.
    """
    with product(kind, "portrestricted", udpLifetime=lifetime) as pair:
        assert _nat(pair) == (None, 15.0)
        pair.network.advance(_SEARCH)
        found, keepalive = _nat(pair)
        assert found is not None
        assert lifetime / 1.26 <= found <= lifetime
        assert keepalive == pytest.approx(0.65 * found, abs=0.001)
        firstByte(pair)
        described = pair.a.status()["sessions"][0]
        assert described["keepaliveInterval"] == keepalive


def test_oneWay() -> None:
    """
    Bindings that were never answered end sooner at some NATs.
    """
    options = {"lifetimes": Lifetimes(udp=(30.0, 120.0))}
    with product("portrestricted", "open", optionsA=options) as pair:
        pair.network.advance(_SEARCH)
        nat = pair.a.status()["nat"]
        assert 24 <= nat["oneWayLifetime"] <= 30  # type: ignore[operator]
        assert 96 <= nat["bindingLifetime"] <= 120  # type: ignore[operator]


def test_costOfSearch() -> None:
    """
    It takes some 100 packets, once.
    """
    with product("portrestricted", "open", udpLifetime=60.0) as pair:
        pair.network.advance(8.0)
        port = next(iter(pair.a.gathering.hosts()))[1]
        capture = pair.network.capture(
            matches=lambda r: (
                r.where == "hostA" and r.protocol == "udp" and r.source[1] != port
            )
        )
        pair.network.advance(3600.0)
        assert 40 <= len(capture.stop()) <= 160


def test_remembered() -> None:
    """
    A client that comes back to a network knows it at once, and measures nothing.
    """
    saved: list[bytes] = []

    def memory(pair: Pair) -> Memory:
        return Memory(
            pair.scenario.hostA.wallClock,
            lambda: saved[-1] if saved else None,
            saved.append,
        )

    with product("portrestricted", "portrestricted", udpLifetime=60.0) as pair:
        for number in range(2):
            pair.network.runUntil(pair.a.stopService(), 10.0)
            pair.options["memory"] = memory(pair)
            pair.a = pair.startClient(pair.scenario.hostA, pair.identityA)
            pair.network.runUntil(lambda: pair.a.gathering.mapped, 10.0)
            if number:
                known = _nat(pair)
                capture = pair.network.capture(matches=lambda r: r.where == "hostA")
            pair.network.advance(_SEARCH)
            if not number:
                before = _nat(pair)
        assert known == before == _nat(pair)
        # The survey's own, and nothing for the lifetime.
        ports = {r.source[1] for r in capture.stop() if r.protocol == "udp"}
        assert len(ports) < 10


def test_userDecides() -> None:
    """
    With C{--keepalive} nothing is measured.
    """
    options = {"keepalive": 40.0}
    with product("portrestricted", "portrestricted", options=options) as pair:
        pair.network.advance(_SEARCH)
        assert _nat(pair) == (None, 40.0)


def test_pathSurvivesShortBindings() -> None:
    """
    A NAT that forgets after less than the first keepalive moves the port once;
    from then on the interval is shorter, and the path stays.
    """
    with product("restricted", "symmetric", udpLifetime=13.0) as pair:
        firstByte(pair)
        pair.network.advance(120.0)
        before = [session.paths.changes for session in pair.sessions()]
        assert pair.b.context.keepalive <= 8.0
        pair.network.advance(3600.0)
        assert [session.paths.changes for session in pair.sessions()] == before
        assert pair.kinds() == ("direct", "direct")


def test_movedMappingShortens() -> None:
    """
    A NAT that begins to forget sooner than it did when that was measured halves
    the interval, until the path stays.
    """
    with product("symmetric", "restricted", udpLifetime=120.0) as pair:
        firstByte(pair)
        pair.network.advance(_SEARCH)
        assert pair.a.context.keepalive > 60.0
        router = pair.scenario.sideA.routers[-1]
        assert isinstance(router, Firewall)
        router.lifetimes = Lifetimes(udp=(30.0, 30.0))
        pair.network.advance(900.0)
        assert pair.a.context.keepalive < 30.0
        before = [session.paths.changes for session in pair.sessions()]
        pair.network.advance(1800.0)
        assert [session.paths.changes for session in pair.sessions()] == before
