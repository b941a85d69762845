"""
Messages: what is written is read, and garbage is only ever malformed.
"""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import MalformedMessage
from punchd.stun.address import unpackHost
from punchd.stun.attributes import CODECS, Attribute
from punchd.stun.message import (
    MAX_ATTRIBUTES,
    Message,
    MessageClass,
    Method,
    failure,
    isMessage,
    parse,
    request,
    success,
)

ID = b"transactions"

addresses = st.tuples(
    st.one_of(
        st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
    ).map(unpackHost),
    st.integers(0, 0xFFFF),
)
u8, u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
opaque = st.binary(max_size=60)
codes = st.integers(300, 699)
algorithms = st.tuples(u16, opaque)
_FIXED = {
    Attribute.CHANNEL_NUMBER: u16,
    Attribute.REQUESTED_ADDRESS_FAMILY: u8,
    Attribute.REQUESTED_TRANSPORT: u8,
    Attribute.ADDITIONAL_ADDRESS_FAMILY: u8,
    Attribute.RESPONSE_PORT: u16,
    Attribute.CHANGE_REQUEST: u32,
    Attribute.LIFETIME: u32,
    Attribute.PRIORITY: u32,
    Attribute.ICE_CONTROLLED: u64,
    Attribute.ICE_CONTROLLING: u64,
    Attribute.USERNAME: texts,
    Attribute.REALM: texts,
    Attribute.SOFTWARE: texts,
    Attribute.ALTERNATE_DOMAIN: texts,
    Attribute.NONCE: opaque,
    Attribute.DATA: opaque,
    Attribute.PADDING: opaque,
    Attribute.USERHASH: st.binary(min_size=32, max_size=32),
    Attribute.RESERVATION_TOKEN: st.binary(min_size=8, max_size=8),
    Attribute.ICMP: st.tuples(st.integers(0, 127), st.integers(0, 511), u32),
    Attribute.EVEN_PORT: st.booleans(),
    Attribute.USE_CANDIDATE: st.just(True),
    Attribute.DONT_FRAGMENT: st.just(True),
    Attribute.ERROR_CODE: st.tuples(codes, texts),
    Attribute.ADDRESS_ERROR_CODE: st.tuples(u8, codes, texts),
    Attribute.OLD_ADDITIONAL_ADDRESS_FAMILY: u8,
    Attribute.OLD_ADDRESS_ERROR_CODE: st.tuples(u8, codes, texts),
    Attribute.UNKNOWN_ATTRIBUTES: st.lists(u16, max_size=8),
    Attribute.PASSWORD_ALGORITHM: algorithms,
    Attribute.PASSWORD_ALGORITHMS: st.lists(algorithms, max_size=3),
    Attribute.SESSION_REPORT: st.tuples(u32, u16),
}
VALUES: dict[int, st.SearchStrategy[Any]] = {
    int(each): _FIXED.get(each, addresses) for each in Attribute if each in CODECS
}
attributes = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.tuples(st.just(kind), VALUES[kind])
)
unknown = st.tuples(st.sampled_from([0x7FFE, 0xBEEF]), opaque)
messages = st.builds(
    Message,
    st.sampled_from(MessageClass),
    st.integers(0, 0xFFF),
    st.binary(min_size=12, max_size=12),
    st.lists(st.one_of(attributes, unknown), max_size=12),
)


@given(messages, st.none() | opaque, st.sampled_from(["sha1", "sha256", "both"]))
def test_roundTrip(message: Message, key: bytes | None, integrity: Any) -> None:
    """
    Every message is read as it was written, signed or not.
    """
    data = message.serialize(key=key, integrity=integrity)
    assert isMessage(data)
    read = parse(data)
    assert read == message
    assert read.hasFingerprint
    assert read.hasIntegrity == (key is not None)
    if key is not None:
        assert read.checkIntegrity(key)
        assert not read.checkIntegrity(key + b"?")


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    """
    Arbitrary bytes raise only MalformedMessage.
    """
    try:
        parse(data)
    except MalformedMessage:
        assert True


@given(
    st.binary(min_size=2, max_size=2),
    st.lists(st.tuples(st.sampled_from([*VALUES, 8, 28, 0x8028]), opaque), max_size=6),
)
def test_garbageAttributes(kind: bytes, values: list[tuple[int, bytes]]) -> None:
    """
    Nor do well-framed attributes with arbitrary values; what can be read can
    be written.
    """
    body = b"".join(
        each.to_bytes(2, "big")
        + len(value).to_bytes(2, "big")
        + value
        + bytes(-len(value) % 4)
        for each, value in values
    )
    head = bytes((kind[0] & 0x3F, kind[1])) + len(body).to_bytes(2, "big")
    try:
        message = parse(head + b"\x21\x12\xa4\x42" + ID + body)
    except MalformedMessage:
        return
    assert parse(message.serialize()).transactionId == ID


@given(messages, st.data())
def test_damage(message: Message, data: st.DataObject) -> None:
    """
    A byte that is changed under way is noticed by the fingerprint, unless the
    change makes it part of another attribute: then there is none.
    """
    whole = bytearray(message.serialize())
    at = data.draw(st.integers(0, len(whole) - 9))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        damaged = parse(bytes(whole))
    except MalformedMessage:
        return
    assert not damaged.hasFingerprint


def test_typeBits() -> None:
    """
    RFC 8489, 5: the class lies between the bits of the method.
    """
    binding = request(Method.BINDING, ID)
    assert binding.serialize()[:2] == b"\x00\x01"
    assert success(binding).serialize()[:2] == b"\x01\x01"
    assert failure(binding, 400).serialize()[:2] == b"\x01\x11"
    assert Message(MessageClass.INDICATION, 7, ID).serialize()[:2] == b"\x00\x17"
    assert Message(MessageClass.REQUEST, 0xFFF, ID).serialize()[:2] == b"\x3e\xef"


def test_firstOccurrenceCounts() -> None:
    """
    RFC 8489, 14: of several attributes of a type the first is used.
    """
    message = request(1, ID, (Attribute.PRIORITY, 1), (Attribute.PRIORITY, 2))
    assert message.get(Attribute.PRIORITY) == 1
    assert message.getAll(Attribute.PRIORITY) == [1, 2]
    assert message.get(Attribute.LIFETIME, 9) == 9


def test_nothingCountsAfterIntegrity() -> None:
    """
    RFC 8489, 14.5: what follows MESSAGE-INTEGRITY is not covered and dropped.
    """
    signed = request(1, ID).serialize(key=b"key", fingerprint=False)
    more = b"\x00\x25\x00\x00" + b"\x00\x06\x00\x04evil"
    length = (len(signed) + len(more) - 20).to_bytes(2, "big")
    message = parse(signed[:2] + length + signed[4:] + more)
    assert message.attributes == []
    assert message.checkIntegrity(b"key")


def test_strongerIntegrityDecides() -> None:
    """
    With both, SHA-256 is checked: breaking SHA-1 alone helps nobody.
    """
    message = request(1, ID)
    data = message.serialize(key=b"key", integrity="both", fingerprint=False)
    assert parse(data).checkIntegrity(b"key")
    assert not parse(data[:-1] + bytes((data[-1] ^ 1,))).checkIntegrity(b"key")


@pytest.mark.parametrize("length", [12, 16, 18, 20, 32, 36])
def test_truncatedSha256(length: int) -> None:
    """
    RFC 8489, 14.6: SHA-256 may be cut to 16 bytes, by fours, not to less.
    """
    size = length + -length % 4
    head = b"\0\1" + (4 + size).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID
    made = hmac.digest(b"key", head, "sha256")[:length].ljust(size, b"\0")
    data = head + b"\0\x1c" + length.to_bytes(2, "big") + made
    if length in (16, 20, 32):
        assert parse(data).checkIntegrity(b"key")
        assert not parse(data).checkIntegrity(b"kex")
    else:
        with pytest.raises(MalformedMessage):
            parse(data)


def test_unknownRequired() -> None:
    """
    Only types below 0x8000 have to be understood.
    """
    message = request(1, ID, (0x7FFE, b""), (0xBEEF, b""), (Attribute.PRIORITY, 1))
    assert parse(message.serialize()).unknownRequired == [0x7FFE]


@pytest.mark.parametrize("surplus", [0, 1])
def test_attributesAreLimited(surplus: int) -> None:
    """
    A message of very many attributes is not worth parsing.
    """
    many = [(0xBEEF, b"")] * (MAX_ATTRIBUTES + surplus)
    data = request(1, ID, *many).serialize(fingerprint=False)
    if surplus:
        with pytest.raises(MalformedMessage):
            parse(data)
    else:
        assert len(parse(data).attributes) == MAX_ATTRIBUTES


def test_fingerprintIsLast() -> None:
    """
    RFC 8489, 14.7: a FINGERPRINT before anything else is no FINGERPRINT.
    """
    data = request(1, ID).serialize()
    with pytest.raises(MalformedMessage):
        parse(data[:2] + b"\0\x0c" + data[4:] + b"\xbe\xef\0\0")


def test_tooLongText() -> None:
    """
    A user name longer than 508 bytes is refused both ways.
    """
    with pytest.raises(ValueError):
        request(1, ID, (Attribute.USERNAME, "x" * 509)).serialize()
    body = b"\0\x06\x01\xfd" + b"x" * 512
    data = b"\0\1" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID + body
    with pytest.raises(MalformedMessage):
        parse(data)


def test_lenient() -> None:
    """
    A value that makes no sense spoils the message and is left out; what does not
    let the next attribute be found is malformed in any case.
    """
    head = b"\0\1\0\x10\x21\x12\xa4\x42" + ID
    data = head + b"\0\x0d\0\2\1\2\0\0" + b"\0\x0d\0\4\0\0\0\5"
    with pytest.raises(MalformedMessage):
        parse(data)
    message = parse(data, lenient=True)
    assert message.spoiled
    assert message.attributes == [(Attribute.LIFETIME, 5)]
    assert not parse(request(1, ID).serialize(), lenient=True).spoiled
    with pytest.raises(MalformedMessage):
        parse(data[:20] + b"\0\x0d\0\xff" + data[24:], lenient=True)
