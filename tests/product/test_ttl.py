"""
What the client finds out about the way to the public network.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from punchd.signaling.url import RendezvousURL
from punchd.testing.pair import Pair
from tests.product.talk import product


@pytest.mark.parametrize(
    ("kind", "ttl"),
    [("open", 1), ("portrestricted", 2), ("cgnat", 3), ("ipv6", 2)],
)
def test_openerTtl(kind: str, ttl: int) -> None:
    """
    The hop limit of openers follows from the NATs in a row, or from the firewalls.
    """
    with product(kind, "portrestricted") as pair:
        assert pair.a.context.openerTtl == ttl
        assert pair.b.context.openerTtl == 2
        assert pair.a.status()["nat"]["openerTtl"] == ttl


class Six(Pair):
    """
    The rendezvous is reached over IPv6.
    """

    def urls(self) -> list[RendezvousURL]:
        """
        What the clients know.
        """
        return [replace(url, host="2001:db8::10") for url in super().urls()]


def test_six() -> None:
    """
    Without IPv4, it is measured over IPv6.
    """
    with product("ipv6only", "ipv6", seen=False, make=Six) as pair:
        assert pair.a.presence.openerTtl.found == 2
        assert pair.a.context.openerTtl == 2


def test_cost() -> None:
    """
    It takes no more packets than there are routers up to the public network, and
    nothing once that is known, until the network changes.
    """
    with product("open", "portrestricted") as pair:
        before = pair.network.dropped["ttl"]
        assert before == 3
        pair.network.runUntil(pair.rendezvous.stopService(), 5.0)
        pair.network.advance(1.0)
        pair.rendezvous = pair.startRendezvous()
        pair.network.advance(60.0)
        assert pair.a.links.registered
        assert pair.network.dropped["ttl"] == before
        pair.a.networkChanged()
        pair.network.advance(1.0)
        assert pair.network.dropped["ttl"] == before + 1


def test_notWanted() -> None:
    """
    Who wants a relay only sends nothing of the kind.
    """
    with product("portrestricted", "cgnat", options={"mode": "relay"}) as pair:
        assert pair.network.dropped["ttl"] == 0
        assert pair.a.status()["nat"]["openerTtl"] == 3
