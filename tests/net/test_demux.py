"""
Who gets what arrives at the punching socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from punchd.interfaces import IBatchReceiver
from punchd.net.demux import Demux, _ufragOf
from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, indication, request, success
from tests.net.sockets import BatchInbox, Inbox

HERE = ("192.0.2.1", 1)
SERVER = ("203.0.113.1", 3478)
PEER = ("198.51.100.7", 700)
OTHER = ("198.51.100.8", 800)
STRANGER = ("198.51.100.9", 900)

ID = bytes(range(12))
QUIC = b"\x43" + bytes(50)


def check(username: str | None = "ours:theirs") -> bytes:
    """
    @return: a Binding request for that user name.
    """
    message = request(Method.BINDING, ID, (Attribute.PRIORITY, 7))
    if username is not None:
        message.add(Attribute.USERNAME, username)
    return message.serialize(key=b"password")


ANSWER = success(request(Method.BINDING, ID)).serialize()


@pytest.fixture
def demux() -> Demux:
    """
    A demultiplexer.
    """
    return Demux()


def test_interface(demux: Demux) -> None:
    """
    It can be given to a port.
    """
    assert verifyObject(IBatchReceiver, demux)


def test_bySource(demux: Demux) -> None:
    """
    What comes from a registered address goes to who registered it, whatever the
    bytes look like.
    """
    server, peer = Inbox(), Inbox()
    demux.register(SERVER, server)
    demux.register(PEER, peer)
    for data in (QUIC, ANSWER, check(), check(None), b"", b"\x00junk"):
        demux.datagramReceived(data, HERE, SERVER)
        demux.datagramReceived(data, HERE, PEER)
    assert server.data == peer.data
    assert len(peer.data) == 6
    assert peer.received[0] == (QUIC, HERE, PEER)
    assert demux.counters == {}


def test_byUfrag(demux: Demux) -> None:
    """
    A request goes to whom it names, also from the address of another session.
    """
    ours, peer = Inbox(), Inbox()
    demux.registerUfrag("ours", ours)
    demux.register(PEER, peer)
    demux.datagramReceived(check(), HERE, STRANGER)
    demux.datagramReceived(check(), HERE, PEER)
    demux.datagramReceived(check("elsewhose:theirs"), HERE, PEER)
    assert [remote for _, _, remote in ours.received] == [STRANGER, PEER]
    assert peer.data == [check("elsewhose:theirs")]
    demux.unregisterUfrag("ours")
    demux.unregisterUfrag("ours")
    demux.datagramReceived(check(), HERE, STRANGER)
    assert len(ours.received) == 2
    assert demux.counters == {"unknown ufrag": 1}


def test_unknownSources(demux: Demux) -> None:
    """
    From an unknown source nothing passes but a request that names one of ours.
    """
    ours = Inbox()
    demux.registerUfrag("ours", ours)
    leave = indication(Method.BINDING, ID, (Attribute.USERNAME, "ours:x"))
    for data in (QUIC, ANSWER, leave.serialize(), check(None), b"", check("ours")):
        demux.datagramReceived(data, HERE, STRANGER)
    demux.datagramReceived(check("others:x"), HERE, STRANGER)
    assert ours.received == []
    assert demux.counters == {"unknown source": 6, "unknown ufrag": 1}


def test_oneAddressTwice(demux: Demux) -> None:
    """
    Naming another's address takes nothing away from the other.
    """
    first, second = Inbox(), Inbox()
    for inbox in (first, second, second):
        demux.register(PEER, inbox)
    demux.datagramReceived(QUIC, HERE, PEER)
    demux.unregister(PEER, second)
    demux.unregister(PEER, Inbox())
    demux.datagramReceived(QUIC, HERE, PEER)
    demux.unregister(PEER, first)
    demux.unregister(PEER, first)
    demux.datagramReceived(QUIC, HERE, PEER)
    assert (len(first.data), len(second.data)) == (2, 1)
    assert demux.counters == {"unknown source": 1}


def test_batches(demux: Demux) -> None:
    """
    Runs for one receiver stay together, and in order; others get theirs one by
    one.
    """
    batched, single = BatchInbox(), Inbox()
    demux.register(PEER, batched)
    demux.register(OTHER, single)
    demux.registerUfrag("ours", single)
    order = [PEER, PEER, PEER, STRANGER, OTHER, OTHER, PEER]
    demux.datagramsReceived([(QUIC + bytes([n]), HERE, r) for n, r in enumerate(order)])
    demux.datagramsReceived([(check(), HERE, PEER), (QUIC, HERE, PEER)])
    assert batched.batches == [3, 1, 1]
    assert [data[-1] for data in batched.data] == [0, 1, 2, 6, 0]
    assert [data[-1] for data in single.data[:2]] == [4, 5]
    assert single.data[2] == check()
    demux.datagramsReceived([])


def test_failingReceiver(
    demux: Demux, flushLoggedErrors: Callable[..., list[Any]]
) -> None:
    """
    A receiver that raises keeps nothing from the others.
    """

    class Choking(Inbox):
        def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
            raise KeyError(data)

    peer = Inbox()
    demux.register(PEER, Choking())
    demux.register(PEER, peer)
    demux.datagramReceived(QUIC, HERE, PEER)
    assert peer.data == [QUIC]
    assert len(flushLoggedErrors(KeyError)) == 1


def test_receiverThatUnregisters(demux: Demux) -> None:
    """
    A receiver may unregister while it is served.
    """

    class Once(Inbox):
        def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
            super().datagramReceived(data, local, remote)
            demux.unregister(PEER, self)

    once, peer = Once(), Inbox()
    demux.register(PEER, once)
    demux.register(PEER, peer)
    demux.datagramReceived(QUIC, HERE, PEER)
    demux.datagramReceived(QUIC, HERE, PEER)
    assert (len(once.data), len(peer.data)) == (1, 2)


@given(st.binary(max_size=120), st.booleans())
def test_garbage(data: bytes, stun: bool) -> None:
    """
    Arbitrary bytes from anywhere raise nothing.
    """
    if stun:
        size = (len(data) & ~3).to_bytes(2, "big")
        data = b"\0\1" + size + b"\x21\x12\xa4\x42" + ID + data[: len(data) & ~3]
    demux = Demux()
    demux.registerUfrag("ours", Inbox())
    demux.datagramReceived(data, HERE, STRANGER)
    assert demux.counters.total() == 1


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_ufrag(ours: str, theirs: str) -> None:
    """
    The name before the colon is found where a parser would find it.
    """
    ours = ours.replace(":", "-")
    found = _ufragOf(check(f"{ours}:{theirs}"))
    assert found == ours.encode().decode("ascii", "replace")
