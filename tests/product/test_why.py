"""
C{punchd why} names the right cause, for both sides of what is relayed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from punchd.identity import Identity
from punchd.services.client import PunchClient
from punchd.testing.host import Host
from punchd.testing.pair import Pair
from punchd.traversal.builtin import BUILTIN
from tests.product.talk import failure, firstByte, product

NO_SPRAY = {"strategies": [each for each in BUILTIN if each.name != "spray"]}
RELAY = {"mode": "relay"}


class Unlike(Pair):
    """
    Clients with options of their own.

    @cvar own: those of each.
    """

    own: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def startClient(self, host: Host, identity: Identity) -> PunchClient:
        """
        Start a client on a host.
        """
        common = self.options
        self.options = {**common, **self.own[identity is self.identityB]}
        client = super().startClient(host, identity)
        self.options = common
        return client


def causes(pair: Pair) -> list[str]:
    """
    @return: the cause that each side is told.
    """
    found = []
    for client, other in ((pair.a, pair.identityB), (pair.b, pair.identityA)):
        answer = client.why(other.peerId)
        assert json.loads(json.dumps(answer)) == answer
        assert answer["text"]
        found.append(answer["cause"])
    return found


@pytest.mark.parametrize(
    ("kinds", "options", "expected"),
    [
        (("symmetric", "symmetric"), ({}, {}), ["out-of-reach"] * 2),
        (("sequential", "symmetric"), ({}, {}), ["out-of-reach"] * 2),
        (("block1024", "block1024"), ({}, {}), ["out-of-reach"] * 2),
        (
            ("udpblocked", "symmetric"),
            ({}, {}),
            ["udp-blocked-here", "udp-blocked-at-the-peer"],
        ),
        (("ipv6udpblocked", "udpblocked"), ({}, {}), ["udp-blocked-on-both-sides"] * 2),
        (("symmetric", "portrestricted"), (NO_SPRAY, {}), ["no-spray"] * 2),
        (("portrestricted", "symmetric"), ({}, NO_SPRAY), ["no-spray"] * 2),
        (("symmetric", "portrestricted"), (RELAY, RELAY), ["relay-wanted"] * 2),
        (
            ("portrestricted", "sequential"),
            ({}, RELAY),
            ["peer-silent", "relay-wanted"],
        ),
    ],
)
def test_relayed(
    kinds: tuple[str, str],
    options: tuple[dict[str, Any], dict[str, Any]],
    expected: list[str],
) -> None:
    """
    Each side is told the cause as it is from there.
    """
    make = type("Unlike", (Unlike,), {"own": options})
    with product(*kinds, seen="udpblocked" not in kinds, make=make) as pair:
        firstByte(pair)
        pair.network.advance(25.0)
        assert pair.kinds() == ("relayed", "relayed")
        assert causes(pair) == expected


@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
def test_oneNat(kind: str) -> None:
    """
    Two behind one NAT that keeps them apart are told so, whatever its ports.
    """
    with product(kind, kind, sameNat=True, isolated=True) as pair:
        firstByte(pair)
        pair.network.advance(25.0)
        assert pair.kinds() == ("relayed", "relayed")
        assert causes(pair) == ["no-hairpin", "no-hairpin"]


def test_direct() -> None:
    """
    A direct path is the answer itself.
    """
    with product("portrestricted", "portrestricted") as pair:
        firstByte(pair)
        pair.network.advance(1.0)
        assert causes(pair) == ["direct", "direct"]


def test_offline() -> None:
    """
    A peer that is not there is told apart from NATs.
    """
    with product("portrestricted", "portrestricted") as pair:
        pair.network.runUntil(pair.b.stopService(), 5.0)
        assert failure(pair)
        answer = pair.a.why(pair.identityB.peerId)
        assert answer["cause"] == "peer-offline"
        assert "--allow" in answer["text"]
        pair.b.startService()


def test_busy() -> None:
    """
    While somebody else behind our address sprays, we say so, and when we go on.
    """
    with product("block1024", "portrestricted") as pair:
        leases = pair.rendezvous.registrar.leases._leases
        leases.ask(["198.51.100.10"], "somebody", pair.clock.seconds())
        firstByte(pair)
        pair.network.advance(12.0)
        answer = pair.a.why(pair.identityB.peerId)
        assert answer["cause"] == "busy"
        assert answer["trying"] or answer["nextAttempt"] > 0
