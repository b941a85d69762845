"""
Requests whose attributes make no sense (RFC 8656, 7.2: 400).
"""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Method, parse, request
from punchd.turn.methods import REQUESTS
from tests.turn.link import OTHER, PEER, REALM, Link, Raw

_GOOD = b"\0\x19\0\4\x11\0\0\0"  # REQUESTED-TRANSPORT, UDP


def signed(raw: Raw, method: int, attributes: bytes, key: bytes | None = None) -> bytes:
    """
    @return: a request with these bytes for attributes, besides the credentials.
    """
    message = request(method, raw.link.entropy(12))
    message.add(Attribute.USERNAME, raw.username)
    message.add(Attribute.REALM, REALM).add(Attribute.NONCE, raw.nonce)
    data = message.serialize(fingerprint=False) + attributes
    data = data[:2] + (len(data) + 4).to_bytes(2, "big") + data[4:]
    made = hmac.digest(raw.key if key is None else key, data, "sha1")
    return data + b"\0\x08\0\x14" + made


@pytest.mark.parametrize(
    ("method", "attributes"),
    [
        (Method.ALLOCATE, b"\0\x19\0\1\x11\0\0\0"),
        (Method.ALLOCATE, _GOOD + b"\0\x18\0\0"),
        (Method.ALLOCATE, _GOOD + b"\0\x22\0\4abcd"),
        (Method.ALLOCATE, _GOOD + b"\0\x17\0\1\1\0\0\0"),
        (Method.ALLOCATE, _GOOD + b"\0\x0d\0\0"),
        (Method.ALLOCATE, _GOOD + b"\0\x1a\0\4\0\0\0\0"),
        (Method.REFRESH, b"\0\x0d\0\2\0\0\0\0"),
        (Method.CREATE_PERMISSION, b"\0\x12\0\x08\0\x09\0\0\1\2\3\4"),
        (Method.CREATE_PERMISSION, b"\0\x12\0\x08\0\2\0\0\1\2\3\4"),
        (Method.CHANNEL_BIND, b"\0\x0c\0\2\x40\0\0\0"),
    ],
    ids=str,
)
def test_badValue(method: int, attributes: bytes) -> None:
    """
    A value of a wrong length or kind is answered with 400, and changes nothing.
    """
    link = Link()
    raw = Raw(link)
    if method != Method.ALLOCATE:
        raw.allocate()
    before = list(link.ports.live)
    (sent,) = raw.send(signed(raw, method, attributes))
    answer = parse(sent.data)
    assert answer.checkIntegrity(raw.key)
    assert answer.get(Attribute.ERROR_CODE)[0] == 400
    assert link.ports.live == before


_SIZES = st.sampled_from([0, 1, 2, 4, 8, 20])
_VALUES = _SIZES.flatmap(
    lambda size: st.one_of(
        st.binary(min_size=size, max_size=size),
        st.just(bytes(size)),
        st.sampled_from([b"\1", b"\2", b"\x11", b"\x40"]).map(
            lambda first: first.ljust(size, b"\0")
        ),
    )
)
_ATTRIBUTES = st.lists(st.tuples(st.sampled_from(Attribute), _VALUES), max_size=5)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(REQUESTS)),
            st.lists(st.sampled_from([_GOOD, b"\0\x17\0\4\2\0\0\0"]), max_size=1),
            _ATTRIBUTES,
        ),
        min_size=1,
        max_size=6,
    )
)
def test_whateverIsSaid(requests: list[tuple[int, list[bytes], Any]]) -> None:
    """
    Whatever somebody says who has authenticated, each request has one answer.
    """
    own = (
        Attribute.USERNAME,
        Attribute.REALM,
        Attribute.NONCE,
        Attribute.MESSAGE_INTEGRITY,
        Attribute.MESSAGE_INTEGRITY_SHA256,
        Attribute.FINGERPRINT,
    )
    raw = Raw(Link())
    for method, good, attributes in requests:
        data = b"".join(good)
        for kind, value in attributes:
            if kind not in own:
                data += int(kind).to_bytes(2, "big") + len(value).to_bytes(2, "big")
                data += value + bytes(-len(value) % 4)
        (sent,) = raw.send(signed(raw, method, data))
        assert sent.remote == raw.address
        assert parse(sent.data).method == method


def test_familyZero() -> None:
    """
    No family is not IPv4.
    """
    link = Link()
    answer = Raw(link).allocate((Attribute.REQUESTED_ADDRESS_FAMILY, 0))
    assert answer.get(Attribute.ERROR_CODE)[0] == 440
    assert link.ports.live == []


def test_strangersLearnNothing() -> None:
    """
    Who has not proven who he is gets 401, whatever he says.
    """
    raw = Raw(Link(), OTHER)
    bad = b"\0\x19\0\1\x11\0\0\0"
    (sent,) = raw.send(signed(raw, Method.ALLOCATE, bad, b"guessed"))
    assert parse(sent.data).get(Attribute.ERROR_CODE)[0] == 401
    assert len(sent.data) <= 112


def test_besidesGoodOnes() -> None:
    """
    Of a CreatePermission with a peer that cannot be read, none is permitted.
    """
    link = Link()
    raw = Raw(link)
    raw.allocate()
    good = request(
        Method.CREATE_PERMISSION, bytes(12), (Attribute.XOR_PEER_ADDRESS, PEER)
    ).serialize(fingerprint=False)[20:]
    bad = b"\0\x12\0\x04\0\1\0\0"
    (sent,) = raw.send(signed(raw, Method.CREATE_PERMISSION, good + bad))
    assert parse(sent.data).get(Attribute.ERROR_CODE)[0] == 400
    assert link.server.allocations()[0].permissions == {}
    (sent,) = raw.send(signed(raw, Method.CREATE_PERMISSION, good))
    assert parse(sent.data).get(Attribute.ERROR_CODE) is None
    assert (Attribute.REQUESTED_TRANSPORT, UDP) in parse(
        signed(raw, Method.ALLOCATE, _GOOD)
    ).attributes
