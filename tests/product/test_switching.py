"""
Which path carries a session while paths come and go: no byte is lost, and no
stream is reset.
"""

from __future__ import annotations

import pytest

from punchd.errors import PathsExhausted

from .talk import firstByte, product, talk, until

DIRECT = ("direct", "direct")
RELAYED = ("relayed", "relayed")
NONE = (None, None)
#: The only host that is let through when all paths are cut: nobody.
NOBODY = "198.18.0.1"


@pytest.mark.parametrize(
    ("kindA", "kindB"),
    [
        ("portrestricted", "portrestricted"),
        ("cgnat", "restricted"),
        ("symmetric", "fullcone"),
        ("ipv6", "ipv6"),
    ],
)
@pytest.mark.parametrize("side", ["sideA", "sideB"])
def test_directCut(kindA: str, kindB: str, side: str) -> None:
    """
    Direct packets are dropped at a router: data go on over the relay within
    1.5 s, both sides give the path up within three, and come back to it soon
    after it works again.
    """
    with product(kindA, kindB) as pair:
        words = talk(pair)
        until(pair, lambda: pair.kinds() == DIRECT, 2.0)
        router = getattr(pair.scenario, side)
        words.silence()
        router.dropDirect()
        assert until(pair, lambda: pair.kinds() == RELAYED, 10.0) < 3.0
        pair.network.advance(5.0)
        assert words.silence() < 1.5
        router.restore()
        assert until(pair, lambda: pair.kinds() == DIRECT, 30.0) < 16.0
        pair.network.advance(2.0)
        assert words.silence() < 0.5
        words.finish()
        assert [session.paths.changes for session in pair.sessions()] == [2, 2]


def test_bulkWhileDirectIsCut() -> None:
    """
    Four megabytes there and back arrive as they were sent though the path is
    cut and mended twice on the way.
    """
    data = bytes(range(251)) * 16700
    with product("portrestricted", "portrestricted", delay=0.01) as pair:
        stream, collector = pair.open()
        stream.write(data)
        for _ in range(2):
            pair.network.advance(0.4)
            pair.scenario.sideA.dropDirect()
            pair.network.advance(3.0)
            pair.scenario.sideA.restore()
        got = collector.whenReceived(len(data))
        assert pair.network.runUntil(got, 120.0) == data
        assert collector.reason is None


def test_relayFirst() -> None:
    """
    A session that begins over the relay, because direct packets are dropped,
    moves to the direct path as soon as there is one.
    """
    with product("portrestricted", "portrestricted") as pair:
        pair.scenario.sideA.dropDirect()
        words = talk(pair)
        until(pair, lambda: pair.kinds() == RELAYED, 5.0)
        pair.network.advance(10.0)
        assert [session.state for session in pair.sessions()] == ["relayed"] * 2
        words.silence()
        pair.scenario.sideA.restore()
        assert until(pair, lambda: pair.kinds() == DIRECT, 60.0) < 35.0
        pair.network.advance(1.0)
        assert words.silence() < 0.3
        words.finish()
        for session in pair.sessions():
            assert session.secondsToDirect is not None


@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
@pytest.mark.parametrize("seconds", [3.0, 20.0, 35.0, 60.0])
def test_allCut(kind: str, seconds: float) -> None:
    """
    Nothing passes for a while, not even to the rendezvous: streams stall, and
    go on within seconds when packets pass again.
    """
    with product(kind, kind) as pair:
        words = talk(pair, pace=0.2)
        pair.network.advance(2.0)
        kinds = pair.kinds()
        pair.scenario.sideA.dropDirect(NOBODY)
        pair.network.advance(seconds)
        assert words.reason is None
        if seconds > 10.0:
            assert pair.kinds() == NONE
            assert [s.state for s in pair.sessions()] == ["recovering"] * 2
        pair.scenario.sideA.restore()
        words.silence()
        pair.network.advance(5.0)
        assert words.silence() < 3.0
        words.finish()
        until(pair, lambda: pair.kinds() == kinds, 20.0)


def test_bothSidesCutInTurn() -> None:
    """
    Outages of either side, one after the other and overlapping, at whatever
    moment of the recovery of the other: the session finds its way back.
    """
    with product("symmetric", "symmetric", seed=5) as pair:
        words = talk(pair, pace=0.2)
        pair.network.advance(2.0)
        sides = [pair.scenario.sideA, pair.scenario.sideB]
        for number in range(6):
            one, other = sides[number % 2], sides[1 - number % 2]
            one.dropDirect(NOBODY)
            pair.network.advance(2.7 + number)
            other.dropDirect(NOBODY)
            one.restore()
            pair.network.advance(1.3 * number)
            other.restore()
            pair.network.advance(0.9 * number)
        pair.network.advance(15.0)
        words.finish()
        assert pair.kinds() == RELAYED


def test_patience() -> None:
    """
    A session without any path ends at both sides when patience is over, with
    that as the reason, and the next dial begins anew.
    """
    with product("portrestricted", "portrestricted", options={"patience": 40.0}) as p:
        words = talk(p, pace=0.5)
        p.network.advance(2.0)
        p.scenario.sideA.dropDirect(NOBODY)
        for client in (p.a, p.b):
            until(p, lambda c=client: not c.peers.sessions, 60.0)  # type: ignore[misc]
        assert 40.0 < p.clock.seconds() < 60.0
        for client in (p.a, p.b):
            [ended] = client.peers.ended.values()
            assert ended.reason is not None
            assert ended.reason.check(PathsExhausted)
        assert words.reason.check(PathsExhausted)
        p.scenario.sideA.restore()
        p.network.advance(60.0)
        again = talk(p)
        p.network.advance(2.0)
        assert p.kinds() == DIRECT
        again.finish()


@pytest.mark.parametrize(
    ("kind", "hourly"), [("portrestricted", 3000), ("symmetric", 5000)]
)
def test_idle(kind: str, hourly: int) -> None:
    """
    With NATs that forget after 20 s, an idle session is there at once, on the
    same path, after 90 s and after 10 minutes, and an hour of it costs few
    packets.
    """
    with product(kind, kind, udpLifetime=20.0) as pair:
        stream, collector = pair.open()
        stream.write(b"0")
        pair.network.advance(3.0)
        before = [session.paths.current for session in pair.sessions()]
        for number, pause in enumerate((90.0, 600.0), 2):
            pair.network.advance(pause)
            stream.write(b"%d" % number)
            got = collector.whenReceived(number)
            began = pair.clock.seconds()
            pair.network.runUntil(got, 10.0)
            assert pair.clock.seconds() - began < 0.11
        assert [session.paths.current for session in pair.sessions()] == before
        assert [session.paths.changes for session in pair.sessions()] == [0, 0]
        sent = pair.network.capture("sent", matches=lambda r: r.where == "hostA")
        pair.network.advance(3600.0)
        assert 3600 / 20 < len(sent.stop()) < hourly


@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
def test_idleForHours(kind: str) -> None:
    """
    A stream that carries nothing for three hours is still there.
    """
    with product(kind, kind, udpLifetime=20.0) as pair:
        stream, collector, _ = firstByte(pair)
        pair.network.advance(3 * 3600.0)
        assert collector.reason is None
        stream.write(b"6")
        pair.network.runUntil(collector.whenReceived(6), 1.0)
        assert [session.paths.changes for session in pair.sessions()] == [0, 0]


def test_nothingOvertakes() -> None:
    """
    Ten megabytes on their way over the relay while a direct path is found, which is
    faster: QUIC takes nothing for lost that only was overtaken, and goes on at once.
    """
    size = 10_000_000
    with product("portrestricted", "portrestricted") as pair:
        pair.scenario.sideA.dropDirect()
        words = talk(pair)
        until(pair, lambda: pair.kinds() == RELAYED, 10.0)
        words.finish()
        stream, collector = pair.open()
        pair.scenario.sideA.restore()
        stream.write(bytes(size))
        began = pair.clock.seconds()
        until(pair, lambda: pair.kinds() == DIRECT, 60.0)
        assert len(collector.received) < size / 10
        pair.network.runUntil(collector.whenReceived(size), 120.0)
        assert pair.clock.seconds() - began < 2.0
