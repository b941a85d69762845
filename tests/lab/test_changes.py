"""
A transfer whose path is changed again and again.
"""

from __future__ import annotations

import pytest

from punchd.testing.lab import waitFor

from .changing import Changing, report
from .transfers import MB, Sink, Source, arrived

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


@pytest.mark.timeout(120)
def test_relayReturnsToUDP(product, record_property):
    """
    A session that is relayed goes over TCP where all UDP is cut, and over UDP again
    when that passes; 60 MB that flow all the time arrive as they were given.
    """
    running = product(
        a=["--forward=tcp:9000=b/sink", "--path=relay"],
        b=["--publish=sink=tcp:127.0.0.1:9000", "--path=relay"],
    )
    lab = running.lab
    sink = Sink(lab.hostB, 9000)
    sink.start()
    source = Source(lab.hostA, 9000, 60 * MB, rate=MB, last=5 * MB)
    source.start()

    def reachedBy(transport):
        def reached():
            session = running.session("a")
            return session is not None and session["path"]["transport"] == transport

        waitFor(reached, 45, f"a relay by {transport}")
        sink.whenHas(sink.count + MB)

    running.whenPath("relayed")
    reachedBy("udp")
    lab.routerA.dropUDP()
    reachedBy("tcp")
    lab.routerA.restore()
    sink.takeStall()
    reachedBy("udp")
    # The former address is given up meanwhile.
    sink.whenHas(sink.count + 10 * MB)
    stall = sink.takeStall()
    source._rate = 0.0
    source.finish()
    arrived(source, sink, 100)
    print(f"the longest silence on the way back to UDP: {stall:.2f} s")
    record_property("stall", stall)
    assert stall < _SECONDS
