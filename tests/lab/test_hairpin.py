"""
Whether a NAT leads back inside what is sent to its own outside address, as the
punching socket finds out by itself (RFC 5780, 4.5).
"""

from __future__ import annotations

import pytest

from punchd.testing.lab import waitFor

pytestmark = pytest.mark.timeout(120)

_PORT = 40404


@pytest.mark.parametrize(
    ("kind", "hairpin"), [("hairpin", True), ("restricted", False)]
)
def test_punchingSocket(product, kind, hairpin):
    """
    C{status} tells it, and the router has seen the question leave the punching
    socket's port for the outside address of us.
    """
    running = product(kind, "open", a=[f"--port={_PORT}"])

    def surveyed():
        return "Our NAT: mapping" in running.log("a").read_text()

    waitFor(surveyed, 30, "the survey")
    assert running.status("a")["nat"]["hairpin"] is hairpin
    router, host = running.lab.routerA, running.lab.hostA
    words = ["conntrack", "-L", "-p", "udp", f"--orig-src={host.address}"]
    words += [f"--sport={_PORT}", f"--orig-dst={host.public[0]}"]
    found = router.run(words, capture_output=True, check=True).stdout
    assert found.count("src=") >= 2
