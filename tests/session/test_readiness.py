"""
Tests for L{punchd.session.readiness} and L{punchd.session.pinging}.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from punchd.errors import SessionLost
from punchd.session.pinging import PATIENCE, Pinging
from punchd.session.readiness import Readiness

LOST = Failure(SessionLost("over"))


def results(*waiting: Deferred[Any]) -> list[object]:
    """
    @return: what the Deferreds have fired with; exceptions as text.
    """
    found: list[object] = []
    for each in waiting:
        each.addCallbacks(found.append, lambda f: found.append(f.getErrorMessage()))
    return found


def test_ready() -> None:
    """
    All who wait are told, and all who come later.
    """
    readiness: Readiness[object] = Readiness()
    early = results(readiness.when(), readiness.when())
    assert early == []
    readiness.ready("it")
    assert early == ["it", "it"]
    assert results(readiness.when()) == ["it"]


def test_failed() -> None:
    """
    A failure reaches those who wait and those who come, also after it was
    ready.
    """
    readiness: Readiness[object] = Readiness()
    early = results(readiness.when())
    readiness.fail(LOST)
    assert early == ["over"]
    assert results(readiness.when()) == ["over"]
    again: Readiness[object] = Readiness()
    again.ready("it")
    again.fail(LOST)
    assert results(again.when()) == ["over"]


def test_cancelled() -> None:
    """
    Who gives up is not told, and does not disturb the others.
    """
    readiness: Readiness[object] = Readiness()
    impatient, patient = readiness.when(), readiness.when()
    heard = results(patient)
    impatient.addErrback(lambda _: None)
    impatient.cancel()
    readiness.ready("it")
    assert heard == ["it"]


def test_inherited() -> None:
    """
    Those who wait for one wait for its heir, whatever becomes of the first.
    """
    first: Readiness[object] = Readiness()
    heir: Readiness[object] = Readiness()
    early = results(first.when())
    first.inherit(heir)
    first.fail(LOST)
    late = results(first.when())
    assert early == late == []
    heir.ready("it")
    assert early == late == ["it"]


def test_ping() -> None:
    """
    Each PONG ends its own PING, in whatever order they come, and once.
    """
    clock, sent = Clock(), list[bytes]()
    pinging = Pinging(clock)
    first = results(pinging.ping(sent.append))
    clock.advance(0.1)
    second = results(pinging.ping(sent.append))
    clock.advance(0.2)
    assert len(set(sent)) == 2
    for text in (sent[1], sent[0], sent[0], b"unknown"):
        pinging.answered(text)
    assert first == [pytest.approx(0.3)]
    assert second == [pytest.approx(0.2)]
    assert clock.getDelayedCalls() == []


def test_lostPing() -> None:
    """
    A PING without an answer ends after a while, and a late answer is ignored.
    """
    clock, sent = Clock(), list[bytes]()
    pinging = Pinging(clock)
    heard = results(pinging.ping(sent.append))
    clock.advance(PATIENCE)
    assert heard == [None]
    pinging.answered(sent[0])
    assert heard == [None]


def test_stoppedPinging() -> None:
    """
    At the end of the session nobody waits any more.
    """
    clock, sent = Clock(), list[bytes]()
    pinging = Pinging(clock)
    heard = results(pinging.ping(sent.append), pinging.ping(sent.append))
    pinging.stop()
    assert heard == [None, None]
    assert clock.getDelayedCalls() == []
