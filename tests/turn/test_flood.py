"""
An allocation flood: keys are free, so a network is what is limited.
"""

from __future__ import annotations

import gc
import tracemalloc

from punchd.stun.attributes import Attribute
from punchd.turn.channeldata import channelData
from punchd.turn.credentials import makeCredentials
from tests.turn.link import PEER, SECRET, WALL, Link, Raw


def flood(link: Link, begin: int, count: int) -> int:
    """
    Allocate with that many keys, from as many addresses of one /24.

    @return: how many got something.
    """
    got = 0
    for number in range(begin, begin + count):
        credentials = makeCredentials(SECRET, f"key{number}", WALL + link.now + 9999)
        address = (f"198.51.100.{number % 250}", 1024 + number % 60000)
        answer = Raw(link, address, *credentials).allocate()
        code = answer.get(Attribute.ERROR_CODE, (0, ""))[0]
        assert code in (0, 486)
        got += code == 0
    return got


def test_manyKeysOfOneNetwork() -> None:
    """
    However many keys there are behind one prefix, they get what a network may have;
    somebody elsewhere is served meanwhile, with its data.
    """
    link = Link()
    honest = Raw(link, ("192.0.2.9", 9))
    assert honest.allocate().get(Attribute.ERROR_CODE) is None
    assert honest.bind(0x4000, PEER) == 0
    assert flood(link, 0, 1000) == 256
    assert link.server.counters["486 by network"] == 744
    assert len(link.ports.live) == 257
    other = Raw(link, ("203.0.113.99", 9))
    assert other.allocate().get(Attribute.ERROR_CODE) is None
    (sent,) = honest.send(channelData(0x4000, b"unharmed"))
    assert (sent.data, sent.remote) == (b"unharmed", PEER)


def test_manyAddressesOfIPv6() -> None:
    """
    A /56 of IPv6 is one network as well.
    """
    link = Link()
    got = 0
    for number in range(400):
        credentials = makeCredentials(SECRET, f"k{number}", WALL + link.now + 99)
        source = (f"2001:db8:0:{number % 256:x}::{number:x}", 1024)
        answer = Raw(link, source, *credentials).allocate()
        got += answer.get(Attribute.ERROR_CODE) is None
    assert got == 256


def test_floodLeavesNothing() -> None:
    """
    When the flood has expired, no memory of its keys is left, however many of
    them there were.
    """
    link = Link()
    flood(link, 0, 600)
    link.advance(601)
    assert link.ports.live == []
    tracemalloc.start()
    try:
        flood(link, 1000, 600)
        link.advance(601)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for turn in range(2, 6):
            flood(link, 1000 * turn, 600)
            link.advance(601)
            link.server.takeEvents()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
    assert link.server.allocations() == []
    assert link.server.deadline() is None
