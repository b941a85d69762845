"""
What a test can do to the lab while it runs, and what it can see.
"""

from __future__ import annotations

import socket
import sys

import pytest

from punchd.testing.lab import LabError, waitFor
from tests.lab.probing import PORT, Observatory, expect, punch, take, udp, until


def _pass(a, b, address, data=b"through"):
    """
    Send from one socket to the other.

    @return: whether it came.
    """
    a.sendto(data, address)
    got = take(b, 0.1)
    return got is not None and got[0] == data


@pytest.mark.parametrize("kind", ["portrestricted", "open", "cgnat"])
@pytest.mark.parametrize("side", ["routerA", "routerB"])
def test_dropDirect(makeLab, kind, side):
    """
    Dropping what is direct stops both directions, not the way to the rendezvous,
    and afterwards the same hole is there again.
    """
    lab = makeLab(kind, "portrestricted", delay=0)
    rendezvous = Observatory(lab)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    toA, toB = rendezvous.observe(a), rendezvous.observe(b)
    a.sendto(b"punch", toB)
    b.sendto(b"punch", toA)
    a.sendto(b"punch", toB)
    expect(a)
    expect(b)
    router = lab.routers[side]
    router.dropDirect()
    while take(a, 0) or take(b, 0):
        pass
    assert not _pass(a, b, toB)
    assert not _pass(b, a, toA)
    assert rendezvous.observe(a) == toA
    assert rendezvous.observe(b) == toB
    router.restore()
    assert _pass(a, b, toB)
    assert _pass(b, a, toA)


def test_dropDirectOnOneNetwork(makeLab):
    """
    Hosts behind one NAT can be kept apart, too.
    """
    lab = makeLab("lan", "lan", delay=0)
    rendezvous = Observatory(lab)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    toB = (lab.hostB.address, PORT)
    assert _pass(a, b, toB)
    lab.routerA.dropDirect()
    assert not _pass(a, b, toB)
    rendezvous.observe(a)
    lab.routerA.restore()
    assert _pass(a, b, toB)


def test_dropDirect6(makeLab):
    """
    IPv6 between the hosts is dropped as well.
    """
    lab = makeLab("ipv6", "ipv6", delay=0)
    a, b = udp(lab.hostA, "::", PORT), udp(lab.hostB, "::", PORT)
    toA, toB = (lab.hostA.addresses[1], PORT), (lab.hostB.addresses[1], PORT)
    a.sendto(b"punch", toB)
    b.sendto(b"punch", toA)
    expect(a)
    lab.routerB.dropDirect()
    assert not _pass(a, b, toB)
    lab.routerB.restore()
    assert _pass(a, b, toB)


def test_dropUDP(makeLab):
    """
    UDP stops, TCP goes on; cutting the cable stops that, too.
    """
    lab = makeLab("portrestricted", "open", delay=0)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    place = (lab.hostB.address, PORT)
    listening = lab.hostB.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(place)
    listening.listen()
    lab.routerA.dropUDP()
    assert not _pass(a, b, place)
    with lab.hostA.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(place)
    lab.routerA.dropAll()
    with lab.hostA.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.connect(place)
    lab.routerA.restore()
    assert _pass(a, b, place)
    listening.close()


@pytest.mark.parametrize("kind", ["portrestricted", "fullcone"])
def test_forget(makeLab, kind):
    """
    A router that has lost its bindings lets nobody in until the host speaks.
    """
    lab = makeLab(kind, "open", delay=0)
    rendezvous = Observatory(lab)
    sock = udp(lab.hostA, port=PORT)
    mapped = rendezvous.observe(sock)
    assert _pass(rendezvous.sockets[rendezvous.main], sock, mapped)
    lab.routerA.forget()
    assert not _pass(rendezvous.sockets[rendezvous.main], sock, mapped)
    rendezvous.observe(sock)
    assert _pass(rendezvous.sockets[rendezvous.main], sock, mapped)


def test_badRule(makeLab):
    """
    A rule that nft does not take is an error of the caller.
    """
    lab = makeLab("open", "open", delay=0)
    with pytest.raises(LabError, match="nft in routerA"):
        lab.routerA.drop("nonsense")


def test_counters(makeLab):
    """
    A router knows how many packets left for whom.
    """
    lab = makeLab("symmetric", "ipv6", delay=0)
    rendezvous = Observatory(lab)
    with udp(lab.hostA) as sock:
        for _ in range(3):
            rendezvous.observe(sock)
        rendezvous.observe(sock, rendezvous.otherPort)
        for _ in range(5):
            sock.sendto(b"x", ("192.0.2.77", 9))
    waitFor(lambda: lab.routerA.sentTo("192.0.2.77") == 5)
    host = rendezvous.main[0]
    assert lab.routerA.sent() == {
        (host, 3478): 3,
        (host, 3479): 1,
        ("192.0.2.77", 9): 5,
    }
    assert lab.routerA.sentTo(host) == 4
    assert lab.routerA.sentTo(host, 3478) == 3
    assert lab.routerA.sentTo("192.0.2.78") == 0
    lab.routerA.resetCounters()
    assert lab.routerA.sent() == {}
    six = lab.rendezvous.addresses[2]
    with udp(lab.hostB, "::") as sock:
        sock.sendto(b"x", (six, 5000))
    waitFor(lambda: lab.routerB.sent() == {(six, 5000): 1})
    assert lab.routerB.sent("tcp") == {}


def _seen(capture, count):
    """
    @return: the packets that a capture has seen, once there are so many: the first
        ones leave when the router has told its hardware address.
    """
    found = []

    def enough():
        found.extend(capture.packets(0.1))
        return len(found) >= count

    waitFor(enough, what=f"{count} packets")
    return found


def test_capture(makeLab):
    """
    A capture sees what passes, and only what it was asked for.
    """
    lab = makeLab("portrestricted", "ipv6", delay=0)
    everything = lab.capture(lab.hostA, protocol="udp")
    toForged = lab.capture(lab.public, "192.0.2.77")
    to6 = lab.capture(lab.public, "2001:db8:c::10", protocol="udp")
    with udp(lab.hostA, port=PORT) as sock:
        sock.sendto(b"one", ("203.0.113.10", 7))
        sock.sendto(b"two", ("192.0.2.77", 8))
    with udp(lab.hostB, "::", PORT) as sock:
        sock.sendto(b"three", ("2001:db8:c::10", 9))
        sock.sendto(b"four", ("2001:db8:c::11", 9))
    seen = _seen(everything, 2)
    assert [p.data for p in seen] == [b"one", b"two"]
    assert seen[0].source == (lab.hostA.address, PORT)
    assert seen[0].destination == ("203.0.113.10", 7)
    assert seen[0].outgoing
    assert seen[0].ttl == 64
    forged = _seen(toForged, 1)
    assert {p.data for p in forged if p.protocol == "udp"} == {b"two"}
    assert forged[0].ttl == 63
    assert {p.data for p in _seen(to6, 1)} == {b"three"}
    assert everything.packets() == []


def test_run(makeLab, tmp_path):
    """
    Programs run inside, with the same interpreter, and leave a log.
    """
    lab = makeLab("open", "portrestricted", delay=0)
    done = lab.hostB.run(["ip", "-br", "address"], capture_output=True, check=True)
    assert lab.hostB.address in done.stdout
    script = "import sys; print(sys.executable); sys.exit('oh')"
    log = tmp_path / "log"
    process = lab.hostB.python("-c", script, log=log)
    assert process.wait(20) == 1
    assert log.read_text().split() == [sys.executable, "oh"]


def test_servers(makeLab):
    """
    A program inside and a socket of the test talk to each other.
    """
    lab = makeLab("portrestricted", "portrestricted", delay=0)
    script = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.bind(('203.0.113.11', 3478)); print('ready', flush=True)\n"
        "data, source = s.recvfrom(99); s.sendto(data[::-1], source)"
    )
    process = lab.rendezvous.python("-c", script, stdout=-1)
    assert process.stdout.readline() == b"ready\n"
    with udp(lab.hostA) as sock:
        sock.sendto(b"abc", ("203.0.113.11", 3478))
        assert until(sock, b"cba") == set()
    assert process.wait(20) == 0


def test_twoLabs(makeLab):
    """
    Labs run side by side with the same addresses and know nothing of each other.
    """
    first = makeLab("portrestricted", "restricted", delay=0)
    second = makeLab("portrestricted", "restricted", delay=0)
    assert first.hostA.addresses == second.hostA.addresses
    assert punch(first, Observatory(first))
    assert second.routerA.sent() == {}
    assert punch(second, Observatory(second))
