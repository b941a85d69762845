"""
The whole product behind every pair of NATs: which path it finds, that the data
goes there, and what it says about it.
"""

from __future__ import annotations

import random

import pytest

from punchd.testing.grid import grid
from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool

#: They mostly wait, but on a busy machine for long.
pytestmark = pytest.mark.timeout(120)

_PORT, _FORWARD = 7, 7000

_DIRECT = [cell.kinds for cell in grid().representative("checks")]
_SPRAYED = [cell.kinds for cell in grid().representative("spray")]
_RELAYED = [cell.kinds for cell in grid().representative("relay")]

#: How many bytes are echoed, to see which way they go: far more than checks and
#: keepalives need in that time.
_PLENTY = 1 << 20


def _start(product, kindA, kindB, *, before=lambda lab: None, **options):
    """
    B publishes an echo, A forwards a port to it and connects.

    @param before: called with the lab before A dials.
    @return: the product and the connection.
    """
    running = product(
        kindA,
        kindB,
        a=[f"--forward=tcp:{_FORWARD}=b/echo"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
        **options,
    )
    tool(running.lab.hostB, "echo", _PORT)
    before(running.lab)
    return running, connect(running.lab.hostA, _FORWARD)


def _carry(running, sock, kind):
    """
    Echo through the forward, once both sides have a path of this kind.

    @return: the paths that A and B report afterwards.
    """
    early = random.randbytes(1000)
    assert echoed(sock, early) == early
    for letter in "ab":
        running.whenPath(kind, letter)
    for router in running.lab.routers.values():
        router.resetCounters()
    plenty = random.randbytes(_PLENTY)
    assert echoed(sock, plenty) == plenty
    found = [running.session(letter)["path"] for letter in "ab"]
    assert [path["kind"] for path in found] == [kind] * 2
    assert [path["transport"] for path in found] == ["udp"] * 2
    return found


def _crossed(router, hosts):
    """
    How many bytes a router has sent over the public network to one of them.
    """
    return sum(router.sentTo(host, unit="bytes") for host in hosts)


def _assertCrossed(lab, kind):
    """
    The kernel has seen the bytes go where this kind of path leads: between the
    hosts, or to the rendezvous.
    """
    for router, peer in ((lab.routerA, lab.hostB), (lab.routerB, lab.hostA)):
        direct = _crossed(router, peer.public)
        relayed = _crossed(router, lab.rendezvous.public)
        most, least = (direct, relayed) if kind == "direct" else (relayed, direct)
        assert most > _PLENTY, router
        assert least < _PLENTY / 4, router


def _why(running, letter):
    """
    What C{punchd why} says of the other side.
    """
    other = "b" if letter == "a" else "a"
    return running.ask(letter, "why", peer=running.ids[other])["text"]


def _verdicts(running, letter):
    """
    How the checks for direct paths ended.
    """
    verdicts = running.session(letter)["verdicts"]
    return [each["reason"] for each in verdicts if each["strategy"] == "checks"]


@pytest.mark.parametrize(("kindA", "kindB"), _DIRECT)
def test_direct(product, kindA, kindB):
    """
    The path is direct, and ends at the public address of the other side.
    """
    running, sock = _start(product, kindA, kindB)
    paths = _carry(running, sock, "direct")
    _assertCrossed(running.lab, "direct")
    assert {path["strategy"] for path in paths} <= {"srflx", "prflx"}
    hosts = [path["remote"].partition(":")[0] for path in paths]
    assert hosts == [running.lab.hostB.public[0], running.lab.hostA.public[0]]
    assert "is direct (through a hole" in _why(running, "a")
    assert [_verdicts(running, letter) for letter in "ab"] == [["proven"]] * 2


@pytest.mark.parametrize(("kindA", "kindB"), _SPRAYED)
def test_sprayed(product, kindA, kindB):
    """
    Where one side's ports are random and the other's are not, trying many finds
    a hole, within the budget, while the relay carries the data.
    """
    running, sock = _start(product, kindA, kindB)
    early = random.randbytes(1000)
    assert echoed(sock, early) == early

    def direct():
        paths = [running.session(letter)["path"] for letter in "ab"]
        return all(path["kind"] == "direct" for path in paths)

    # One spray in 500 finds nothing; the next one comes half a minute later.
    waitFor(direct, 100, "a direct path")
    paths = _carry(running, sock, "direct")
    _assertCrossed(running.lab, "direct")
    assert {path["strategy"] for path in paths} == {"spray"}
    assert "found by trying many ports" in _why(running, "a")
    for letter in "ab":
        session = running.session(letter)
        (verdict,) = [
            each
            for each in session["verdicts"]
            if each["strategy"] == "spray" and each["outcome"] == "succeeded"
        ]
        assert verdict["evidence"]["sockets"] <= 256
        assert verdict["evidence"]["probes"] <= 1750


@pytest.mark.parametrize(("kindA", "kindB"), _RELAYED)
def test_relayed(product, kindA, kindB):
    """
    No hole can be made: the path is relayed, and stays so when all has been tried.
    C{punchd why} names the NAT that is the cause.
    """
    running, sock = _start(product, kindA, kindB)
    paths = _carry(running, sock, "relayed")
    _assertCrossed(running.lab, "relayed")
    assert [path["strategy"] for path in paths] == ["relay", "relay"]
    said = _why(running, "a")
    assert ("being tried" in said) is not ("no check was answered" in said)

    waitFor(lambda: all(_verdicts(running, x) for x in "ab"), 20, "verdicts")
    for letter in "ab":
        path = running.session(letter)["path"]
        assert path["kind"] == "relayed"
        # One of the two relays is enough.
        ends = [path[end].partition(":")[0] for end in ("local", "remote")]
        assert ends.count(running.lab.rendezvous.public[0]) == 1
    for letter, kind in (("a", kindA), ("b", kindB)):
        other = "b" if letter == "a" else "a"
        said = running.punchd(letter, "why", other).stdout
        assert said.startswith(f"The path to {other} goes through the relay.")
        assert "no check was answered" in said
        own = "Your NAT gives every destination another port" in said
        assert own is (kind == "symmetric")


def test_narrow(product):
    """
    A hole that lets only small packets pass is none: the path stays relayed, and
    C{punchd why} tells that from no hole at all.
    """

    def before(lab):
        for router in (lab.routerA, lab.routerB):
            router.drop(
                *(f"ip daddr {peer} udp length > 1100" for peer in router.peers)
            )

    kind = "portrestricted"
    running, sock = _start(product, kind, kind, before=before)
    _carry(running, sock, "relayed")
    waitFor(lambda: _verdicts(running, "a"), 20, "a verdict")
    assert _verdicts(running, "a") == ["one-way"]
    _assertCrossed(running.lab, "relayed")
    assert "no full-size datagram arrived" in _why(running, "a")


def test_open(product):
    """
    Two public hosts need no hole.
    """
    running, sock = _start(product, "open", "open")
    paths = _carry(running, sock, "direct")
    _assertCrossed(running.lab, "direct")
    assert [path["strategy"] for path in paths] == ["host", "host"]
    assert "without any NAT in between" in _why(running, "b")


@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
def test_sameNat(product, kind):
    """
    Two hosts behind one NAT talk on their own network.
    """
    running, sock = _start(product, kind, kind, sameNat=True)
    lab = running.lab
    paths = _carry(running, sock, "direct")
    assert [path["strategy"] for path in paths] == ["host", "host"]
    for path, space in zip(paths, (lab.hostB, lab.hostA)):
        assert path["remote"].startswith(f"{space.address}:")
    assert sum(lab.routerA.sent(unit="bytes").values()) < _PLENTY / 4


@pytest.mark.parametrize(
    ("kind", "path", "strategies"),
    [
        ("hairpin", "direct", {"srflx", "prflx"}),
        ("portrestricted", "relayed", {"relay"}),
    ],
)
def test_isolated(product, kind, path, strategies):
    """
    Two hosts behind one NAT that their own network keeps apart meet by a hairpin,
    else at the relay.
    """
    running, sock = _start(product, kind, kind, sameNat=True, isolated=True)
    paths = _carry(running, sock, path)
    assert {each["strategy"] for each in paths} <= strategies
    out = sum(running.lab.routerA.sent(unit="bytes").values())
    # By a hairpin nothing crosses the public network.
    assert (out > _PLENTY) is (path == "relayed")


def test_ipv6(product):
    """
    Where IPv4 is hopeless, there is a hole in the firewalls for IPv6.
    """
    running, sock = _start(product, "ipv6", "ipv6")
    lab = running.lab
    paths = _carry(running, sock, "direct")
    _assertCrossed(lab, "direct")
    assert [path["strategy"] for path in paths] == ["ipv6", "ipv6"]
    for path, space in zip(paths, (lab.hostB, lab.hostA)):
        assert path["remote"].startswith(f"[{space.addresses[1]}]:")
    assert "over IPv6" in _why(running, "a")


@pytest.mark.parametrize(
    ("kind", "path", "public"),
    [
        ("portrestricted", "direct", ["203.0.113.10"]),
        ("portrestricted", "direct", ["203.0.113.10=10.9.0.10"]),
        ("symmetric", "relayed", ["203.0.113.10"]),
        (
            "symmetric",
            "relayed",
            ["203.0.113.10=10.9.0.10", "203.0.113.11=10.9.0.11"],
        ),
    ],
)
def test_rendezvousBehindNat(product, kind, path, public):
    """
    The rendezvous may be behind a 1:1 NAT when it is told its public address;
    nobody ever hears of its private one.
    """
    running, sock = _start(
        product,
        kind,
        kind,
        rendezvousNat=True,
        rendezvous=[f"--public={each}" for each in public],
    )
    assert running.url.startswith("punch://203.0.113.10:")
    _carry(running, sock, path)
    _assertCrossed(running.lab, path)
    for letter in "ab":
        nat = running.status(letter)["nat"]
        host = running.hosts[letter].public[0]
        assert [each.partition(":")[0] for each in nat["publicAddresses"]] == [host]
    for router in running.lab.routers.values():
        assert not any(host.startswith("10.") for host, _ in router.sent())
