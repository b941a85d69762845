"""
All UDP of a host is cut while a session is in use: it goes on over a relayed address
that is reached by TCP.
"""

from __future__ import annotations

import pytest

from punchd.testing.packet import Packet
from punchd.testing.pair import Pair

from .talk import product, talk, until

DIRECT = ("direct", "direct")
RELAYED = ("relayed", "relayed")
#: The only host that is let through when all is cut: nobody.
NOBODY = "198.18.0.1"


def _cut(pair: Pair, sides: str) -> None:
    """
    Drop all UDP at the routers of these sides.
    """

    def refuses(packet: Packet, out: bool) -> bool:
        return packet.protocol == "udp"

    for side in sides:
        getattr(pair.scenario, f"side{side}").routers[-1].refuses = refuses


def _transports(pair: Pair) -> list[str]:
    """
    @return: by what each side reaches its relay.
    """
    relays = [client.context.relay for client in (pair.a, pair.b)]
    return [relay.way.transport for relay in relays if relay and relay.way]


@pytest.mark.parametrize("sides", ["A", "B", "AB"])
@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
@pytest.mark.parametrize("size", [20, 20_000])
def test_udpCut(kind: str, sides: str, size: int) -> None:
    """
    Data go on within two seconds, whichever side it is and whatever the path was; no
    byte is lost, and the session comes back when UDP passes again.
    """
    with product(kind, kind) as pair:
        words = talk(pair, size=size, pace=0.05)
        pair.network.advance(6.0)
        before = pair.kinds()
        assert _transports(pair) == ["udp", "udp"]
        words.silence()
        _cut(pair, sides)
        pair.network.advance(8.0)
        assert words.silence() < 2.0
        assert pair.kinds() == RELAYED
        streams = [side in sides for side in "AB"]
        assert [each != "udp" for each in _transports(pair)] == streams
        for side in sides:
            getattr(pair.scenario, f"side{side}").restore()
        until(pair, lambda: pair.kinds() == before, 60.0)
        pair.network.advance(2.0)
        words.finish()


def test_relayOverUDPStays() -> None:
    """
    Where only the direct path is cut, nobody allocates anew.
    """
    # Punching by TCP would make connections of its own.
    options = {"strategies": ()}
    with product("portrestricted", "portrestricted", options=options) as pair:
        words = talk(pair)
        until(pair, lambda: pair.kinds() == DIRECT, 2.0)
        relayed = [pair.a.gathering.relayed, pair.b.gathering.relayed]
        streams = pair.network.capture(
            "sent", matches=lambda r: r.where == "hostA" and r.protocol == "tcp"
        )
        pair.scenario.sideA.dropDirect()
        until(pair, lambda: pair.kinds() == RELAYED, 5.0)
        pair.network.advance(5.0)
        assert [pair.a.gathering.relayed, pair.b.gathering.relayed] == relayed
        assert _transports(pair) == ["udp", "udp"]
        ours = {record.source for record in streams.stop()}
        assert len(ours) <= 1, "another connection was made"
        words.finish()


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0])
def test_everythingIsCutForAMoment(seconds: float) -> None:
    """
    Where nothing passed for a while UDP is as good as before: the relay is still
    reached by it, and nothing is lost.
    """
    with product("symmetric", "symmetric") as pair:
        words = talk(pair)
        pair.network.advance(4.0)
        relayed = [pair.a.gathering.relayed, pair.b.gathering.relayed]
        pair.scenario.sideA.dropDirect(NOBODY)
        pair.network.advance(seconds)
        pair.scenario.sideA.restore()
        pair.network.advance(10.0)
        assert _transports(pair) == ["udp", "udp"]
        assert [pair.a.gathering.relayed, pair.b.gathering.relayed] == relayed
        words.finish()


@pytest.mark.parametrize("sides", ["A", "B", "AB"])
def test_relayReturnsToUDP(sides: str) -> None:
    """
    When UDP passes again the relay is reached by it before long, too, with the former
    address kept until paths over the new one work: nothing stops meanwhile.
    """
    with product("symmetric", "symmetric", options={"mode": "relay"}) as pair:
        words = talk(pair, pace=0.05)
        pair.network.advance(6.0)
        assert _transports(pair) == ["udp", "udp"]
        _cut(pair, sides)
        pair.network.advance(30.0)
        streams = [side in sides for side in "AB"]
        assert [each != "udp" for each in _transports(pair)] == streams
        for side in sides:
            getattr(pair.scenario, f"side{side}").restore()
        words.silence()
        until(pair, lambda: _transports(pair) == ["udp", "udp"], 60.0)
        pair.network.advance(20.0)
        assert words.silence() < 0.3
        assert pair.kinds() == RELAYED
        words.finish()
