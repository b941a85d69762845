"""
What a session sends when nobody says anything.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

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
        assert max(silences) <= pair.a.context.keepalive
        assert [session.paths.current for session in pair.sessions()] == before
        assert [session.paths.changes for session in pair.sessions()] == [0, 0]
