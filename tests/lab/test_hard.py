"""
The whole product behind NATs whose ports have to be predicted or found, and
behind such as an early packet upsets.
"""

from __future__ import annotations

import random

import pytest

from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool

#: They mostly wait, but on a busy machine for long.
pytestmark = pytest.mark.timeout(120)

_PORT, _FORWARD = 7, 7000

#: How many bytes are echoed: far more than checks and keepalives need.
_PLENTY = 1 << 20

#: A, B, and the strategies that may find the path.  Without the low-TTL opener,
#: the last two take a fresh socket, by another strategy: B's first check comes
#: before A has sent anything, and takes the port.
_PAIRS = [
    ("portrestricted", "sequential", {"predicted"}),
    ("sequential", "portrestricted", {"predicted"}),
    ("portrestricted", "sequential2", {"predicted"}),
    ("sequential", "sequential", {"predicted"}),
    ("block1024", "portrestricted", {"spray"}),
    ("portrestricted", "noinputfilter", {"srflx", "prflx"}),
    ("noinputfilter", "portrestricted", {"srflx", "prflx"}),
    ("noinputfilter", "noinputfilter", {"srflx", "prflx"}),
]


@pytest.mark.parametrize(("kindA", "kindB", "strategies"), _PAIRS)
def test_hard(product, kindA, kindB, strategies):
    """
    The path becomes direct, by the strategy for such NATs, and carries the data.
    """
    running = product(
        kindA,
        kindB,
        a=[f"--forward=tcp:{_FORWARD}=b/echo"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
    )
    lab = running.lab
    tool(lab.hostB, "echo", _PORT)
    sock = connect(lab.hostA, _FORWARD)
    early = random.randbytes(1000)
    assert echoed(sock, early) == early

    def paths():
        return [running.session(letter)["path"] for letter in "ab"]

    def direct():
        return all(path["kind"] == "direct" for path in paths())

    # An attempt may miss; the next one comes half a minute later.
    waitFor(direct, 60, "a direct path")
    for router in lab.routers.values():
        router.resetCounters()
    plenty = random.randbytes(_PLENTY)
    assert echoed(sock, plenty) == plenty
    assert {path["strategy"] for path in paths()} <= strategies
    for router, peer in ((lab.routerA, lab.hostB), (lab.routerB, lab.hostA)):
        crossed = sum(router.sentTo(host, unit="bytes") for host in peer.public)
        assert crossed > _PLENTY, router
