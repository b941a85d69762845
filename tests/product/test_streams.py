"""
Hosts that UDP does not reach, in virtual time: the session runs over a relay that
is reached by TCP or by TLS.
"""

from __future__ import annotations

import pytest

from .talk import RTT, firstByte, product

DATA = bytes(range(251)) * 8000


@pytest.mark.parametrize(
    ("kindA", "kindB", "transports"),
    [
        ("udpblocked", "portrestricted", ("tcp", "udp")),
        ("portrestricted", "udpblocked", ("udp", "tcp")),
        ("tcp443", "portrestricted", ("tls", "udp")),
        ("tcp443", "tcp443", ("tls", "tls")),
    ],
)
def test_blocked(kindA: str, kindB: str, transports: tuple[str, str]) -> None:
    """
    The first byte is back in the time that it takes over UDP, two megabytes arrive
    as they were, and the status names the transport.
    """
    with product(kindA, kindB, seen=False) as pair:
        stream, collector, seconds = firstByte(pair)
        assert seconds < 4.5 * RTT
        stream.write(DATA)
        pair.network.runUntil(collector.whenReceived(len(DATA) + 5), 50.0)
        assert collector.received[5:] == DATA
        for client, transport in zip((pair.a, pair.b), transports):
            (session,) = client.status()["sessions"]
            path = session["path"]
            assert (path["kind"], path["strategy"]) == ("relayed", "relay")
            assert path["transport"] == transport
