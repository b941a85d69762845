"""
The published test vectors: RFC 5769, and RFC 8489 appendix B.1 as corrected by
erratum 6268.
"""

from __future__ import annotations

import hashlib

import pytest

from punchd.errors import MalformedMessage
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, MessageClass, Method, parse, request, success
from punchd.turn.credentials import PasswordAlgorithm, longTermKey

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")

REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
RESPONSE4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RESPONSE6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
SHA256 = bytes.fromhex(
    "000100902112a44278ad3433c6ad72c029da412e"
    "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39"
    "4653547679363473410000000014000b6578616d706c652e6f726700"
    "001d000400020000001c0020"
    "b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"
)
USERNAME = "マトリックス"


def test_request() -> None:
    """
    RFC 5769, 2.1: all attributes are read, integrity and fingerprint hold.
    """
    message = parse(REQUEST)
    assert message == request(
        Method.BINDING,
        ID,
        (Attribute.SOFTWARE, "STUN test client"),
        (Attribute.PRIORITY, 0x6E0001FF),
        (Attribute.ICE_CONTROLLED, 0x932FF9B151263B36),
        (Attribute.USERNAME, "evtj:h6vY"),
    )
    assert message.hasFingerprint
    assert message.checkIntegrity(PASSWORD)
    assert not message.checkIntegrity(PASSWORD + b"x")


@pytest.mark.parametrize(
    ("data", "host"),
    [(RESPONSE4, "192.0.2.1"), (RESPONSE6, "2001:db8:1234:5678:11:2233:4455:6677")],
)
def test_response(data: bytes, host: str) -> None:
    """
    RFC 5769, 2.2 and 2.3: the mapped address comes out.
    """
    message = parse(data)
    assert message.messageClass is MessageClass.SUCCESS
    assert message.get(Attribute.XOR_MAPPED_ADDRESS) == (host, 32853)
    assert message.checkIntegrity(PASSWORD)


def test_serializedAgain() -> None:
    """
    What the vectors say is written as they have it, but for their padding,
    which is of spaces: RFC 8489 has zeros.
    """
    message = success(parse(REQUEST), *parse(RESPONSE4).attributes)
    made = message.serialize(key=PASSWORD)
    assert len(made) == len(RESPONSE4)
    assert made[:35] == RESPONSE4[:35]
    assert made[36:48] == RESPONSE4[36:48]
    assert parse(made).checkIntegrity(PASSWORD)


def test_longTerm() -> None:
    """
    RFC 5769, 2.4: the key of long-term credentials, and no padding of spaces,
    so that the bytes are the same when written.
    """
    message = parse(LONG_TERM)
    key = longTermKey(USERNAME, "example.org", "TheMatrIX")
    assert message.get(Attribute.USERNAME) == USERNAME
    assert message.checkIntegrity(key)
    assert message.serialize(key=key, fingerprint=False) == LONG_TERM


def test_sha256() -> None:
    """
    RFC 8489, B.1: SHA-256 integrity and key, USERHASH, PASSWORD-ALGORITHM.
    """
    message = parse(SHA256)
    key = longTermKey(USERNAME, "example.org", "TheMatrIX", PasswordAlgorithm.SHA256)
    assert message.hasSha256
    assert message.checkIntegrity(key)
    userhash = hashlib.sha256(f"{USERNAME}:example.org".encode()).digest()
    assert message.get(Attribute.USERHASH) == userhash
    assert message.get(Attribute.PASSWORD_ALGORITHM) == (2, b"")
    made = message.serialize(key=key, integrity="sha256", fingerprint=False)
    assert made == SHA256


@pytest.mark.parametrize(
    "vector",
    [REQUEST[:-8], RESPONSE4[:-8], RESPONSE6[:-8], LONG_TERM, SHA256],
    ids=["request", "response4", "response6", "longTerm", "sha256"],
)
def test_everyBitCounts(vector: bytes) -> None:
    """
    No bit before the integrity's end can be turned without being noticed.
    """
    # Without its FINGERPRINT, a message is as long as it says.
    vector = vector[:2] + (len(vector) - 20).to_bytes(2, "big") + vector[4:]
    keys = [
        PASSWORD,
        longTermKey(USERNAME, "example.org", "TheMatrIX"),
        longTermKey(USERNAME, "example.org", "TheMatrIX", PasswordAlgorithm.SHA256),
    ]
    assert any(parse(vector).checkIntegrity(key) for key in keys)
    for bit in range(len(vector) * 8):
        turned = bytearray(vector)
        turned[bit // 8] ^= 1 << bit % 8
        try:
            message: Message = parse(bytes(turned))
        except MalformedMessage:
            continue
        assert not any(message.checkIntegrity(key) for key in keys), bit
