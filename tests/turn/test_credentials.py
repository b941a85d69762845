"""
Credentials, nonces and the framing of data.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.stun.attributes import Attribute
from punchd.stun.message import MessageClass, Method, isMessage, parse
from punchd.turn.channeldata import (
    DATA_INDICATION,
    SEND_INDICATION,
    channelData,
    indication,
    readChannelData,
    readIndication,
)
from punchd.turn.credentials import (
    handleOf,
    makeCredentials,
    parseUsername,
)
from punchd.turn.nonce import Nonces

PEERS = [("192.0.2.1", 5000), ("2001:db8::1", 65535)]


def test_sharedSecret() -> None:
    """
    The form that coturn's use-auth-secret has, with the answer of
    C{printf 1433895918:alice | openssl dgst -sha1 -hmac north -binary | base64}.
    """
    username, password = makeCredentials(b"north", "alice", 1433895918.7)
    assert username == "1433895918:alice"
    assert password == "RqMvcGPYTJMGThVLSi4amT4zFtI="


@pytest.mark.parametrize(
    ("username", "parsed"),
    [
        ("12:a", (12, "a")),
        ("12:a:b", (12, "a:b")),
        ("12:", (12, "")),
        ("12", None),
        (":a", None),
        ("-1:a", None),
        ("१२:a", None),
        ("1" * 5000 + ":a", None),
        ("alice", None),
    ],
)
def test_parseUsername(username: str, parsed: tuple[int, str] | None) -> None:
    """
    Only digits and a colon make a name with an expiry.
    """
    assert parseUsername(username) == parsed
    assert handleOf(username) == (username if parsed is None else parsed[1])


def test_nonceIsText() -> None:
    """
    Some clients keep nonces as C strings: base64, 32 characters.
    """
    nonces = Nonces(b"key")
    for nonce in (nonces.forSource(PEERS[0], 5.0), nonces.forUsername("u", 5.0)):
        assert nonce.isascii()
        assert len(nonce) == 32
        assert b"\0" not in nonce


@given(st.floats(0, 2**33), st.floats(0, 10000))
def test_nonceAge(made: float, age: float) -> None:
    """
    A nonce is good for its lifetime, to the second, at any time.
    """
    nonces = Nonces(b"key", lifetime=1000.0)
    nonce = nonces.forSource(PEERS[0], made)
    elapsed = int(made + age) - int(made)
    assert nonces.check(nonce, "u", PEERS[0], made + age) == (elapsed <= 1000)


@given(st.sampled_from(PEERS), st.binary(max_size=70), st.binary(min_size=12))
def test_indications(peer: tuple[str, int], data: bytes, seed: bytes) -> None:
    """
    What is written without Message objects is what they read, and back.
    """
    for kind, method in (
        (SEND_INDICATION, Method.SEND),
        (DATA_INDICATION, Method.DATA),
    ):
        whole = indication(kind, seed[:12], peer, data)
        assert isMessage(whole)
        message = parse(whole)
        assert message.messageClass is MessageClass.INDICATION
        assert message.method == method
        assert message.attributes == [
            (Attribute.XOR_PEER_ADDRESS, peer),
            (Attribute.DATA, data),
        ]
        assert readIndication(whole) == (peer, data)
        assert readIndication(message.serialize()) == (peer, data)


@given(st.binary(max_size=100))
def test_indicationGarbage(data: bytes) -> None:
    """
    Reading raises nothing, whatever the attributes are.
    """
    read = readIndication(b"\0\x16\0\0\x21\x12\xa4\x42" + bytes(12) + data)
    assert read is None or len(read[1]) <= len(data)


@given(st.integers(0x4000, 0x4FFF), st.binary(max_size=70), st.binary(max_size=3))
def test_channelData(number: int, data: bytes, padding: bytes) -> None:
    """
    ChannelData with or without padding; cut short it is nothing.
    """
    frame = channelData(number, data)
    assert readChannelData(frame + padding) == (number, data)
    assert readChannelData(frame[:-1]) is None
