"""
The product in the simulator: a machine that goes somewhere else.
"""

from __future__ import annotations

import pytest

from punchd.testing.pair import Pair
from punchd.testing.scenario import Side, makeHost
from tests.product.talk import Talk, product, talk, until


def direct(pair: Pair) -> bool:
    """
    @return: whether both sides send directly.
    """
    return pair.kinds() == ("direct", "direct")


def begin(pair: Pair) -> Talk:
    """
    Talk over a direct path.
    """
    words = talk(pair)
    until(pair, lambda: direct(pair), 10.0)
    pair.network.advance(1.0)
    words.silence()
    return words


def cafe(pair: Pair) -> Side:
    """
    @return: a place behind another NAT, with nobody there.
    """
    place = makeHost(pair.network, "portrestricted", "cafe", private=9)
    place.host.detach()
    return place


def test_anotherAddress() -> None:
    """
    A machine that gets another address in its network keeps its session, and data
    flows again within a second.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = begin(pair)
        host = pair.scenario.hostA
        host.detach()
        host.attach(pair.scenario.sideA.lan, "192.168.1.77")
        pair.network.advance(3.0)
        assert words.silence() < 1.0
        until(pair, lambda: direct(pair), 20.0)
        path = pair.sessions()[0].paths.current
        assert path is not None
        assert path.local.base[0] == "192.168.1.77"
        words.finish()


@pytest.mark.parametrize("who", ["hostA", "hostB"])
def test_anotherNat(who: str) -> None:
    """
    The dialler's machine, or the listener's, moves behind another NAT: its session
    lives on, and goes direct again.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = begin(pair)
        place = cafe(pair)
        host = getattr(pair.scenario, who)
        host.detach()
        host.attach(place.lan, "192.168.9.2")
        pair.network.advance(5.0)
        assert words.silence() < 1.5
        until(pair, lambda: direct(pair), 20.0)
        words.finish()


def test_aMinuteWithoutANetwork() -> None:
    """
    A machine that has no network for a minute, and then another one, keeps its
    session.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = begin(pair)
        host = pair.scenario.hostA
        host.detach()
        pair.network.advance(60.0)
        words.silence()
        host.attach(cafe(pair).lan, "192.168.9.2")
        pair.network.advance(5.0)
        assert words.silence() < 1.5
        until(pair, lambda: direct(pair), 20.0)
        words.finish()
