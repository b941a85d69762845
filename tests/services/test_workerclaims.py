"""
How claims of reserved ports, and what was passed, get from process to process.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from punchd.services.workerclaims import ClaimRoutes, claimOf, claimRecord, reservedOf
from punchd.services.workerhearing import Hearing
from punchd.services.workerorders import SPENT, spentOf, spentRecords
from punchd.services.workerpipe import pack, unpack
from punchd.turn.claims import Claim, Reserved

_FOUND = Reserved(4, 50003, 29.5)


class _Pipe:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: bytes) -> None:
        """
        Keep the records.
        """
        self.sent += json.loads(message)


class _Relay:
    """
    A relay that has one reserved port, and its loop.
    """

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.found: Reserved | None = _FOUND

    def cede(self, claim: Claim) -> Reserved | None:
        """
        @return: the port.
        """
        return self.found

    def ceded(self, *answer: Any) -> None:
        """
        Keep the answer.
        """
        self.answers.append(answer)

    def spentElsewhere(self, spent: Any) -> None:
        """
        Keep that.
        """
        self.answers.append(spent)

    def call(self, command: Any, *arguments: Any) -> Any:
        """
        @return: what the command says.
        """
        return command(*arguments)


def _claim(owner: int) -> Claim:
    return Claim(bytes((owner,)) + b"\xff234567", "users 1", "alice")


@pytest.fixture(name="parts")
def _parts() -> tuple[ClaimRoutes, _Relay, list[_Pipe]]:
    """
    @return: the first of three processes, its relay, and the pipes to the others.
    """
    relay = _Relay()
    rendezvous = SimpleNamespace(relay=relay, datagrams=SimpleNamespace(driver=relay))
    pipes = [_Pipe(), _Pipe()]
    children: Any = [SimpleNamespace(pipe=each) for each in pipes]
    return ClaimRoutes(rendezvous, children), relay, pipes


def test_overTheWire() -> None:
    """
    Claims and answers are what they were.
    """
    claim = _claim(2)
    (message,) = pack([["ceded", claimRecord(claim), _FOUND], ["", [], None]])
    (_, record, found), (_, _, none) = unpack(message)
    assert claimOf(record) == claim
    assert reservedOf(found) == _FOUND and reservedOf(none) is None


def test_betweenWorkers(parts: Any) -> None:
    """
    What one worker asks goes to the owner, and the answer to who has asked.
    """
    routes, relay, (first, second) = parts
    routes.asked(1, _claim(2))
    assert second.sent == [["cede", 1, claimRecord(_claim(2))]]
    routes.answered(1, _claim(2), _FOUND)
    assert first.sent == [["ceded", claimRecord(_claim(2)), list(_FOUND)]]
    assert relay.answers == []


def test_firstProcess(parts: Any) -> None:
    """
    The process with the directory asks, and is asked.
    """
    routes, relay, (first, second) = parts
    routes.asked(2, _claim(0))
    assert second.sent == [["ceded", claimRecord(_claim(0)), list(_FOUND)]]
    relay.found = None
    routes.asked(1, _claim(0))
    assert first.sent == [["ceded", claimRecord(_claim(0)), None]]
    routes.ask(_claim(2))
    assert second.sent[1:] == [["cede", 0, claimRecord(_claim(2))]]
    routes.answered(0, _claim(2), _FOUND)
    assert relay.answers == [(_claim(2), _FOUND)]


def test_ownerIsDead(parts: Any) -> None:
    """
    A process that is not there has nothing.
    """
    routes, relay, (first, second) = parts
    routes._children[1].pipe = None
    routes.asked(1, _claim(2))
    routes.ask(_claim(2))
    assert first.sent == [["ceded", claimRecord(_claim(2)), None]]
    assert relay.answers == [(_claim(2), None)]
    # Who has asked may have died as well.
    routes.answered(2, _claim(1), _FOUND)
    assert second.sent == []


def test_ownerDies(parts: Any) -> None:
    """
    Who waits for a process that dies is told that there is nothing, once.
    """
    routes, relay, (first, _) = parts
    for asker in (0, 1):
        routes.asked(asker, _claim(2))
    routes.answered(1, _claim(2), _FOUND)
    first.sent.clear()
    for _ in "xx":
        routes.gone(2)
    assert relay.answers == [(_claim(2), None)]
    assert first.sent == []


def test_spent() -> None:
    """
    What one process has passed every other one is told, in pieces; nobody is told
    what he has said.
    """
    spent: list[Any] = [("user", ("users 1", f"u{n}"), n, 10 * n) for n in range(500)]
    spent.append(("network", "192.0.2.0/24", 7, 70))
    relay = _Relay()
    rendezvous = SimpleNamespace(relay=relay, datagrams=SimpleNamespace(driver=relay))
    told: list[tuple[Any, Any]] = []
    hearing = Hearing(
        rendezvous, [], lambda child, record: told.append((child, record))
    )
    hearing.ownSpent(spent)
    assert [child for child, _ in told] == [None] * 3
    assert relay.answers == []
    pieces = [unpack(next(pack([record])))[0] for _, record in told]
    assert [spentOf(piece) for _, piece in pieces] == [
        spent[at : at + SPENT] for at in (0, SPENT, 2 * SPENT)
    ]
    told.clear()
    child: Any = object()
    for _, piece in pieces:
        hearing.spent(child, piece)
    assert [each for piece in relay.answers for each in piece] == spent
    assert [unpack(next(pack([record])))[0] for _, record in told] == pieces
    assert {each for each, _ in told} == {child}
    assert list(spentRecords([])) == []
