"""
A transfer that begins together with its session.
"""

from __future__ import annotations

import pytest

from .talk import product


@pytest.mark.parametrize("kind", ["symmetric", "portrestricted"])
def test_bulkFromTheStart(kind: str) -> None:
    """
    Three megabytes go there and back in seconds though they begin over the
    rendezvous, which the first path overtakes: nothing is taken for lost, which
    would end QUIC's slow start and cost many seconds.
    """
    data = bytes(range(251)) * 12000
    with product(kind, kind) as pair:
        began = pair.clock.seconds()
        stream, collector = pair.open()
        stream.write(data)
        got = collector.whenReceived(len(data))
        assert pair.network.runUntil(got, 120.0) == data
        assert pair.clock.seconds() - began < 2.5
