"""
A transfer whose path is changed again and again.
"""

from __future__ import annotations

import pytest

from .changing import Changing, report
from .transfers import MB

#: Seconds for data to go on where all UDP is cut; a busy machine takes a bit longer.
_SECONDS = 2.0 * 3

_CHANGES = ("relay", "direct", "address", "relay", "direct")


@pytest.mark.timeout(180)
def test_changes(product, record_property):
    """
    200 MB arrive as they were given, over direct paths, the relay and from another
    address, in the same session.
    """
    running = product(
        a=["--forward=tcp:9000=b/sink"], b=["--publish=sink=tcp:127.0.0.1:9000"]
    )
    changing = Changing(running, 200 * MB, 4 * MB)
    began = running.session("a")["pathChanges"]
    changes = [changing.change(what) for what in _CHANGES]
    changing.end()
    session = running.session("a")
    assert session["pathChanges"] >= began + len(_CHANGES) - 1
    assert session["pathChangeReason"]
    print(report(changes))
    record_property("stalls", [round(each.stall, 2) for each in changes])


@pytest.mark.timeout(120)
def test_udpIsCut(product, record_property):
    """
    60 MB arrive as they were given though all UDP of one host is cut on the way: the
    session goes on over TCP, soon, and comes back afterwards.
    """
    running = product(
        a=["--forward=tcp:9000=b/sink"], b=["--publish=sink=tcp:127.0.0.1:9000"]
    )
    changing = Changing(running, 60 * MB, 4 * MB)
    cut, back = (changing.change(what) for what in ("tcp", "direct"))
    changing.end()
    print(report([cut, back]))
    record_property("stall", round(cut.stall, 2))
    assert cut.stall < _SECONDS
