"""
Which password algorithm the client uses, and that nobody talks it down (RFC 8489,
9.2.5).
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, failure, parse
from punchd.turn.client import Allocated, AllocationFailed, Client
from punchd.turn.credentials import PasswordAlgorithm, longTermKey
from punchd.turn.nonce import promisesAlgorithms
from tests.turn.link import LISTEN, REALM, Link, entropy

SHA256, MD5 = (2, b""), (1, b"")
PROMISE, NONE = b"obMatJos2AAABrest", b"obMatJos2AAAArest"


def challenged(*challenges: tuple[int, bytes, Any]) -> tuple[Client, Message | None]:
    """
    Have a server answer a client's requests, one after the other.

    @param challenges: code, nonce and algorithms of each answer.

    @return: the client, and its request after the last one.
    """
    client = Client(LISTEN, entropy=entropy())
    client.allocate("user", "password", None, None, 0.0)
    for code, nonce, algorithms in challenges:
        (sent,) = client.takeDatagrams()
        attributes = [(Attribute.REALM, REALM), (Attribute.NONCE, nonce)]
        if algorithms is not None:
            attributes.append((Attribute.PASSWORD_ALGORITHMS, algorithms))
        answer = failure(parse(sent.data), code, "", *attributes)
        client.datagramReceived(answer.serialize(), LISTEN, LISTEN, 0.0)
    sent_ = client.takeDatagrams()
    return client, parse(sent_[0].data) if sent_ else None


@pytest.mark.parametrize(
    ("nonce", "offered", "chosen"),
    [
        (PROMISE, [SHA256, MD5], SHA256),
        (PROMISE, [MD5, SHA256], SHA256),
        (PROMISE, [(7, b""), MD5], MD5),
        (b"any", [SHA256], SHA256),
    ],
)
def test_choice(nonce: bytes, offered: Any, chosen: tuple[int, bytes]) -> None:
    """
    The best one that is offered is used, and the offer comes back signed.
    """
    _, request = challenged((401, nonce, offered))
    assert request is not None
    assert request.get(Attribute.PASSWORD_ALGORITHM) == chosen
    assert request.get(Attribute.PASSWORD_ALGORITHMS) == offered
    assert request.get(Attribute.MESSAGE_INTEGRITY) is None
    algorithm = PasswordAlgorithm(chosen[0])
    assert request.checkIntegrity(longTermKey("user", REALM, "password", algorithm))


@pytest.mark.parametrize("nonce", [b"any", NONE, b"obMatJos2", b"obMatJos2!!!!"])
def test_old(nonce: bytes) -> None:
    """
    A server that knows of no algorithms gets what RFC 5389 says.
    """
    _, request = challenged((401, nonce, None))
    assert request is not None
    assert request.get(Attribute.PASSWORD_ALGORITHM) is None
    assert request.checkIntegrity(longTermKey("user", REALM, "password"))
    assert not promisesAlgorithms(nonce)


@pytest.mark.parametrize(
    "challenges",
    [
        [(401, PROMISE, None)],
        [(401, PROMISE, [(7, b"")])],
        [(401, PROMISE, [SHA256, MD5]), (438, PROMISE, [MD5])],
        [(401, PROMISE, [SHA256, MD5]), (438, b"any", None)],
    ],
)
def test_bidDown(challenges: list[tuple[int, bytes, Any]]) -> None:
    """
    Where an offer was taken away on the way, nothing more is said.
    """
    client, request = challenged(*challenges)
    assert request is None
    assert client.counters["bid down"] == 1
    (event,) = client.takeEvents()
    assert isinstance(event, AllocationFailed)


def test_ours() -> None:
    """
    With our server it is SHA-256, for all of a long life.
    """
    link = Link()
    client = link.client()
    client.allocate("user", "password", None, None, link.now)
    link.pump()
    (allocation,) = link.server.allocations()
    assert allocation.key == longTermKey(
        "user", REALM, "password", PasswordAlgorithm.SHA256
    )
    link.advance(3 * 3600)
    assert [allocation] == list(link.server.allocations())
    assert any(isinstance(e, Allocated) for each in link.events.values() for e in each)
    assert client.counters["bid down"] == 0
