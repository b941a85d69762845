"""
The programs themselves go away and come back: the rendezvous, and one client.
"""

from __future__ import annotations

import pytest

from punchd.errors import PeerRestarted, SessionLost
from punchd.testing.pair import Pair

from .talk import firstByte, product, talk, until

CREATE_PERMISSION = b"\0\x08"
KINDS = {"portrestricted": "direct", "symmetric": "relayed"}


def restartRendezvous(pair: Pair, pause: float, killed: bool) -> None:
    """
    End the rendezvous, wait, and start it again.
    """
    if killed:
        pair.network.kill(pair.scenario.rendezvous)
    else:
        pair.network.runUntil(pair.rendezvous.stopService(), 10.0)
    pair.network.advance(pause)
    pair.rendezvous = pair.startRendezvous()


@pytest.mark.parametrize("killed", [True, False])
def test_directSessionWithoutRendezvous(killed: bool) -> None:
    """
    A direct session does not notice that the rendezvous is started anew, and
    has another relayed path to fall back on afterwards.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = talk(pair)
        pair.network.advance(2.0)
        before = [client.gathering.relayed for client in (pair.a, pair.b)]
        words.silence()
        restartRendezvous(pair, 5.0, killed)
        pair.network.advance(10.0)
        assert words.silence() < 0.1
        assert [session.paths.changes for session in pair.sessions()] == [0, 0]
        after = [client.gathering.relayed for client in (pair.a, pair.b)]
        assert None not in after
        assert not set(before) & set(after)
        pair.scenario.sideA.dropDirect()
        until(pair, lambda: pair.kinds() == ("relayed", "relayed"), 5.0)
        pair.network.advance(1.0)
        words.finish()


@pytest.mark.parametrize(("pause", "killed"), [(1.0, True), (1.0, False), (15.0, True)])
def test_relayedSession(pause: float, killed: bool) -> None:
    """
    A relayed session loses its path with the rendezvous, stalls, and goes on
    over new relayed addresses.
    """
    with product("symmetric", "symmetric") as pair:
        words = talk(pair, pace=0.1)
        pair.network.advance(2.0)
        restartRendezvous(pair, pause, killed)
        words.silence()
        pair.network.advance(20.0)
        assert words.silence() < 15.0
        assert pair.kinds() == ("relayed", "relayed")
        words.finish()


def test_relayForgotten() -> None:
    """
    After the last session the relay is asked for nothing but to keep the
    allocation: the hosts of peers are forgotten.
    """
    with product("symmetric", "symmetric", options={"linger": 5.0}) as pair:
        stream, _, _ = firstByte(pair)
        pair.network.advance(2.0)
        relay = pair.a.context.relay
        assert relay is not None
        assert relay.wishes
        stream.loseConnection()
        until(pair, lambda: not pair.a.peers.sessions, 10.0)
        assert not relay.wishes
        pair.network.advance(1.0)
        asked = pair.network.capture(
            "sent",
            matches=lambda r: (
                r.protocol == "udp"
                and r.where == "hostA"
                and r.payload[:2] == CREATE_PERMISSION
            ),
        )
        pair.network.advance(1800.0)
        assert asked.stop() == []


def test_relayCredentialsAreRenewed() -> None:
    """
    A client that is up for longer than its credentials are good can allocate.
    """
    with product("symmetric", "symmetric") as pair:
        before = pair.a.context.relay
        assert before is not None
        assert before.chances.credentials is not None
        old = before.chances.credentials.username
        pair.network.advance(40_000.0)
        assert before.chances.credentials.username != old
        firstByte(pair)
        pair.network.advance(2.0)
        assert pair.kinds() == ("relayed", "relayed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["a", "b"])
@pytest.mark.parametrize("silently", [True, False])
def test_clientRestarted(kind: str, who: str, silently: bool) -> None:
    """
    A client is killed, or loses power, and is started again: the streams of
    the other side fail because the new one says, signed, that it knows nothing
    of the session; then a dial works.
    """
    with product(kind, kind) as pair:
        words = talk(pair, pace=0.1)
        pair.network.advance(2.0)
        host = pair.scenario.hostA if who == "a" else pair.scenario.hostB
        identity = pair.identityA if who == "a" else pair.identityB
        pair.network.kill(host, silently)
        if who == "a":
            words.stop()
        pair.network.advance(1.0)
        host.powerOn()
        setattr(pair, who, pair.startClient(host, identity))
        survivor = pair.b if who == "a" else pair.a
        took = until(pair, lambda: not survivor.peers.sessions, 60.0)
        assert took < 15.0
        reason = survivor.peers.ended[identity.peerId].reason
        assert reason is not None
        assert reason.check(PeerRestarted)
        if who == "b":
            assert words.reason.check(PeerRestarted)
        pair.network.advance(2.0)
        again = talk(pair)
        pair.network.advance(2.0)
        again.finish()
        assert pair.kinds() == (KINDS[kind], KINDS[kind])


def test_restartedClientDials() -> None:
    """
    The dial of a new incarnation ends the session with the old one at once.
    """
    with product("portrestricted", "portrestricted") as pair:
        talk(pair, pace=0.1).stop()
        pair.network.advance(2.0)
        old = pair.b.peers.sessions[pair.identityA.peerId]
        pair.network.kill(pair.scenario.hostA)
        pair.a = pair.startClient(pair.scenario.hostA, pair.identityA)
        pair.ready()
        firstByte(pair)
        assert old.reason is not None
        assert old.reason.check(PeerRestarted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("idle", [True, False])
def test_clientGone(kind: str, idle: bool) -> None:
    """
    A client is killed and stays away: the rendezvous saw it leave, so the
    streams of the other side, idle or not, fail after 30 s without a path.
    """
    with product(kind, kind) as pair:
        words = talk(pair, pace=0.1)
        pair.network.advance(2.0)
        if idle:
            words.stop()
            pair.network.advance(10.0)
        pair.network.kill(pair.scenario.hostB)
        took = until(pair, lambda: words.reason, 200.0)
        assert 30.0 < took < 40.0
        assert words.reason.check(SessionLost)
        assert "left the rendezvous" in words.reason.getErrorMessage()
        pair.b = pair.startClient(pair.scenario.hostB, pair.identityB)


def test_powerCut() -> None:
    """
    A machine that loses power tells nobody: the session is given up when
    patience is over, and not before.
    """
    with product("symmetric", "open", options={"patience": 50.0}) as pair:
        words = talk(pair, pace=0.1)
        pair.network.advance(2.0)
        pair.network.kill(pair.scenario.hostB, silently=True)
        took = until(pair, lambda: words.reason, 200.0)
        assert 30.0 < took < 60.0
        pair.scenario.hostB.powerOn()
        pair.b = pair.startClient(pair.scenario.hostB, pair.identityB)


def test_disowned() -> None:
    """
    One side gave the session up while nothing passed: the other hears it,
    signed, as soon as it asks for new paths.
    """
    with product("portrestricted", "portrestricted") as pair:
        words = talk(pair, pace=0.1)
        pair.network.advance(2.0)
        pair.scenario.sideA.dropDirect("198.18.0.1")
        pair.network.advance(10.0)
        session = pair.b.peers.sessions[pair.identityA.peerId]
        session.stop(SessionLost("Enough."))
        pair.network.advance(1.0)
        assert pair.b.peers.sessions == {}
        assert not words.reason
        pair.scenario.sideA.restore()
        assert until(pair, lambda: words.reason, 60.0) < 30.0
        assert words.reason.check(SessionLost)
        assert not words.reason.check(PeerRestarted)
