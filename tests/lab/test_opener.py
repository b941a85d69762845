"""
Packets that open our own firewall only, over IPv6, as kernels count their hops.
"""

from __future__ import annotations

import random

import pytest

from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool

pytestmark = pytest.mark.timeout(120)

_PORT, _FORWARD = 7, 7000


def test_six(product):
    """
    The first packet of who begins leaves his firewall with a hop limit of 1, and never
    comes to the other one; the path becomes direct over IPv6.
    """
    running = product(
        "ipv6",
        "ipv6",
        delay=0.025,
        a=[f"--forward=tcp:{_FORWARD}=b/echo"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
    )
    lab = running.lab

    def known():
        return [running.status(letter)["nat"]["openerTtl"] for letter in "ab"]

    waitFor(lambda: known() == [2, 2], 30, "the hop limits")
    tool(lab.hostB, "echo", _PORT)
    [six] = [host for host in lab.hostA.public if ":" in host]
    watch = {"host": six, "interface": "wan", "protocol": "udp"}
    near = lab.capture(lab.routerB, **watch)
    far = lab.capture(lab.routerA, **watch)
    sock = connect(lab.hostA, _FORWARD)
    early = random.randbytes(1000)
    assert echoed(sock, early) == early
    for letter in "ab":
        running.whenPath("direct", letter, 30)
    path = running.session("a")["path"]
    assert (path["strategy"], path["remote"][0]) == ("ipv6", "[")
    # Each check has a transaction of its own.
    left = [p for p in near.packets() if p.outgoing and p.destination[0] == six]
    openers = {p.data for p in left if p.ttl == 1}
    came = {p.data for p in far.packets(0.1) if p.destination[0] == six}
    assert left[0].data in openers
    assert openers.isdisjoint(came)
    assert {p.data for p in left if p.ttl > 1} & came
