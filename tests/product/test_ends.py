"""
How sessions begin and end, and what users may ask of them.
"""

from __future__ import annotations

import pytest

from punchd.errors import PathsExhausted
from punchd.testing.pair import Collector
from punchd.testing.scenario import RENDEZVOUS_HOSTS

from .talk import RTT, failure, firstByte, product, talk, until

BOTH = ["portrestricted", "symmetric"]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("lag", [0.0, 0.01, 0.0249, 0.0251, 0.04, 0.05, 0.07, 0.1])
@pytest.mark.parametrize("first", ["a", "b"])
def test_glare(kind: str, lag: float, first: str) -> None:
    """
    Both dial at once, or nearly: there is one session, and both streams run.
    """
    with product(kind, kind) as pair:
        clients = {
            "a": (pair.a, pair.identityB.peerId),
            "b": (pair.b, pair.identityA.peerId),
        }
        opened = []
        for name in (first, "b" if first == "a" else "a"):
            client, peerId = clients[name]
            opened.append(client.open(peerId, "echo"))
            pair.network.advance(lag)
        began = pair.clock.seconds()
        for each in opened:
            stream, collector = pair.network.runUntil(each, 30.0), Collector()
            stream.attach(collector)
            stream.write(b"hello")
            pair.network.runUntil(collector.whenReceived(5), 30.0)
        assert pair.clock.seconds() - began < 8 * RTT
        one, other = pair.sessions()
        assert one.dialId == other.dialId
        assert {one.role, other.role} == {"dialler", "listener"}
        pair.network.advance(2.0)
        assert len(pair.a.peers.sessions) == len(pair.b.peers.sessions) == 1
        assert pair.sessions() == (one, other)


def test_linger() -> None:
    """
    A session lives as long as it has a stream, and C{linger} seconds more.
    """
    with product("open", "open", options={"linger": 30.0}) as pair:
        stream, _, _ = firstByte(pair)
        pair.network.advance(100.0)
        assert len(pair.a.peers.sessions) == 1
        stream.loseConnection()
        pair.network.advance(29.0)
        assert len(pair.a.peers.sessions) == 1
        pair.network.advance(2.0)
        for client in (pair.a, pair.b):
            [ended] = client.peers.ended.values()
            assert ended.reason is not None
            assert "idle" in ended.reason.getErrorMessage()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("who", ["a", "b"])
def test_goodbye(kind: str, who: str) -> None:
    """
    A client that stops tells the peers of its sessions.
    """
    with product(kind, kind) as pair:
        words = talk(pair)
        pair.network.advance(2.0)
        stopping = getattr(pair, who).stopService()
        other = pair.b if who == "a" else pair.a
        assert until(pair, lambda: not other.peers.sessions, 5.0) < 3 * RTT
        [ended] = other.peers.ended.values()
        assert ended.reason is not None
        assert "stopped" in ended.reason.getErrorMessage()
        pair.network.runUntil(lambda: words.reason, 5.0)
        pair.network.runUntil(stopping, 5.0)


def test_stopWhileDialling() -> None:
    """
    A client that stops in the middle of a dial fails what waits for it, and
    leaves nothing behind on either side.
    """
    for seconds in (0.01, 0.03, 0.06, 0.09, 0.11, 0.15):
        with product("portrestricted", "portrestricted") as pair:
            opened = pair.a.open(pair.identityB.peerId, "echo")
            caught: list[object] = []
            opened.addErrback(caught.append)
            pair.network.advance(seconds)
            pair.network.runUntil(pair.a.stopService(), 10.0)
            pair.network.advance(5.0)
            assert opened.called
            assert bool(caught) == (seconds < 2 * RTT)
            assert pair.b.peers.sessions == {}


@pytest.mark.parametrize("modes", [("relay", "relay"), ("relay", "auto")])
@pytest.mark.parametrize("kind", ["open", "symmetric"])
def test_relayOnly(kind: str, modes: tuple[str, str]) -> None:
    """
    With C{--path=relay} on one side the session is relayed on both, though a
    direct path exists, and that host sends to the rendezvous alone.
    """
    with product(kind, kind) as pair:
        pair.a.context.mode, pair.b.context.mode = modes
        sent = pair.network.capture(
            "sent", matches=lambda r: r.where == "hostA" and r.protocol == "udp"
        )
        assert firstByte(pair)[2] <= 4.5 * RTT
        pair.network.advance(60.0)
        assert pair.kinds() == ("relayed", "relayed")
        assert {r.destination[0] for r in sent.stop()} <= set(RENDEZVOUS_HOSTS)


@pytest.mark.parametrize("kind", ["open", "portrestricted", "symmetric"])
def test_relayOnlyToOneWithout(kind: str) -> None:
    """
    A peer that has no relay of its own is reached through ours, and sees no
    other address of this host.
    """
    with product(kind, kind) as pair:
        pair.a.context.mode = "relay"
        pair.b.context.relay = None
        sent = pair.network.capture(
            "sent", matches=lambda r: r.where == "hostA" and r.protocol == "udp"
        )
        firstByte(pair)
        pair.network.advance(60.0)
        assert pair.kinds() == ("relayed", "relayed")
        assert {r.destination[0] for r in sent.stop()} <= set(RENDEZVOUS_HOSTS)


@pytest.mark.parametrize("modes", [("direct", "auto"), ("direct", "relay")])
def test_noPathBothWant(modes: tuple[str, str]) -> None:
    """
    Where one side takes no relayed path, the other does not carry the session
    over one either: both say that there is none.
    """
    with product("symmetric", "symmetric") as pair:
        pair.a.context.mode, pair.b.context.mode = modes
        words = talk(pair)
        pair.network.advance(10.0)
        assert pair.kinds() == (None, None)
        pair.network.runUntil(lambda: words.reason, 60.0)
        assert "No path" in words.reason.getErrorMessage()


def test_directOnly() -> None:
    """
    With C{--path=direct} no relay is asked for; where only a relay would help
    the session fails and says so.
    """
    options = {"mode": "direct"}
    with product("portrestricted", "portrestricted", options=options) as pair:
        assert firstByte(pair)[2] <= 3.5 * RTT
        pair.network.advance(10.0)
        assert pair.kinds() == ("direct", "direct")
        assert pair.a.gathering.relayed is None
    with product("symmetric", "symmetric", options=options) as pair:
        words = talk(pair)
        until(pair, lambda: words.reason, 60.0)
        assert words.reason.check(PathsExhausted) or "No path" in str(words.reason)
        assert "no check was answered" in pair.a.why(pair.identityB.peerId)["text"]


def test_replaced() -> None:
    """
    The same identity registers from elsewhere: the older client is told and
    gives up, and dials reach the newer one.
    """
    with product("open", "open") as pair:
        elsewhere = pair.network.addHost("elsewhere", "192.0.2.200")
        newer = pair.startClient(elsewhere, pair.identityB)
        pair.network.runUntil(newer.whenRegistered(), 10.0)
        pair.network.advance(5.0)
        assert not pair.b.links.registered
        firstByte(pair)
        assert len(newer.peers.sessions) == 1
        assert pair.b.peers.sessions == {}
        pair.network.runUntil(newer.stopService(), 10.0)


@pytest.mark.parametrize("kind", BOTH)
def test_halfClose(kind: str) -> None:
    """
    A stream whose one half has ended goes on in the other.
    """
    with product(kind, kind) as pair:
        stream, collector, _ = firstByte(pair)
        stream.write(b"last")
        stream.loseWriteConnection()
        pair.network.runUntil(collector.whenReceived(9), 10.0)
        assert collector.received == b"hellolast"


def test_ping() -> None:
    """
    Pings measure the session's round trip, over whichever path.
    """
    for kind, rtt in (("portrestricted", RTT), ("symmetric", 2 * RTT)):
        with product(kind, kind) as pair:
            firstByte(pair)
            pair.network.advance(2.0)
            found = pair.network.runUntil(pair.a.ping(pair.identityB.peerId, 3), 10.0)
            assert found == pytest.approx([rtt] * 3, abs=0.005)


def test_unknownPeer() -> None:
    """
    A peer nobody knows is unavailable, and soon.
    """
    with product("open", "open") as pair:
        pair.identityB, known = pair.identityA, pair.identityB
        began = pair.clock.seconds()
        assert "offline, unknown" in str(failure(pair))
        assert pair.clock.seconds() - began < 5.0
        pair.identityB = known
