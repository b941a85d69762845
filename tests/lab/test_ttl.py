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
        ("portrestricted", "cgnat", 0.025, {"a": 2, "b": 3}),
        # A constant of 3 would reach the far router here.
        ("open", "portrestricted", 0, {"a": 1, "b": 2}),
    ],
)
def test_measured(product, kindA, kindB, delay, ttls):
    """
    Each client knows the hop limit that opens its own NATs only, soon after its
    registration.
    """
    running = product(kindA, kindB, delay=delay)
    for letter, ttl in ttls.items():
        waitFor(
            lambda letter=letter, ttl=ttl: (
                running.status(letter)["nat"]["openerTtl"] == ttl
            ),
            10,
            f"the hop limit of {letter}",
        )
