"""
How far away the public network begins, as kernels' routers tell.
"""

from __future__ import annotations

import pytest

from punchd.testing.lab import waitFor

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("kindA", "kindB", "delay", "ttls"),
    [
        ("portrestricted", "cgnat", 0.025, [2, 3]),
        # A constant of 3 would reach the far router here.
        ("open", "portrestricted", 0, [1, 2]),
    ],
)
def test_measured(product, kindA, kindB, delay, ttls):
    """
    Each client knows the hop limit that opens its own NATs only, soon after its
    registration.
    """
    running = product(kindA, kindB, delay=delay)

    def known():
        return [running.status(letter)["nat"]["openerTtl"] for letter in "ab"]

    waitFor(lambda: known() == ttls, 30, f"the hop limits {ttls}")
    for letter in "ab":
        assert "Packets that only open our NAT" in running.log(letter).read_text()
