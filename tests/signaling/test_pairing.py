"""
Two who know the same short code.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import PairingFailed
from punchd.signaling.pairing import WORDS, Card, Pairing, makeCode, parseCode

PEER = "a" * 52
CARD = Card(PEER, "laptop", ("ssh",))


def both(here: str, there: str) -> tuple[Pairing, Pairing]:
    """
    @return: both sides, after their first messages.
    """
    inviter, guest = (
        Pairing(here, True, os.urandom),
        Pairing(there, False, os.urandom),
    )
    first, second = inviter.start(), guest.start()
    inviter.finish(second)
    guest.finish(first)
    return inviter, guest


def test_sameCode() -> None:
    """
    Each opens what the other has sealed, and nobody's own.
    """
    inviter, guest = both("7-abandon-ability", "7-abandon-ability")
    assert inviter.open(guest.seal(CARD)) == CARD
    assert guest.open(inviter.seal(Card(PEER, "x", None))).services is None
    with pytest.raises(PairingFailed):
        guest.open(guest.seal(CARD))


def test_otherCode() -> None:
    """
    One word more or less, and nothing can be read.
    """
    inviter, guest = both("7-abandon-ability", "7-abandon-able")
    with pytest.raises(PairingFailed, match="words were not the right ones"):
        inviter.open(guest.seal(CARD))


def test_noMessage() -> None:
    """
    What is no message of SPAKE2 is refused in one sentence.
    """
    for junk in (b"", b"A", b"A" + bytes(32), b"B" + b"\xff" * 32, bytes(99)):
        inviter = Pairing("7-abandon-ability", True, os.urandom)
        inviter.start()
        with pytest.raises(PairingFailed):
            inviter.finish(junk)


@pytest.mark.parametrize(
    "card",
    [
        Card("short", "laptop"),
        Card(PEER, ""),
        Card(PEER, "a b"),
        Card(PEER, "x\n"),
        Card(PEER, "x", ("a/b",)),
        Card(PEER, "x", ("s",) * 65),
    ],
)
def test_nonsense(card: Card) -> None:
    """
    Who knows the words may still not tell just anything.
    """
    inviter, guest = both("7-abandon-ability", "7-abandon-ability")
    with pytest.raises(PairingFailed, match="nonsense"):
        inviter.open(guest.seal(card))


def test_codes() -> None:
    """
    A code has a number and words, is typed in any way, and comes back in one form.
    """
    code = makeCode(42, os.urandom)
    number, first, second = code.split("-")
    assert number == "42"
    assert parseCode(code) == (42, code)
    for typed in (f" 42 {first} {second} ", f"042-{first.upper()}--{second}"):
        assert parseCode(typed) == (42, code)
    assert makeCode(42, os.urandom) != code
    assert WORDS == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no code"),
        ("7", "no code"),
        ("abandon-ability", "no code"),
        ("7-abandon", "no code"),
        ("7-abandon-ability-able", "no code"),
        ("7-abandon-xyzzy", "'xyzzy'"),
    ],
)
def test_noCode(text: str, why: str) -> None:
    """
    What is no code is one sentence that says what is wrong.
    """
    with pytest.raises(PairingFailed, match=why):
        parseCode(text)


@given(st.text(max_size=40))
def test_anyText(text: str) -> None:
    """
    Whatever is typed, it is a code or it is refused.
    """
    try:
        number, code = parseCode(text)
    except PairingFailed:
        return
    assert parseCode(code) == (number, code)
