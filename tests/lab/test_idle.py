"""
What happens when nothing happens.
"""

from __future__ import annotations

import random
import time

import pytest

from punchd.testing.lab.namespaces import waitFor
from tests.lab.tools import connect, echoed, tool

#: The life of UDP bindings at all NATs, and how long nothing is said, in seconds.
_LIFE, _SILENCE = 20, 90

_PAIRS = [
    ("portrestricted", "portrestricted", "direct"),
    ("restricted", "symmetric", "direct"),
    ("symmetric", "symmetric", "relayed"),
]


def _paths(running):
    """
    What must not change: both sides' paths, and how often they changed.
    """
    found = []
    for letter in "ab":
        session = running.session(letter)
        path = session["path"]
        ends = path["kind"], path["strategy"], path["local"], path["remote"]
        found.append((session["state"], ends, session["pathChanges"]))
    return found


def _measured(running, letter):
    """
    @return: what a client tells of its NAT, once it knows the lifetime.
    """
    nat = running.status(letter)["nat"]
    return nat if nat["bindingLifetime"] else None


@pytest.mark.timeout(300)
def test_bindingLifetime(product):
    """
    An idle session is usable, on the same path, long after all bindings would have
    ended by themselves; so is a stream that said nothing all the time.
    """
    labs = []
    for kindA, kindB, kind in _PAIRS:
        running = product(
            kindA,
            kindB,
            a=["--forward=tcp:7000=b/echo"],
            b=["--publish=echo=tcp:127.0.0.1:7"],
            udpTimeout=_LIFE,
        )
        tool(running.lab.hostB, "echo", 7)
        sock = connect(running.lab.hostA, 7000)
        assert echoed(sock, b"early") == b"early"
        for letter in "ab":
            running.whenPath(kind, letter)
        labs.append((running, sock, kind))
    # The direct checks of the relayed one end before.
    time.sleep(10)
    before = [_paths(running) for running, _, _ in labs]
    time.sleep(_SILENCE)
    after = [_paths(running) for running, _, _ in labs]
    assert after == before
    for running, sock, kind in labs:
        for used in (sock, connect(running.lab.hostA, 7000)):
            data = random.randbytes(1 << 16)
            assert echoed(used, data) == data
        assert {running.path(letter) for letter in "ab"} == {kind}
    assert [_paths(running) for running, _, _ in labs] == before
    # Meanwhile the clients have found out how long a binding lives.
    running, _, _ = labs[0]
    for letter in "ab":
        nat = waitFor(lambda: _measured(running, letter), 60.0, "a lifetime")  # noqa: B023
        # The kernel's own clock ticks late rather than early.
        assert 0.7 * _LIFE <= nat["bindingLifetime"] <= 1.2 * _LIFE
        assert nat["keepaliveInterval"] <= 0.65 * nat["bindingLifetime"] + 0.001
        assert running.session(letter)["keepaliveInterval"] == nat["keepaliveInterval"]
