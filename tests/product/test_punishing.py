"""
IPv6 firewalls that shut out for long whoever sends a packet that nobody asked for.
"""

from __future__ import annotations

import pytest

from punchd.core import Address
from punchd.testing.packet import Packet
from punchd.testing.pair import Pair

from .talk import product, talk

#: Seconds that somebody stays shut out.
LONG = 60.0


class Punishing:
    """
    I am what a router refuses.

    @ivar shut: until when, by host.
    """

    def __init__(self, pair: Pair) -> None:
        self.shut: dict[str, float] = {}
        self._clock = pair.clock
        self._asked: set[tuple[Address, Address]] = set()

    def __call__(self, packet: Packet, out: bool) -> bool:
        """
        @return: whether it is dropped.
        """
        if ":" not in packet.source[0]:
            # The other way is closed.
            return packet.protocol == "udp"
        now, there = self._clock.seconds(), packet.source[0]
        if out:
            self._asked.add((packet.source, packet.destination))
        elif (packet.destination, packet.source) not in self._asked:
            self.shut[there] = now + LONG
        return not out and self.shut.get(there, 0.0) > now


@pytest.mark.parametrize("opener", [True, False])
def test_opener(opener: bool) -> None:
    """
    The first packet opens our firewall, and dies before it reaches the other one, which
    therefore shuts nobody out; without that, it does.
    """
    with product("ipv6", "ipv6") as pair:
        sides = (pair.scenario.sideA, pair.scenario.sideB)
        walls = [Punishing(pair) for _ in sides]
        for side, wall in zip(sides, walls, strict=True):
            side.routers[-1].refuses = wall
        # What they had asked for already.
        pair.network.advance(60.0)
        assert [client.context.openerTtl for client in (pair.a, pair.b)] == [2, 2]
        for wall in walls:
            wall.shut.clear()
        if not opener:
            pair.b.context.openerTtl = None
        dying = pair.network.capture(
            "dropped", matches=lambda r: r.reason == "ttl" and ":" in r.source[0]
        )
        words = talk(pair)
        pair.network.advance(1.0)
        assert [bool(wall.shut) for wall in walls] == [not opener, False]
        assert pair.kinds() == (("direct", "direct") if opener else ("relayed",) * 2)
        assert bool(dying.stop()) is opener
        if opener:
            paths = [session.paths.current for session in pair.sessions()]
            assert all(path and ":" in path.remote.address[0] for path in paths)
        words.finish()
