"""
What the agents tell each other of the session's datagrams.
"""

from __future__ import annotations

from punchd.ice.events import PairReported
from tests.ice.link import established


def test_reports() -> None:
    """
    What of the session arrives at one side is known to the other after one
    probe, on the pair where it arrived and on no other.
    """
    link, a, b, pair = established()
    (theirs,) = b.agent.validPairs
    for size in (100, 1200, 300):
        b.agent.sessionDatagramReceived(size, *theirs.key, link.now)
    b.agent.sessionDatagramReceived(1, ("10.0.2.2", 1), theirs.key[1], link.now)
    assert b.agent.garbage["session datagram off any pair"] == 1
    assert pair.reported is not None
    assert pair.reported.value == (0, 0)
    a.events.clear()
    a.agent.probe(pair, link.now)
    link.run(0.06)
    assert a.all(PairReported) == [PairReported(pair)]
    assert pair.reported.value == (3, 1200)


def test_reportInTheirCheck() -> None:
    """
    The peer's check carries its report as well as its response does.
    """
    link, a, b, pair = established()
    (theirs,) = b.agent.validPairs
    b.agent.sessionDatagramReceived(1200, *theirs.key, link.now)
    a.events.clear()
    b.agent.probe(theirs, link.now)
    link.run(0.03)
    assert [e for _, e in a.events] == [PairReported(pair)]
    assert pair.reported is not None
    assert pair.reported.value == (1, 1200)
