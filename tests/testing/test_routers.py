"""
Firewalls, chains of NATs, and what administrators block.
"""

from __future__ import annotations

from collections import Counter

import pytest

from punchd.testing.link import Link
from punchd.testing.network import Network
from punchd.testing.router import Firewall, Lifetimes
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario, kinds
from tests.testing.helpers import Bench, Sink

SIX = "2001:db8:a::2"


def behindFirewall(**options: object) -> tuple[Network, Sink, Sink]:
    """
    @return: a network, a socket behind a firewall and one before it.
    """
    network = Network(0, Link(0.01))
    lan = network.addSubnet("lan")
    inside = network.addHost("inside", SIX, subnet=lan)
    Firewall(network, "wall", network.internet, lan, **options)  # type: ignore[arg-type]
    outside = network.addHost("outside", "2001:db8::9")
    return network, Sink(inside, 1000, 6), Sink(outside, 2000, 6)


def testFirewallDropsUnsolicited() -> None:
    """Nothing comes in that was not asked for; addresses stay what they are."""
    network, inside, outside = behindFirewall()
    outside.send((SIX, 1000))
    network.advance(1)
    assert inside.received == []
    assert network.dropped == Counter({"filtered": 1})
    inside.send(("2001:db8::9", 2000))
    network.advance(1)
    assert outside.sources == [(SIX, 1000)]
    outside.send((SIX, 1000))
    network.advance(1)
    assert len(inside.received) == 1


def testFirewallForgets() -> None:
    """A flow ends with its lifetime."""
    network, inside, outside = behindFirewall(lifetimes=Lifetimes((10, 10)))
    inside.send(("2001:db8::9", 2000))
    network.advance(11)
    outside.send((SIX, 1000))
    network.advance(1)
    assert inside.received == []


def testFirewallFiltering() -> None:
    """A firewall may look at less than the whole tuple."""
    network, inside, outside = behindFirewall(filtering="endpoint-independent")
    inside.send(("2001:db8::99", 1))
    network.advance(1)
    outside.send((SIX, 1000))
    network.advance(1)
    assert len(inside.received) == 1


def testCarrierGradeNat() -> None:
    """Behind two NATs, the server sees the outer one's address."""
    scenario = Scenario("cgnat", "open")
    server, client = Sink(scenario.rendezvous, 3478), Sink(scenario.hostA, 5000)
    server.answers = True
    client.send((RENDEZVOUS_HOSTS[0], 3478))
    scenario.network.advance(1)
    assert server.sources == [("198.51.100.10", 5000)]
    assert client.sources == [(RENDEZVOUS_HOSTS[0], 3478)]
    assert len(scenario.sideA.routers) == 2


@pytest.mark.parametrize(("kind", "needed"), [("open", 3), ("portrestricted", 4)])
def testHopsToTheRendezvous(kind: str, needed: int) -> None:
    """Every router costs one, the internet two."""
    scenario = Scenario(kind, "open")
    server, client = Sink(scenario.rendezvous, 3478), Sink(scenario.hostA)
    for ttl in range(1, 7):
        client.send((RENDEZVOUS_HOSTS[0], 3478), b"%d" % ttl, ttl)
    scenario.network.advance(1)
    assert server.data[0] == b"%d" % needed
    assert len(server.data) == 7 - needed


def testDyingInOurNatOpensNothing() -> None:
    """With TTL 1 a packet ends in the first router and leaves no mapping."""
    bench = Bench()
    Sink(bench.client, 5000).send(Bench.FIRST, ttl=1)
    bench.run()
    assert bench.nat.mappings() == []
    Sink(bench.client, 5001).send(Bench.FIRST, ttl=2)
    bench.run()
    assert len(bench.nat.mappings()) == 1
    assert bench.first.received == []


def testUdpBlocked() -> None:
    """No UDP leaves."""
    scenario = Scenario("udpblocked", "open")
    server, client = Sink(scenario.rendezvous, 3478), Sink(scenario.hostA)
    client.send((RENDEZVOUS_HOSTS[0], 3478))
    scenario.network.advance(1)
    assert server.received == []
    assert scenario.network.dropped == Counter({"blocked": 1})


def testDropDirect() -> None:
    """A router may let through only what concerns the rendezvous, for a while."""
    scenario = Scenario("open", "fullcone")
    server, client = Sink(scenario.rendezvous, 3478), Sink(scenario.hostB, 5000)
    other = Sink(scenario.hostA, 6000)
    rendezvous, peer = (RENDEZVOUS_HOSTS[0], 3478), ("198.51.100.130", 6000)
    client.send(rendezvous)
    scenario.network.advance(0.1)
    outside = server.sources[0]
    counts = []
    for switch in (scenario.sideB.dropDirect, scenario.sideB.restore):
        switch()
        client.send(peer)
        client.send(rendezvous)
        other.send(outside)
        server.send(outside)
        scenario.network.advance(0.1)
        counts.append((len(other.data), len(server.data), len(client.data)))
    assert counts == [(0, 2, 1), (1, 3, 3)]


def testOneToOne() -> None:
    """Behind a 1:1 NAT the rendezvous is reached at both public addresses."""
    scenario = Scenario("open", "ipv6", rendezvousNat=True)
    server = Sink(scenario.rendezvous, 3478)
    server.answers = True
    client = Sink(scenario.hostA, 5000)
    for host in RENDEZVOUS_HOSTS[:2]:
        client.send((host, 3478))
        scenario.network.advance(0.1)
    assert [local for _, local, _ in server.received] == [
        ("10.9.0.10", 3478),
        ("10.9.0.11", 3478),
    ]
    assert client.sources == [(host, 3478) for host in RENDEZVOUS_HOSTS[:2]]
    assert set(server.sources) == {("198.51.100.130", 5000)}


def testNeighbours() -> None:
    """Two hosts behind one NAT meet on the LAN, unless it keeps them apart."""
    for isolated in (False, True):
        scenario = Scenario("lan", "lan", isolated=isolated)
        one, two = Sink(scenario.hostA, 1000), Sink(scenario.hostB, 2000)
        one.send((next(iter(scenario.hostB.addresses)), 2000))
        scenario.network.advance(1)
        assert len(two.received) == (0 if isolated else 1)
        assert scenario.sideA.routers is scenario.sideB.routers


def testOverlap() -> None:
    """Both sides may have the same private addresses."""
    scenario = Scenario("portrestricted", "symmetric", overlap=True)
    assert list(scenario.hostA.addresses) == list(scenario.hostB.addresses)
    server = Sink(scenario.rendezvous, 3478)
    for host in (scenario.hostA, scenario.hostB):
        Sink(host, 5000).send((RENDEZVOUS_HOSTS[0], 3478))
    scenario.network.advance(1)
    assert [host for host, _ in server.sources] == ["198.51.100.10", "192.0.2.10"]


#: No UDP passes there.
_BLOCKED = ("udpblocked", "tcp443", "proxyonly", "ipv6udpblocked")


@pytest.mark.parametrize("kind", sorted({*kinds(), "cgnat-symmetric"} - {"lan"}))
def testEveryKindReachesTheRendezvous(kind: str) -> None:
    """Each kind's hosts get answers from the rendezvous, if UDP may pass."""
    scenario = Scenario(kind, kind, 5, udpLifetime=20)
    for host in (scenario.hostA, scenario.hostB):
        family, rendezvous = (4, 0) if kind != "ipv6only" else (6, 2)
        server = Sink(scenario.rendezvous, 3478, family)
        server.answers = True
        client = Sink(host, 5000, family)
        client.send((RENDEZVOUS_HOSTS[rendezvous], 3478))
        scenario.network.advance(0.2)
        assert len(client.received) == (0 if kind in _BLOCKED else 1)
        server.port.close()


def testUnknownKind() -> None:
    """A kind that does not exist is an error that names those that do."""
    with pytest.raises(ValueError, match="portrestricted"):
        Scenario("conical", "open")
    with pytest.raises(ValueError, match="cannot be both"):
        Scenario("open", "lan")
