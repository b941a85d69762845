"""
What happens when nothing happens.
"""

from __future__ import annotations

import random
import time

import pytest

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
