"""
Tests for L{punchd.session.backend}.
"""

from __future__ import annotations

from typing import Any, cast

from punchd.session.backend import Connection, Qh3
from punchd.session.quic import VIRTUAL


class Public:
    """
    A connection without anything internal.
    """

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """
        Two, with where to.
        """
        return [(b"one", VIRTUAL), (b"two", VIRTUAL)]


def test_shortWay() -> None:
    """
    The short way gives what the public one gives of a connection in the same state.
    """
    qh3 = Qh3()
    sizes = []
    for take in (
        lambda c: qh3.datagramsToSend(c, 1.0),
        lambda c: [data for data, _ in c.datagrams_to_send(1.0)],
    ):
        connection = qh3.client()
        assert take(connection) == []
        connection.connect(VIRTUAL, 1.0)
        sizes.append([len(data) for data in take(connection)])
        assert take(connection) == []
    assert sizes[0] == sizes[1] != []


def test_withoutShortWay() -> None:
    """
    Should the library change inside, the public way is taken.
    """
    connection = cast(Connection, Public())
    assert Qh3().datagramsToSend(connection, 0.0) == [b"one", b"two"]
