"""
Signed offers, answers and updates.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import (
    ForgedOffer,
    MalformedOffer,
    MisdirectedOffer,
    OfferError,
    StaleOffer,
)
from punchd.identity import Identity
from punchd.signaling.offer import Answer, Offer, Update, hashOf

DIALLER, LISTENER, STRANGER = (Identity.create() for _ in range(3))
NOW = 1_750_000_000.0

CANDIDATE = {
    "address": "203.0.113.1",
    "port": 4242,
    "type": "srflx",
    "priority": 7,
    "related": ["192.168.0.2", 4242],
}

OFFER = Offer(
    sender=DIALLER.peerId,
    recipient=LISTENER.peerId,
    dialId="dial-1",
    time=NOW,
    incarnation="run-1",
    ufrag="abcd",
    password="efgh",
    candidates=[CANDIDATE],
    rtt=0.05,
)


def openOffer(data: bytes, wallTime: float = NOW) -> Offer:
    """
    @return: an offer as the listener reads it.
    """
    return Offer.open(
        data,
        expectedSender=DIALLER.peerId,
        expectedRecipient=LISTENER.peerId,
        wallTime=wallTime,
    )


def makeAnswer(offer: bytes) -> Answer:
    """
    @return: the listener's answer.
    """
    return Answer(
        sender=LISTENER.peerId,
        recipient=DIALLER.peerId,
        dialId="dial-1",
        time=NOW + 99999,
        incarnation="run-2",
        ufrag="ijkl",
        password="mnop",
        nonce="00" * 16,
        offerHash=hashOf(offer),
    )


def openAnswer(data: bytes, offer: bytes, dialId: str = "dial-1") -> Answer:
    """
    @return: an answer as the dialler reads it.
    """
    return Answer.open(
        data,
        expectedSender=LISTENER.peerId,
        expectedRecipient=DIALLER.peerId,
        offer=offer,
        dialId=dialId,
    )


def resign(
    change: Callable[[dict[str, Any]], object],
    signer: Identity = DIALLER,
    purpose: bytes = Offer.PURPOSE,
) -> bytes:
    """
    @return: the offer with another content under a good signature.
    """
    sealed = OFFER.seal(DIALLER)
    content = json.loads(sealed[sealed.index(b'{"sender"') :])
    content = change(content) or content
    body = json.dumps(content).encode()
    return wrap(signer.spki, signer.sign(purpose, body), body)


def wrap(spki: bytes, signature: bytes, body: bytes) -> bytes:
    """
    @return: the parts as they go over the wire.
    """
    sizes = [len(part).to_bytes(2, "big") for part in (spki, signature)]
    return sizes[0] + spki + sizes[1] + signature + body


def test_offerSurvives() -> None:
    """
    What is sealed can be opened, and is the same.
    """
    assert openOffer(OFFER.seal(DIALLER)) == OFFER


def test_answerSurvives() -> None:
    """
    An answer needs no clock: it covers the offer's hash.
    """
    offer = OFFER.seal(DIALLER)
    answer = makeAnswer(offer)
    assert openAnswer(answer.seal(LISTENER), offer) == dataclasses.replace(
        answer, candidates=[]
    )


def test_signatureIsNotPartOfTheHash() -> None:
    """
    The same offer signed twice has one hash, though two signatures.
    """
    first, second = OFFER.seal(DIALLER), OFFER.seal(DIALLER)
    assert first != second
    assert hashOf(first) == hashOf(second)


@pytest.mark.parametrize("age", [-121.0, 121.0, 1e9])
def test_stale(age: float) -> None:
    """
    An offer counts for two minutes around its time.
    """
    data = OFFER.seal(DIALLER)
    with pytest.raises(StaleOffer):
        openOffer(data, NOW + age)
    openOffer(data, NOW + max(-120.0, min(age, 120.0)))


def test_signedByAnother() -> None:
    """
    An offer in somebody's name that another key has signed is forged, and so
    is one with the right key but another's signature.
    """
    with pytest.raises(ForgedOffer):
        openOffer(OFFER.seal(STRANGER))
    body = OFFER.seal(STRANGER)
    body = body[body.index(b'{"sender"') :]
    signature = STRANGER.sign(Offer.PURPOSE, body)
    with pytest.raises(ForgedOffer):
        openOffer(wrap(DIALLER.spki, signature, body))


def test_senderInTheBody() -> None:
    """
    Who signs a body that names another sender cannot speak for him.
    """
    data = resign(lambda content: content.update(sender=STRANGER.peerId))
    with pytest.raises(ForgedOffer):
        openOffer(data)


def test_wrongRecipient() -> None:
    """
    An offer to somebody else is not ours, whoever brings it.
    """
    other = dataclasses.replace(OFFER, recipient=STRANGER.peerId)
    with pytest.raises(MisdirectedOffer):
        openOffer(other.seal(DIALLER))


def test_otherPurpose() -> None:
    """
    What was signed as something else is no offer.
    """
    with pytest.raises(ForgedOffer):
        openOffer(resign(lambda content: None, purpose=Answer.PURPOSE))


def test_answerToAnotherOffer() -> None:
    """
    An answer is good for one offer and one dial.
    """
    offer = OFFER.seal(DIALLER)
    later = dataclasses.replace(OFFER, time=NOW + 1).seal(DIALLER)
    data = makeAnswer(offer).seal(LISTENER)
    with pytest.raises(MisdirectedOffer):
        openAnswer(data, later)
    with pytest.raises(MisdirectedOffer):
        openAnswer(data, offer, "dial-2")


def test_roles() -> None:
    """
    Nobody's own words can be sent back to him as the other side's.
    """
    data = resign(lambda content: content.update(role="listener"))
    with pytest.raises(MalformedOffer):
        openOffer(data)


def test_updates() -> None:
    """
    An update belongs to a dial and a side.
    """
    update = Update(
        sender=DIALLER.peerId,
        recipient=LISTENER.peerId,
        dialId="dial-1",
        time=NOW,
        role="dialler",
        sequence=3,
        candidates=[CANDIDATE],
        done=True,
    )
    data = update.seal(DIALLER)

    def opened(**changes: Any) -> Update:
        arguments: dict[str, Any] = {
            "expectedSender": DIALLER.peerId,
            "expectedRecipient": LISTENER.peerId,
            "dialId": "dial-1",
            "role": "dialler",
        }
        return Update.open(data, **{**arguments, **changes})

    assert opened() == update
    for changes in ({"dialId": "dial-2"}, {"role": "listener"}):
        with pytest.raises(MisdirectedOffer):
            opened(**changes)


def test_otherVersions() -> None:
    """
    What another version adds is ignored, and what it leaves out has its
    default.
    """

    def change(content: dict[str, Any]) -> None:
        content.update(version=7, novelty={"a": [1]})
        del content["rtt"], content["resume"], content["done"]

    opened = openOffer(resign(change))
    assert (opened.rtt, opened.resume, opened.done) == (0.0, "", False)
    assert opened.candidates == [CANDIDATE]


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "x"},
        {"recipient": 5},
        {"dialId": ""},
        {"dialId": "x" * 257},
        {"dialId": None},
        {"time": "now"},
        {"time": True},
        {"time": 10**400},
        {"time": 1e300},
        {"rtt": -1},
        {"rtt": 61},
        {"ufrag": 7},
        {"password": ""},
        {"candidates": {}},
        {"candidates": [1]},
        {"candidates": [{}] * 65},
        {"candidates": [{"a": "x" * 257}]},
        {"candidates": [{"a": {"b": {"c": {"d": 1}}}}]},
        {"candidates": [{str(number): 1 for number in range(25)}]},
        {"role": "judge"},
        {"role": ["dialler"]},
        {"done": 1},
        {"version": 0},
        {"version": True},
        {"version": None},
    ],
)
def test_oddContent(change: dict[str, Any]) -> None:
    """
    Whatever an honest peer would not write is refused with the declared
    errors, even under a good signature.
    """
    with pytest.raises(MalformedOffer):
        openOffer(resign(lambda content: content.update(change)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff{}",
        b'{"version":1,"time":NaN}',
        b'{"version":1,"time":Infinity}',
        b"[" * 20000,
        b'{"version":' + b"9" * 5000 + b"}",
    ],
)
def test_oddBodies(body: bytes) -> None:
    """
    The same for what is no JSON object.
    """
    with pytest.raises(MalformedOffer):
        openOffer(wrap(DIALLER.spki, DIALLER.sign(Offer.PURPOSE, body), body))


def test_tooLong() -> None:
    """
    Nothing is longer than a command may be.
    """
    with pytest.raises(MalformedOffer):
        openOffer(OFFER.seal(DIALLER) + b" " * 32768)


@given(st.binary(max_size=400))
def test_anyBytes(data: bytes) -> None:
    """
    Nothing but the declared errors is ever raised.
    """
    with pytest.raises(OfferError):
        openOffer(data)


SEALED = OFFER.seal(DIALLER)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_anyChange(at: int, change: int) -> None:
    """
    One changed byte anywhere makes an offer invalid.
    """
    changed = bytearray(SEALED)
    changed[at] ^= change
    with pytest.raises(OfferError):
        openOffer(bytes(changed))
