"""
Ports that are stuck in a router, and sides that no server sees: the whole product gets
through by the strategies for such.
"""

from __future__ import annotations

import pytest

from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool

#: They mostly wait, but on a busy machine for long.
pytestmark = pytest.mark.timeout(120)

_PUNCHING, _PORT, _FORWARD = 45000, 7, 7000


def _start(product, kindA, kindB):
    return product(
        kindA,
        kindB,
        a=[f"--forward=tcp:{_FORWARD}=b/echo", f"--port={_PUNCHING}"],
        b=[f"--publish=echo=tcp:127.0.0.1:{_PORT}"],
    )


def _wedge(router):
    """
    What A's punching socket sends to the other side leads nowhere.
    """
    rules = "\n".join(
        f"udp sport {_PUNCHING} ip daddr {host} drop"
        for host in router.peers
        if ":" not in host
    )
    router.nft(
        "table inet stuck { chain forward { type filter hook forward priority 0;\n"
        f"{rules}\n}}\n}}\n"
    )


def _getThrough(running, strategy, sides=2):
    """
    @param sides: how many of them tell that it was this strategy.

    @return: the verdicts of its success, once both sides are direct by it.
    """
    lab = running.lab
    tool(lab.hostB, "echo", _PORT)
    sock = connect(lab.hostA, _FORWARD)
    assert echoed(sock, b"early") == b"early"

    def paths():
        return [running.session(letter)["path"] for letter in "ab"]

    def direct():
        return all(path["kind"] == "direct" for path in paths())

    # An attempt may miss; the next one comes half a minute later.
    waitFor(direct, 60, "a direct path")
    assert echoed(sock, b"late") == b"late"
    assert strategy in {path["strategy"] for path in paths()}
    assert {path["transport"] for path in paths()} == {"udp"}

    def succeeded():
        found = [
            verdict
            for letter in "ab"
            for verdict in running.session(letter)["verdicts"]
            if (verdict["strategy"], verdict["outcome"]) == (strategy, "succeeded")
        ]
        return found if len(found) >= sides else []

    # Who has a path may still be about to write down how.
    return waitFor(succeeded, 30, f"{sides} verdicts")


def test_fresh(product):
    """
    A punching socket that is stuck is left for a fresh one.
    """
    running = _start(product, "portrestricted", "portrestricted")
    _wedge(running.lab.routerA)
    assert len(_getThrough(running, "fresh")) == 2


def test_reversal(product):
    """
    So it is where its NAT gives any port, by a peer that lets everybody in; no port is
    guessed.
    """
    running = _start(product, "symmetric", "fullcone")

    def known():
        return running.status("b")["nat"]["filtering"] == "endpoint-independent"

    waitFor(known, 30, "the survey of B's NAT")
    _wedge(running.lab.routerA)
    for verdict in _getThrough(running, "reversal", sides=1):
        assert verdict["evidence"]["probes"] <= 8


def test_optimistic(product):
    """
    A side whose firewall knows the port of STUN servers, and drops it, is found at the
    port of its socket.
    """
    running = _start(product, "portrestricted", "portrestricted")
    running.lab.routerB.drop("udp dport 3478", "udp sport 3478")
    running.end("b")
    running.restart("b")

    def connected():
        try:
            return running.status("b")["rendezvous"]["connected"]
        except OSError:
            return False

    waitFor(connected, 30, "the registration of B")
    assert len(_getThrough(running, "optimistic")) == 2
