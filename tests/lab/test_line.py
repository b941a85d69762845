"""
The delay line: what crosses the public network takes its time, or gets lost.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time

import pytest

from punchd.testing.lab import waitFor
from punchd.testing.lab.line import Conditions, Line
from tests.lab.probing import PORT, Observatory, expect, punch, take, udp

_UDP_SEGMENT = 103

#: What even the quickest of many round trips may take besides.
_LATE = 0.02


def _roundTrips(sock, place, echo, count=15):
    """
    Measure round trips in seconds: C{echo} answers to what it hears.
    """
    found = []
    for n in range(count):
        start = time.monotonic()
        sock.sendto(b"%d" % n, place)
        data, source = expect(echo)
        echo.sendto(data, source)
        assert expect(sock)[0] == data
        found.append(time.monotonic() - start)
    return found


@pytest.mark.parametrize("delay", [0.025, 0.1])
def test_delay(makeLab, delay):
    """
    Each crossing of the public network takes the delay, never less, and no other
    way takes any: two of them are a round trip between hosts, or to the rendezvous.
    """
    lab = makeLab("portrestricted", "open", delay=delay)
    rendezvous = Observatory(lab)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    times = _roundTrips(a, (lab.hostB.address, PORT), b)
    assert 2 * delay <= min(times) < 2 * delay + _LATE
    times = _roundTrips(a, rendezvous.main, rendezvous.sockets[rendezvous.main])
    assert 2 * delay <= min(times) < 2 * delay + _LATE


def test_delay6(makeLab):
    """
    IPv6 crosses the same line.
    """
    lab = makeLab("ipv6", "ipv6", delay=0.025)
    rendezvous = Observatory(lab, lab.rendezvous.addresses[2:])
    a = udp(lab.hostA, "::", PORT)
    times = _roundTrips(a, rendezvous.main, rendezvous.sockets[rendezvous.main])
    assert 0.05 <= min(times) < 0.05 + _LATE


def test_sameNatIsNear(makeLab):
    """
    Between hosts on one network there is no delay.
    """
    lab = makeLab("lan", "lan", delay=0.1)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    times = _roundTrips(a, (lab.hostB.address, PORT), b)
    assert min(times) < 0.1
    assert lab.line.counts()["passed"] == 0


def test_noLine(makeLab):
    """
    Without delay and loss no program is in the way.
    """
    assert makeLab("open", "open", delay=0).line is None


def test_punchThroughLine(makeLab):
    """
    Punching works across the line, too.
    """
    lab = makeLab("portrestricted", "restricted", delay=0.005)
    assert punch(lab, Observatory(lab))


def _numbered(lab, count, batch=100):
    """
    Send numbered packets from A to B.

    @return: the numbers that came, in order.
    """
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    found: list[int] = []
    with a, b:
        for start in range(0, count, batch):
            for n in range(start, start + batch):
                a.sendto(b"%d" % n, (lab.hostB.address, PORT))
            waitFor(lambda: _over(lab) == start + batch, what="the line")  # noqa: B023
            # What has passed the line may still be on its way to the socket.
            while len(found) < lab.line.counts()["passed"]:
                found.append(int(expect(b)[0]))
        assert take(b, 0) is None
    assert lab.line.counts()["dropped"] == 0
    return found


def _over(lab):
    counts = lab.line.counts()
    return counts["passed"] + counts["lost"]


def test_loss(makeLab):
    """
    The percentage is lost, and with the same seed the same packets.
    """
    count = 3000
    runs = [
        _numbered(makeLab("open", "open", delay=0, loss=10, seed=seed), count)
        for seed in (1, 1, 2)
    ]
    for run in runs:
        assert run == sorted(run)
        assert 0.07 * count < count - len(run) < 0.13 * count
    assert runs[0] == runs[1] != runs[2]


def test_lossChanges(makeLab):
    """
    The conditions can be changed at any time.
    """
    lab = makeLab("open", "open", delay=0.001)
    assert len(_numbered(lab, 200)) == 200
    lab.line.set(loss=100)
    before = lab.line.counts()["lost"]
    with udp(lab.hostA) as a:
        a.sendto(b"x", (lab.hostB.address, PORT))
        waitFor(lambda: lab.line.counts()["lost"] == before + 1)


def test_trainsLoseCars(makeLab):
    """
    Of segments sent as one train (UDP_SEGMENT), each takes its own chance.
    """
    lab = makeLab("open", "open", delay=0.001, loss=50)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    a.setsockopt(socket.SOL_UDP, _UDP_SEGMENT, 1000)
    for n in range(10):
        a.sendto(bytes([n]) * 10_000, (lab.hostB.address, PORT))
    waitFor(lambda: _over(lab) == 100)
    arrived = [0] * 10
    for _ in range(int(lab.line.counts()["passed"])):
        car = expect(b)[0]
        assert len(car) == 1000
        arrived[car[0]] += 1
    assert any(0 < n < 10 for n in arrived)


def test_trainsCross(makeLab):
    """
    Without loss a train crosses the line as one, and arrives cut and whole.
    """
    lab = makeLab("portrestricted", "open", delay=0.001)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    a.setsockopt(socket.SOL_UDP, _UDP_SEGMENT, 1200)
    a.sendto(bytes(range(10)) * 1200, (lab.hostB.address, PORT))
    got = b"".join(expect(b)[0] for _ in range(10))
    assert got == bytes(range(10)) * 1200
    assert lab.line.counts()["passed"] == 1


def test_jitter(makeLab):
    """
    Jitter makes packets later, but keeps their order.
    """
    lab = makeLab("open", "open", delay=0.01, jitter=0.02)
    found = _numbered(lab, 300)
    assert found == list(range(300))
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    times = _roundTrips(a, (lab.hostB.address, PORT), b, 20)
    assert min(times) >= 0.02
    assert max(times) - min(times) > 0.005


def test_reorder(makeLab):
    """
    On order some packets overtake the others; none is lost.
    """
    found = _numbered(makeLab("open", "open", delay=0.05, reorder=20), 300)
    assert found != sorted(found)
    assert sorted(found) == list(range(300))


@pytest.mark.parametrize("loss", [0, 1])
def test_stream(makeLab, loss):
    """
    A TCP stream arrives unharmed, with segments as large as the kernel makes them
    or, with loss, cut; nothing is dropped that was not to be lost.
    """
    size = 20_000_000 if loss == 0 else 1_000_000
    lab = makeLab("portrestricted", "open", delay=0.005, loss=loss)
    data = struct.pack("!I", 0xC0FFEE) * (size // 4)
    listening = lab.hostB.socket(socket.AF_INET, socket.SOCK_STREAM)
    client = lab.hostA.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listening, client:
        listening.bind(("", PORT))
        listening.listen()
        client.settimeout(30)
        client.connect((lab.hostB.address, PORT))
        server, _ = listening.accept()
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        digest, left = hashlib.sha256(), size
        with server:
            server.settimeout(30)
            while left and (piece := server.recv(1 << 20)):
                digest.update(piece)
                left -= len(piece)
        sender.join()
    assert digest.digest() == hashlib.sha256(data).digest()
    counts = lab.line.counts()
    assert counts["dropped"] == 0
    assert (counts["lost"] > 0) is (loss > 0)


def test_rate(makeLab):
    """
    A sender has so many bytes a second; what finds no room to wait is dropped.
    """
    lab = makeLab("open", "open", delay=0.005)
    lab.line.set(rate=50_000, queue=10_000)
    before = lab.line.counts()

    def grown(name):
        return lab.line.counts()[name] - before[name]

    start = time.monotonic()
    with udp(lab.hostA) as a, udp(lab.hostB, port=PORT):
        for _ in range(400):
            a.sendto(bytes(972), (lab.hostB.address, PORT))
        waitFor(lambda: grown("passed") + grown("dropped") >= 400, what="the line")
    assert time.monotonic() - start >= grown("passed") / 2 * 1000 / 50_000
    assert grown("dropped") > 0


def _packet(host, size):
    header = bytes(10) + b"\x45" + bytes(11) + socket.inet_aton(host)
    return header.ljust(10 + size, b"\0")


def test_turns():
    """
    Each sender's packets wait in order for its rate, and nobody else's.
    """
    line = Line.__new__(Line)
    line.free, line.latest = {}, {}
    line.conditions = Conditions(delay=1.0, rate=1000.0, queue=2000.0)
    one, other = _packet("192.0.2.1", 1000), _packet("192.0.2.2", 500)
    assert [line.dueAt(one, 10.0) for _ in range(3)] == [12.0, 13.0, None]
    assert line.dueAt(other, 10.0) == 11.5
    assert line.dueAt(one, 11.5) == 14.0
    assert line.dueAt(one, 20.0) == 22.0
