"""
Where two who do not know each other yet exchange a few messages.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.task import Clock

from punchd.errors import PairingFailed
from punchd.services.nameplates import (
    BURST,
    MOST,
    MOST_MESSAGES,
    TERM,
    Nameplates,
)

HOST = "192.0.2.1"


class Plates:
    """
    The nameplates, and what came of each request.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.plates = Nameplates(self.clock, random.Random(1).randbytes)

    def ask(self, owner: str, number: int, message: bytes = b"") -> list[Any]:
        """
        @return: the answer, as soon as there is one.
        """
        found: list[Any] = []
        asked = self.plates.exchange(owner, HOST, number, message)
        asked.addCallbacks(found.append, lambda f: found.append(f.value))
        return found


def test_exchange() -> None:
    """
    Each gets what the other says, in order, whoever is first.
    """
    one = Plates()
    number = one.plates.make("a")
    waits = one.ask("a", number, b"from a")
    assert waits == []
    assert one.ask("b", number, b"from b") == [b"from a"]
    assert waits == [b"from b"]
    waits = one.ask("b", number, b"sealed b")
    assert one.ask("a", number) == [b"sealed b"]
    one.ask("a", number, b"sealed a")
    assert waits == [b"sealed a"]


def test_onlyOneGuest() -> None:
    """
    The first who comes is the other side; there is no other, whatever becomes of it.
    """
    one = Plates()
    number = one.plates.make("a")
    one.ask("a", number, b"from a")
    one.ask("b", number, b"guess")
    (refused,) = one.ask("c", number, b"guess")
    assert isinstance(refused, PairingFailed)
    one.plates.gone("b")
    (refused,) = one.ask("c", number, b"guess")
    assert isinstance(refused, PairingFailed)
    assert len(one.plates) == 0


def test_ends() -> None:
    """
    Who waits is told when the time is over, or the other side has gone.
    """
    one = Plates()
    waits = one.ask("a", one.plates.make("a"), b"hello")
    one.clock.advance(TERM)
    assert str(waits[0]) == "The invitation is over."
    number = one.plates.make("a")
    waits = one.ask("a", number, b"hello")
    one.ask("b", number, b"hello")
    one.plates.withdraw("c", number)
    one.plates.withdraw("b", number)
    assert waits == [b"hello"]
    assert len(one.plates) == 0
    assert one.clock.getDelayedCalls() == []


def test_stop() -> None:
    """
    A rendezvous that stops tells who waits, and leaves nothing behind.
    """
    one = Plates()
    waits = one.ask("a", one.plates.make("a"), b"hello")
    one.plates.stop()
    assert str(waits[0]) == "The rendezvous stops."
    assert one.clock.getDelayedCalls() == []


def test_limits() -> None:
    """
    There are not too many of one client, nor too many messages, nor two questions
    at once.
    """
    one = Plates()
    numbers = [one.plates.make("a") for _ in range(MOST)]
    assert len(set(numbers)) == MOST
    with pytest.raises(PairingFailed, match="too many invitations"):
        one.plates.make("a")
    number = numbers[0]
    one.ask("b", number, b"x")
    assert "after the other" in str(one.ask("b", number, b"x")[0])
    for _ in range(MOST_MESSAGES - 1):
        assert one.ask("a", number, b"y") == [b"x"]
        assert one.ask("b", number, b"x") == []
    assert one.ask("a", number, b"y") == [b"x"]
    assert "too much" in str(one.ask("b", number, b"x")[0])


def test_guessing() -> None:
    """
    Who tries numbers is slowed down, found or not.
    """
    one = Plates()
    number = one.plates.make("a")
    reasons = [str(one.ask("b", 5000 + i, b"x")[0]) for i in range(int(BURST) + 3)]
    assert sum("Too many codes" in reason for reason in reasons) == 3
    assert "Too many codes" in str(one.ask("b", number, b"x")[0])
    one.clock.advance(60.0)
    waits: list[Any] = one.ask("b", number, b"x")
    assert waits == []


def test_numbersAreShort() -> None:
    """
    As long as there are few, they have a digit or two.
    """
    one = Plates()
    owners = [object() for _ in range(20)]
    assert max(one.plates.make(owner) for owner in owners) < 1000
