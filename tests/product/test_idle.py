"""
What a session sends when nobody says anything.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from punchd.nat.keepalive import DEFAULT
from punchd.testing.pair import Pair
from tests.product.talk import firstByte, product

#: The life of UDP bindings at both NATs, in seconds.
_LIFE = 20.0

#: The outside of the NATs of both hosts.
_PUBLIC = {"198.51.100.10", "192.0.2.10"}


@pytest.mark.parametrize("seed", [1, 2, 14, 15])
def test_bindingLifetime(seed: int) -> None:
    """
    No silence is longer than the keepalive interval, from the last byte on, and so
    a path keeps its addresses at NATs that forget after little more than that.
    """
    with product("restricted", "symmetric", seed=seed, udpLifetime=_LIFE) as pair:
        firstByte(pair)
        pair.network.runUntil(lambda: pair.kinds() == ("direct", "direct"), 10.0)
        before = [session.paths.current for session in pair.sessions()]
        capture = pair.network.capture(
            "public", matches=lambda r: {r.source[0], r.destination[0]} == _PUBLIC
        )
        pair.network.advance(120.0)
        times = [record.time for record in capture.stop()]
        silences = [later - sooner for sooner, later in pairwise(times)]
        # Once the lifetime is measured, it is less.
        assert max(silences) <= DEFAULT
        assert [session.paths.current for session in pair.sessions()] == before
        assert [session.paths.changes for session in pair.sessions()] == [0, 0]


def _idleHour(pair: Pair) -> tuple[list[int], Counter[tuple[str, str]]]:
    """
    @return: how often the paths had changed before, and how many UDP packets each
        host sent to whom in an hour, a while after all that a dial brings about.
    """
    firstByte(pair)
    pair.network.runUntil(lambda: pair.kinds() == ("direct", "direct"), 30.0)
    pair.network.advance(120.0)
    changes = [session.paths.changes for session in pair.sessions()]
    capture = pair.network.capture(matches=lambda r: r.protocol == "udp")
    pair.network.advance(3600.0)
    return changes, Counter((r.where, r.destination[0]) for r in capture.stop())


@pytest.mark.parametrize("keepalive", [15.0, 60.0])
def test_packetsOfAnIdleHour(keepalive: float) -> None:
    """
    One keepalive an interval leaves each side on the path in use, as a check or as
    the answer to one, and one on what is next should it fail; the rendezvous gets
    one, and what renews the relay's permissions.
    """
    options = {"keepalive": keepalive, "linger": 1e6}
    with product("portrestricted", "symmetric", options=options) as pair:
        before, sent = _idleHour(pair)
        once = 3600 / keepalive
        # QUIC has 12 packets of its own, lest it gives up.
        direct = {"hostA": sent["hostA", "192.0.2.10"]}
        direct["hostB"] = sent["hostB", "198.51.100.10"]
        for host, count in direct.items():
            assert once - 2 <= count <= once + 13, host
            # Permissions, channels, nonces: 85 at the most.
            relayed = sent[host, "203.0.113.10"]
            assert 2 * once - 3 <= relayed <= 2 * once + 85, host
        assert [session.paths.changes for session in pair.sessions()] == before


def test_fallbackIsKept() -> None:
    """
    After an hour without a word the relay takes over when the direct path fails,
    and nothing is lost.
    """
    with product("portrestricted", "portrestricted", udpLifetime=40.0) as pair:
        stream, collector, _ = firstByte(pair)
        pair.network.advance(3600.0)
        assert pair.kinds() == ("direct", "direct")
        pair.scenario.sideA.dropDirect()
        stream.write(b"again")
        began = pair.clock.seconds()
        pair.network.runUntil(collector.whenReceived(10), 10.0)
        assert pair.clock.seconds() - began < 3.0
        pair.network.runUntil(lambda: pair.kinds() == ("relayed", "relayed"), 20.0)
