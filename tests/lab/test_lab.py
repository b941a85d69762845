"""
Every kind of NAT behaves as it is called.
"""

from __future__ import annotations

import socket
import time
from itertools import pairwise

import pytest

from punchd.testing.lab import KINDS
from tests.lab.probing import (
    PORT,
    Observatory,
    expect,
    filteringOf,
    mappingOf,
    punch,
    take,
    udp,
    until,
)

_WITH_UDP = [name for name, kind in KINDS.items() if kind.udp]


# One time in 1024, a block has the same port for two destinations.
@pytest.mark.parametrize("kind", [k for k in _WITH_UDP if k != "block1024"])
def test_mapping(makeLab, kind):
    """
    The mapping is the one that the kind's description names.
    """
    lab = makeLab(kind, kind if KINDS[kind].sameNat else "open", delay=0)
    rendezvous = Observatory(lab)
    sock = udp(lab.hostA, port=PORT)
    places = rendezvous.main, rendezvous.otherPort, rendezvous.otherHost
    seen = [rendezvous.observe(sock, place) for place in places]
    assert {host for host, _ in seen} == {lab.hostA.public[0]}
    assert mappingOf(seen) == KINDS[kind].mapping
    if KINDS[kind].mapping == "endpoint-independent":
        assert seen[0][1] == PORT


@pytest.mark.parametrize("kind", _WITH_UDP)
def test_filtering(makeLab, kind):
    """
    The filtering is the one that the kind's description names.
    """
    lab = makeLab(kind, kind if KINDS[kind].sameNat else "open", delay=0)
    rendezvous = Observatory(lab)
    sock = udp(lab.hostA, port=PORT)
    mapped = rendezvous.observe(sock)
    assert filteringOf(rendezvous.heard(sock, mapped)) == KINDS[kind].filtering


@pytest.mark.parametrize(
    "kind", [k for k in _WITH_UDP if k != "open" and not k.endswith("noinputfilter")]
)
def test_unmapped(makeLab, kind):
    """
    Without a mapping nothing comes in, not even through a full cone, and what
    tried does not move the port that the host gets afterwards.
    """
    lab = makeLab(kind, kind, delay=0)
    rendezvous = Observatory(lab)
    sock, other = udp(lab.hostA, port=PORT), udp(lab.hostA, port=PORT + 1)
    public = (lab.hostA.public[0], PORT)
    another = rendezvous.observe(other)
    rendezvous.sockets[rendezvous.main].sendto(b"early", public)
    rendezvous.sockets[rendezvous.otherHost].sendto(b"early", public)
    # Where this one is, they have been before.
    rendezvous.sockets[rendezvous.main].sendto(b"behind them", another)
    assert until(other, b"behind them") == set()
    mapped = rendezvous.observe(sock)
    if KINDS[kind].mapping == "endpoint-independent":
        assert mapped == public
    rendezvous.sockets[rendezvous.main].sendto(b"late", mapped)
    assert until(sock, b"late") == set()


def test_symmetricPorts(makeLab):
    """
    The ports of a symmetric NAT are random over the whole range.
    """
    lab = makeLab("symmetric", "open", delay=0)
    sink = udp(lab.hostB, port=PORT)
    ports = []
    for _ in range(64):
        with udp(lab.hostA) as sock:
            sock.sendto(b"x", (lab.hostB.address, PORT))
            ports.append(expect(sink)[1][1])
    assert len(set(ports)) > 60
    assert max(ports) - min(ports) > 32768
    steps = [b - a for a, b in pairwise(ports)]
    assert len(set(steps)) > 60


@pytest.mark.parametrize(("kind", "step"), [("sequential", 1), ("sequential2", 2)])
def test_sequentialPorts(makeLab, kind, step):
    """
    Each new flow gets the next port, from whatever socket to whatever place; a
    flow that exists keeps its own.
    """
    lab = makeLab(kind, "open", delay=0)
    rendezvous = Observatory(lab)
    ports = []
    for _ in range(8):
        with udp(lab.hostA) as sock:
            for place in (rendezvous.main, rendezvous.otherPort, rendezvous.otherHost):
                ports.append(rendezvous.observe(sock, place)[1])
                assert rendezvous.observe(sock, place)[1] == ports[-1]
    assert {b - a for a, b in pairwise(ports)} == {step}


def test_blockPorts(makeLab):
    """
    The ports are random ones of a block of 1024, another one for every
    destination.
    """
    lab = makeLab("block1024", "open", delay=0)
    rendezvous = Observatory(lab)
    places = list(rendezvous.sockets)
    ports = []
    for _ in range(64):
        with udp(lab.hostA) as sock:
            seen = [rendezvous.observe(sock, place)[1] for place in places]
            assert [rendezvous.observe(sock, place)[1] for place in places] == seen
            # Two the same: one time in 170; all four: one in 1e9.
            assert len(set(seen)) > 1
            ports += seen
    assert 768 < max(ports) - min(ports) < 1024
    assert len(set(ports)) > 160
    assert len({b - a for a, b in pairwise(ports)}) > 160


def test_earlyPacket(makeLab):
    """
    Where unasked packets are not dropped, one that comes before ours moves the
    port: towards its sender and all new destinations, not for flows that exist.
    """
    lab = makeLab("noinputfilter", "open", delay=0)
    rendezvous = Observatory(lab)
    sock = udp(lab.hostA, port=PORT)
    public = (lab.hostA.public[0], PORT)
    assert rendezvous.observe(sock) == public
    early = rendezvous.sockets[rendezvous.otherHost]
    early.sendto(b"early", public)
    moved = rendezvous.observe(sock, rendezvous.otherHost)
    assert moved[0] == public[0]
    assert moved != public
    assert rendezvous.observe(sock, rendezvous.otherPort) == moved
    assert rendezvous.observe(sock) == public
    early.sendto(b"to the old port", public)
    early.sendto(b"to the new one", moved)
    assert until(sock, b"to the new one") == set()
    assert rendezvous.observe(sock, rendezvous.otherHost) == moved


_EASY = ("open", "fullcone", "restricted", "portrestricted")
_PAIRS = [
    *((a, b, True) for i, a in enumerate(_EASY) for b in _EASY[i:]),
    *((a, "symmetric", True) for a in _EASY[:3]),
    ("portrestricted", "symmetric", False),
    ("symmetric", "portrestricted", False),
    ("symmetric", "symmetric", False),
    ("portrestricted", "sequential", False),
    ("portrestricted", "block1024", False),
    ("cgnat", "portrestricted", True),
    ("cgnat", "cgnat", True),
    ("cgnat", "symmetric", False),
    ("ipv6", "portrestricted", False),
]


@pytest.mark.parametrize(("kindA", "kindB", "direct"), _PAIRS)
def test_pairs(makeLab, kindA, kindB, direct):
    """
    The simplest punching makes a hole exactly where the theory says so.
    """
    lab = makeLab(kindA, kindB, delay=0)
    assert punch(lab, Observatory(lab)) is direct


def test_carrier(makeLab):
    """
    Behind a carrier's NAT the home router has a shared address (RFC 6598).
    """
    lab = makeLab("cgnat", "open", delay=0)
    sink = udp(lab.hostB, port=PORT)
    capture = lab.capture(lab.spaces["carrierA"], interface="lan", protocol="udp")
    with udp(lab.hostA, port=PORT) as sock:
        sock.sendto(b"x", (lab.hostB.address, PORT))
    assert expect(sink)[1] == ("198.51.100.10", PORT)
    (packet,) = capture.packets()
    assert packet.source == ("100.64.1.10", PORT)


@pytest.mark.parametrize("kind", ["lan", "symmetric"])
def test_sameNat(makeLab, kind):
    """
    Two hosts behind one NAT reach each other on their own network, and only
    there: the router does no hairpinning.
    """
    lab = makeLab(kind, kind, delay=0, sameNat=kind != "lan")
    assert lab.routerA is lab.routerB
    rendezvous = Observatory(lab)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT + 1)
    mapped = rendezvous.observe(b)
    assert mapped[0] == rendezvous.observe(a)[0] == lab.hostA.public[0]
    lab.routerA.resetCounters()
    a.sendto(b"by the public address", mapped)
    a.sendto(b"by the LAN", (lab.hostB.address, PORT + 1))
    assert until(b, b"by the LAN") == set()
    b.sendto(b"back", (lab.hostA.address, PORT))
    assert expect(a) == (b"back", (lab.hostB.address, PORT + 1))
    assert lab.routerA.sent() == {}


def test_overlap(makeLab):
    """
    Both private networks may have the same addresses.
    """
    lab = makeLab("portrestricted", "restricted", delay=0, overlap=True)
    assert lab.hostA.addresses == lab.hostB.addresses
    assert punch(lab, Observatory(lab))


def test_ipv6(makeLab):
    """
    Over IPv6 there is no NAT, but a firewall that wants the host to speak first.
    """
    lab = makeLab("ipv6", "ipv6", delay=0)
    hostA, hostB = lab.hostA.addresses[1], lab.hostB.addresses[1]
    assert lab.hostA.public == ["198.51.100.10", hostA]
    rendezvous = Observatory(lab, lab.rendezvous.addresses[2:])
    a, b = udp(lab.hostA, "::", PORT), udp(lab.hostB, "::", PORT)
    assert rendezvous.observe(a) == (hostA, PORT)
    assert rendezvous.heard(a, (hostA, PORT)) == set()
    b.sendto(b"too early", (hostA, PORT))
    assert rendezvous.heard(a, (hostA, PORT)) == set()
    a.sendto(b"from A", (hostB, PORT))
    assert expect(b) == (b"from A", (hostA, PORT))
    b.sendto(b"from B", (hostA, PORT))
    assert expect(a) == (b"from B", (hostB, PORT))


def test_udpBlocked(makeLab):
    """
    No UDP comes through, TCP does.
    """
    lab = makeLab("udpblocked", "open", delay=0)
    sink = udp(lab.hostB, port=PORT)
    listening = lab.hostB.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("", PORT))
    listening.listen()
    with udp(lab.hostA, port=PORT) as sock:
        sock.sendto(b"x", (lab.hostB.address, PORT))
        sink.sendto(b"y", (lab.hostA.public[0], PORT))
        with lab.hostA.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect((lab.hostB.address, PORT))
            server, peer = listening.accept()
            assert peer[0] == lab.hostA.public[0]
            server.close()
        assert take(sink, 0) is None
        assert take(sock, 0) is None


@pytest.mark.parametrize("behindNat", [False, True])
def test_rendezvous(makeLab, behindNat):
    """
    The rendezvous is reached at both public addresses, and answers from them,
    also behind a 1:1 NAT; it sees who asks.
    """
    lab = makeLab("portrestricted", "open", delay=0, rendezvousNat=behindNat)
    own = lab.rendezvous.addresses[:2]
    assert lab.rendezvous.public[:2] == ["203.0.113.10", "203.0.113.11"]
    assert (own == ["10.9.0.10", "10.9.0.11"]) is behindNat
    rendezvous = Observatory(lab)
    with udp(lab.hostA, port=PORT) as sock:
        for place in rendezvous.sockets:
            mapped = rendezvous.observe(sock, place)
            assert mapped == (lab.hostA.public[0], PORT)
            rendezvous.sockets[place].sendto(b"answer", mapped)
            assert expect(sock) == (b"answer", place)


@pytest.mark.parametrize("behindNat", [False, True])
def test_rendezvous6(makeLab, behindNat):
    """
    The rendezvous has two IPv6 addresses without any NAT.
    """
    lab = makeLab("ipv6", "open", delay=0, rendezvousNat=behindNat)
    rendezvous = Observatory(lab, lab.rendezvous.addresses[2:])
    with udp(lab.hostA, "::", PORT) as sock:
        for place in rendezvous.sockets:
            assert rendezvous.observe(sock, place)[0] == lab.hostA.addresses[1]


@pytest.mark.parametrize("kind", ["fullcone", "restricted", "portrestricted", "cgnat"])
def test_lifetime(makeLab, kind):
    """
    A binding lives as long as it is used, and ends soon after.
    """
    lab = makeLab(kind, "open", delay=0, udpTimeout=2)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    mapped = (lab.hostA.public[0], PORT)
    for _ in range(5):
        a.sendto(b"refresh", (lab.hostB.address, PORT))
        expect(b)
        time.sleep(0.5)
    b.sendto(b"in time", mapped)
    assert expect(a)[0] == b"in time"
    time.sleep(3.1)
    b.sendto(b"too late", mapped)
    assert take(a, 0.1) is None
    a.sendto(b"anew", (lab.hostB.address, PORT))
    expect(b)
    b.sendto(b"again", mapped)
    assert until(a, b"again") == set()


def test_lifetimeUnset(makeLab):
    """
    Without a given lifetime, bindings outlive two seconds.
    """
    lab = makeLab("fullcone", "open", delay=0)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    a.sendto(b"once", (lab.hostB.address, PORT))
    _, mapped = expect(b)
    time.sleep(2.1)
    b.sendto(b"still there", mapped)
    assert expect(a)[0] == b"still there"
