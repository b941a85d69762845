"""
One client with many peers, in virtual time.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from punchd.testing.crowd import Crowd
from punchd.testing.pair import Collector
from punchd.testing.scenario import Scenario

PEERS = 40
STREAMS = 10


@pytest.fixture
def crowd() -> Generator[Crowd, None, None]:
    """
    Two clients that others may join.
    """
    made = Crowd(Scenario("portrestricted", "portrestricted", 1))
    made.ready()
    yield made
    made.stop()
    assert made.clock.getDelayedCalls() == []


def test_fortyPeers(crowd: Crowd) -> None:
    """
    Forty peers dial one client within a second, and open ten streams each: all of
    them get their own bytes back, over direct paths, and when they close nothing
    of their streams is left.
    """
    peers = [crowd.join("portrestricted") for _ in range(PEERS)]
    for peer in peers:
        crowd.network.runUntil(peer.whenRegistered(), 10.0)
    crowd.network.advance(2.0)
    opened = []
    for peer in peers:
        opened.append(peer.open(crowd.identityB.peerId, "echo"))
        crowd.network.advance(1.0 / PEERS)
    streams = [
        (peer, crowd.network.runUntil(d, 30.0)) for peer, d in zip(peers, opened)
    ]
    streams += [
        (peer, crowd.network.runUntil(peer.open(crowd.identityB.peerId, "echo"), 5.0))
        for peer in peers
        for _ in range(STREAMS - 1)
    ]
    made = []
    for number, (_, stream) in enumerate(streams):
        collector = Collector()
        stream.attach(collector)
        word = b"%d " % number * 500
        stream.write(word)
        made.append((stream, collector, word))
    for _, collector, word in made:
        crowd.network.runUntil(collector.whenReceived(len(word)), 20.0)
        assert collector.received == word
    sessions = [crowd.session(crowd.b, peer) for peer in peers]
    assert {s.paths.current.kind for s in sessions if s.paths.current} == {"direct"}
    assert [s.streams.count for s in sessions] == [STREAMS] * PEERS
    for stream, _, _ in made:
        stream.loseConnection()
    crowd.network.advance(2.0)
    assert [s.streams.count for s in sessions] == [0] * PEERS
