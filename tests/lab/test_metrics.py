"""
What Prometheus reads of a rendezvous.
"""

from __future__ import annotations

import re

from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool


def test_metrics(product):
    """
    A relayed session shows in what C{curl} gets from loopback, and nobody gets it
    from elsewhere.
    """
    running = product(
        "symmetric",
        "symmetric",
        a=["--forward=tcp:7000=b/echo", "--path=relay"],
        b=["--publish=echo=tcp:127.0.0.1:7"],
        rendezvous=["--metrics=tcp:9100"],
    )
    lab = running.lab
    tool(lab.hostB, "echo", 7)
    with connect(lab.hostA, 7000) as sock:
        assert echoed(sock, b"x" * 20_000) == b"x" * 20_000
    space = running.hosts["rendezvous"]
    url = "http://127.0.0.1:9100/metrics"

    def number(line: str) -> float:
        text = space.run(["curl", "-sS", "--fail", url], capture_output=True).stdout
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    kind = 'family="ipv4",transport="udp"'
    assert number("punchd_clients") == 2
    assert number("punchd_dials_total") >= 1
    assert number(f"punchd_allocations{{{kind}}}") >= 1
    relayed = f'punchd_relayed_bytes_total{{direction="to_client",{kind}}}'
    assert number(relayed) > 20_000
    waitFor(
        lambda: number('punchd_event_loop_lag_seconds_bucket{le="+Inf"}') > 0,
        10,
        "the event loop to be measured",
    )
    outside = url.replace("127.0.0.1", "203.0.113.10")
    refused = lab.hostA.run(["curl", "-sS", "-m", "5", outside], capture_output=True)
    assert refused.returncode != 0
