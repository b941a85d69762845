"""
Hosts behind one NAT, and other people behind the same: what the lab makes of them.
"""

from __future__ import annotations

import time

import pytest

from punchd.testing.lab import waitFor
from tests.lab.probing import PORT, Observatory, expect, take, udp, until


@pytest.mark.parametrize("isolated", [False, True])
def test_hairpin(makeLab, isolated):
    """
    Hosts behind a NAT that does hairpinning reach each other by their outside
    addresses, and are seen there by these, whether or not their own network
    joins them.
    """
    lab = makeLab("hairpin", "hairpin", delay=0, sameNat=True, isolated=isolated)
    rendezvous = Observatory(lab)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT + 1)
    mappedA, mappedB = rendezvous.observe(a), rendezvous.observe(b)
    a.sendto(b"by the LAN", (lab.hostB.address, PORT + 1))
    a.sendto(b"by the outside address", mappedB)
    found = until(b, b"by the outside address")
    assert found == (set() if isolated else {"by the LAN"})
    b.sendto(b"back", mappedA)
    assert expect(a) == (b"back", mappedB)


def test_isolated(makeLab):
    """
    Without hairpinning, neighbours that their network keeps from each other
    are out of each other's reach.
    """
    lab = makeLab("portrestricted", "portrestricted", sameNat=True, isolated=True)
    rendezvous = Observatory(lab)
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT + 1)
    mapped = rendezvous.observe(b)
    a.sendto(b"by the LAN", (lab.hostB.address, PORT + 1))
    a.sendto(b"by the outside address", mapped)
    rendezvous.sockets[rendezvous.main].sendto(b"that was all", mapped)
    assert until(b) == set()
    assert take(b, 0) is None


@pytest.mark.parametrize("kind", ["sequential", "cgnat-sequential"])
def test_foreign(makeLab, kind):
    """
    Other people's flows take ports of the outermost NAT.
    """
    lab = makeLab(kind, "open", delay=0, foreign=200.0)
    rendezvous = Observatory(lab)
    with udp(lab.hostA) as sock:
        _, first = rendezvous.observe(sock)
    looks = 0

    def taken() -> int:
        nonlocal looks
        time.sleep(0.2)
        looks += 1
        with udp(lab.hostA) as sock:
            _, port = rendezvous.observe(sock)
        # Each look takes a port, too.
        return port - first - looks

    assert waitFor(lambda: taken() > 20, 20, "the flows of others")
