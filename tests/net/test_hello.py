"""
What a client of TLS would speak, from the first thing that it says.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from punchd.net.hello import isWhole, offeredProtocols
from punchd.net.tls import SIGNALING, TURN, TURN_TOGETHER


def hello(protocols: Sequence[bytes], newest: int = 0) -> bytes:
    """
    @return: what OpenSSL says first.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(newest)
    if protocols:
        context.set_alpn_protos(list(protocols))
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(1 << 16)


def put(data: bytes, size: int) -> bytes:
    """
    @return: data behind its length.
    """
    return len(data).to_bytes(size, "big") + data


def made(extensions: bytes, ciphers: bytes = b"\x13\x01", more: bytes = b"") -> bytes:
    """
    @return: a hello by hand.
    """
    body = b"\x03\x03" + bytes(32) + put(b"", 1) + put(ciphers, 2) + put(b"\0", 1)
    body += put(extensions, 2) + more
    return b"\x16\x03\x01" + put(b"\x01" + put(body, 3), 2)


def alpn(*names: bytes) -> bytes:
    """
    @return: the extension.
    """
    listed = put(b"".join(put(each, 1) for each in names), 2)
    return b"\x00\x10" + put(listed, 2)


@pytest.mark.parametrize("newest", [0, SSL.TLS1_2_VERSION])
@pytest.mark.parametrize(
    "protocols", [[], [TURN], [TURN_TOGETHER, TURN], [b"h2", SIGNALING, TURN]]
)
def test_real(protocols: list[bytes], newest: int) -> None:
    """
    The names that a real client offers are found, however much comes behind them, and
    not before all of the hello is there.
    """
    data = hello(protocols, newest)
    assert [isWhole(data[:size]) for size in range(len(data))] == [False] * len(data)
    for each in (data, data + b"more"):
        assert isWhole(each)
        assert offeredProtocols(each) == protocols
    for size in range(len(data)):
        assert offeredProtocols(data[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x02\x00" + made(alpn(TURN))[3:],
        made(alpn(TURN) + alpn(SIGNALING)),
        made(alpn(TURN), ciphers=b"\x13"),
        made(alpn(TURN), more=b"\0"),
        made(alpn(TURN)[:-1]),
        made(alpn(b"")),
        made(b"\x00\x10" + put(put(put(TURN, 1), 2) + b"\0", 2)),
        made(b"\x00\x10" + put(put(b"", 2), 2)),
        b"\x16\x03\x01" + put(made(alpn(TURN))[5:] + b"\x01", 2),
        b"\x16\x03\x01" + put(made(alpn(TURN))[5:40], 2) + b"\x16\x03\x01" + bytes(99),
    ],
    ids=range(12),
)
def test_unusual(data: bytes) -> None:
    """
    What is against the rules, or in several records, is not understood; nothing waits
    for more of it.
    """
    assert isWhole(data)
    assert offeredProtocols(data) is None


def test_usualByHand() -> None:
    """
    What those are made of is understood.
    """
    assert offeredProtocols(made(alpn(TURN, SIGNALING))) == [TURN, SIGNALING]
    assert offeredProtocols(made(b"")) == []


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    """
    Nothing raises, and a connection is not waited for without end.
    """
    assert offeredProtocols(data) in (None, [])
    assert isWhole(data + bytes(1 << 15)) or not data


@given(st.data())
def test_damaged(data: st.DataObject) -> None:
    """
    A hello that was changed somewhere raises nothing.
    """
    whole = bytearray(
        made(alpn(TURN, SIGNALING) + b"\x00\x2b" + put(b"\x02\x03\x04", 2))
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    found = offeredProtocols(bytes(whole))
    assert found is None or isinstance(found, list)
