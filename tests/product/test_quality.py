"""
A path that works but is bad: the session leaves it, comes back when it has healed,
and loses no byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from punchd.testing.packet import Packet
from punchd.testing.pair import Pair
from punchd.testing.scenario import RENDEZVOUS_HOSTS
from punchd.traversal.policy import Kind

from .talk import Talk, product, talk, until

DIRECT = ("direct", "direct")
#: What a router does to a packet: whether it is dropped, and the way out.
Refuses = Callable[[Packet, bool], bool]


def _direct(packet: Packet, out: bool) -> bool:
    far = (packet.destination if out else packet.source)[0]
    return far not in RENDEZVOUS_HOSTS


def lossy(part: float, *, out: bool | None = None) -> Refuses:
    """
    @param out: the direction, both by default.
    """
    dice = random.Random(1)
    return lambda packet, way: (
        _direct(packet, way) and out in (None, way) and dice.random() < part
    )


def throttled(pair: Pair, rate: float) -> Refuses:
    """
    @param rate: bytes a second that get through on the way out.
    """
    level, at = 16e3, pair.clock.seconds()

    def refuses(packet: Packet, out: bool) -> bool:
        nonlocal level, at
        if not out or not _direct(packet, out):
            return False
        now = pair.clock.seconds()
        level, at = min(16e3, level + (now - at) * rate), now
        if level < packet.size:
            return True
        level -= packet.size
        return False

    return refuses


def _changes(pair: Pair) -> tuple[int, str | None]:
    paths = pair.sessions()[0].paths
    return paths.changes, paths.reason


def _kind(pair: Pair) -> str | None:
    return pair.kinds()[0]


def _begin(pair: Pair, **options: float) -> Talk:
    words = talk(pair, **options)
    until(pair, lambda: pair.kinds() == DIRECT, 2.0)
    pair.network.advance(3.0)
    words.silence()
    return words


def test_lossy() -> None:
    """
    A direct path that loses a third of what is sent loses the session to the relay
    within seconds, and gets it back when it loses nothing any more; not before.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = _begin(pair)
        pair.scenario.sideA.routers[-1].refuses = lossy(0.3, out=True)
        assert until(pair, lambda: _kind(pair) == "relayed", 15.0) < 10.0
        changes, reason = _changes(pair)
        assert changes == 1
        assert reason is not None
        assert reason.startswith("the direct path loses ")
        why = pair.sessions()[0].paths
        pair.network.advance(30.0)
        assert why.changes == 1
        assert words.silence() < 1.5
        pair.scenario.sideA.restore()
        assert until(pair, lambda: pair.kinds() == DIRECT, 60.0) < 30.0
        assert _changes(pair) == (2, "the direct path is good again")
        words.finish()


def test_throttled() -> None:
    """
    A direct path on which nearly nothing gets through loses a transfer to the relay,
    and gets it back afterwards; the bytes are the same.
    """
    with product("portrestricted", "portrestricted", delay=0.01) as pair:
        words = _begin(pair, size=20_000)
        pair.scenario.sideA.routers[-1].refuses = throttled(pair, 30e3)
        assert until(pair, lambda: _kind(pair) == "relayed", 30.0) < 20.0
        pair.network.advance(10.0)
        assert _kind(pair) == "relayed"
        pair.scenario.sideA.restore()
        assert until(pair, lambda: _kind(pair) == "direct", 60.0) < 30.0
        words.finish()


def test_narrow() -> None:
    """
    That QUIC loses much while it finds out how little a direct path carries is no
    reason to leave it.
    """
    with product("portrestricted", "portrestricted", delay=0.02) as pair:
        words = _begin(pair)
        link = pair.network.internet.link
        pair.network.internet.link = replace(link, bandwidth=1e6, queue=0.03)
        more = talk(pair, size=30_000)
        pair.network.advance(6.0)
        assert _changes(pair) == (0, None)
        assert _kind(pair) == "direct"
        pair.network.internet.link = link
        words.finish()
        more.finish()


@pytest.mark.parametrize("side", ["sideA", "sideB"])
@pytest.mark.parametrize("out", [False, True])
def test_oneWay(side: str, out: bool) -> None:
    """
    On the direct path nothing passes in one direction any more: data go on at once,
    there and back, and the path is not used that way.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = _begin(pair)
        router = getattr(pair.scenario, side).routers[-1]
        router.refuses = lossy(1.1, out=out)
        sender = 0 if (side == "sideA") == out else 1
        until(pair, lambda: pair.kinds()[sender] == "relayed", 10.0)
        pair.network.advance(10.0)
        assert words.silence() < 1.5
        assert pair.kinds()[sender] == "relayed"
        router.restore()
        assert until(pair, lambda: pair.kinds() == DIRECT, 60.0) < 30.0
        words.finish()


def test_dataOnly() -> None:
    """
    Checks pass in both directions, data do not in one: the path is left, though it
    answers, and the other direction stays.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = _begin(pair)
        pair.scenario.sideA.routers[-1].refuses = lambda packet, out: (
            out and _direct(packet, out) and packet.size > 600
        )
        assert until(pair, lambda: _kind(pair) == "relayed", 10.0) < 5.0
        assert words.silence() < 1.5
        pair.network.advance(20.0)
        assert pair.kinds() == ("relayed", "direct")
        pair.scenario.sideA.restore()
        until(pair, lambda: pair.kinds() == DIRECT, 60.0)
        words.finish()


def test_littleLossIsBearable() -> None:
    """
    One packet in a hundred is no reason to trouble the relay.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = _begin(pair)
        pair.scenario.sideA.routers[-1].refuses = lossy(0.01)
        pair.network.advance(60.0)
        assert pair.kinds() == DIRECT
        assert _changes(pair)[0] == 0
        words.finish()


def test_anotherPolicy() -> None:
    """
    With C{--policy=kind} a bad direct path is good enough.
    """
    with product("portrestricted", "portrestricted", options={"policy": Kind()}) as p:
        words = _begin(p)
        p.scenario.sideA.routers[-1].refuses = lossy(0.3, out=True)
        p.network.advance(20.0)
        assert _kind(p) == "direct"
        p.scenario.sideA.restore()
        words.finish()


def test_nothingIsMeasuredInSilence() -> None:
    """
    A session that left its direct path, and says nothing then, sends no more than
    the keepalives of one that did not.
    """
    options = {"keepalive": 15.0, "linger": 1e6}
    with product("portrestricted", "portrestricted", options=options) as pair:
        words = _begin(pair)
        pair.scenario.sideA.routers[-1].refuses = lossy(0.5, out=True)
        until(pair, lambda: _kind(pair) == "relayed", 15.0)
        words.finish(60.0)
        # Or else checks are repeated.
        pair.scenario.sideA.restore()
        pair.network.advance(60.0)
        sent = pair.network.capture(
            "sent", matches=lambda r: r.protocol == "udp" and r.where == "hostA"
        )
        pair.network.advance(3600.0)
        records = sent.stop()
        hosts = [record.destination[0] for record in records]
        once = 3600 / 15
        # As in test_idle; the two sides may keep relayed paths that differ.
        assert sum(host in RENDEZVOUS_HOSTS for host in hosts) <= 3 * once + 85
        assert sum(host not in RENDEZVOUS_HOSTS for host in hosts) <= 1.2 * once
