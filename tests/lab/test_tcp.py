"""
The whole product where UDP does not get from one host to the other, but TCP does.
"""

from __future__ import annotations

import random

import pytest

from punchd.testing.lab import Lab, waitFor
from tests.lab.tools import connect, echoed, tool

#: They mostly wait, but on a busy machine for long.
pytestmark = pytest.mark.timeout(120)

_PORT, _FORWARD = 7, 7000


def dropUDP(lab: Lab) -> None:
    """
    Let no UDP through between the hosts; the rendezvous is reached by all means.
    """
    peers = [(f, host) for host in lab.routerA.peers for f in ("ip", "ip6")]
    lab.routerA.drop(
        *(
            f"meta l4proto udp {f} {way} {host}"
            for f, host in peers
            if (":" in host) == (f == "ip6")
            for way in ("saddr", "daddr")
        )
    )


@pytest.mark.parametrize("kind", ["portrestricted", "ipv6"])
def test_tcp(product, kind):
    """
    The path becomes direct over TCP.
    """
    running = product(
        kind,
        kind,
        a=[f"--forward=tcp:{_FORWARD}=b/echo"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
        prepare=dropUDP,
    )
    tool(running.lab.hostB, "echo", _PORT)
    sock = connect(running.lab.hostA, _FORWARD)
    early = random.randbytes(1000)
    assert echoed(sock, early) == early

    def paths():
        return [running.session(letter)["path"] for letter in "ab"]

    waitFor(lambda: all(path["kind"] == "direct" for path in paths()), 60, "direct")
    for path in paths():
        assert (path["transport"], path["strategy"]) == ("tcp", "tcp")
        assert (":" in path["remote"].rpartition(":")[0]) == (kind == "ipv6")
    plenty = random.randbytes(1 << 20)
    assert echoed(sock, plenty) == plenty
    print(kind, [running.session(letter)["secondsToDirect"] for letter in "ab"])
