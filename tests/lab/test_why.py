"""
C{punchd why} names the cause of a relayed path, as its user sees it.
"""

from __future__ import annotations

import json

import pytest

from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("kindA", "kindB", "causes"),
    [
        ("symmetric", "symmetric", ["out-of-reach", "out-of-reach"]),
        ("tcp443", "portrestricted", ["udp-blocked-here", "udp-blocked-at-the-peer"]),
    ],
)
def test_cause(product, kindA, kindB, causes):
    """
    Each side tells the cause as it is from there, with what could be changed.
    """
    running = product(
        kindA,
        kindB,
        a=["--forward=tcp:7000=b/echo"],
        b=["--publish=echo=tcp:127.0.0.1:7"],
    )
    tool(running.lab.hostB, "echo", 7)
    sock = connect(running.lab.hostA, 7000)
    assert echoed(sock, b"hello") == b"hello"

    def told():
        return [
            json.loads(running.punchd(letter, "why", "--json", other).stdout)
            for letter, other in ("ab", "ba")
        ]

    waitFor(lambda: [each["cause"] for each in told()] == causes, 30, f"{causes}")
    for each in told():
        assert each["path"]["kind"] == "relayed"
        assert each["text"].startswith("The path to ")
        assert each["advice"]
