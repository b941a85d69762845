"""
The whole product behind NATs whose ports have to be predicted or found, and
behind such as an early packet upsets.
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

#: How many bytes are echoed: far more than checks and keepalives need.
_PLENTY = 1 << 20

_HARD = grid().representative("hard")


@pytest.mark.parametrize("cell", _HARD, ids=lambda cell: cell.name)
def test_hard(product, cell):
    """
    The path becomes direct, by the strategy for such NATs, and carries the data.
    """
    strategies, crossed = _getThrough(product, cell)
    assert strategies <= cell.by
    assert min(crossed) > _PLENTY


def test_foreign(product):
    """
    So it does where both NATs hand out ports in a row to many other people, too.
    """
    cell = grid().cell("sequential", "sequential")
    strategies, crossed = _getThrough(product, cell, foreign=35.0)
    assert strategies == {"predicted"}
    assert min(crossed) > _PLENTY


def _getThrough(product, cell, **options):
    """
    Wait for a direct path, and echo much over it.

    @return: the strategies of both sides' paths, and how many bytes each router has
        sent to the other side meanwhile.
    """
    running = product(
        *cell.kinds,
        a=[f"--forward=tcp:{_FORWARD}=b/echo"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
        **options,
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
    return {path["strategy"] for path in paths()}, [
        sum(router.sentTo(host, unit="bytes") for host in peer.public)
        for router, peer in ((lab.routerA, lab.hostB), (lab.routerB, lab.hostA))
    ]
