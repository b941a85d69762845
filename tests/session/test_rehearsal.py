"""
The session with oneself.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.python.failure import Failure

from punchd.identity import Identity
from punchd.session import rehearsal


def test_plays() -> None:
    """
    All parts come to a good end.
    """
    identity = Identity.create()
    rehearsal.exchangeOffers(identity)
    assert rehearsal.exchangeChecks()
    assert rehearsal.exchangeBytes(identity) == b"x"


def test_failure(
    monkeypatch: pytest.MonkeyPatch,
    flushLoggedErrors: Callable[..., list[Failure]],
) -> None:
    """
    A rehearsal that fails is logged, and keeps nobody from starting; there is
    only one in a process.
    """

    def broken(identity: Identity) -> bytes:
        raise RuntimeError("no stage")

    monkeypatch.setattr(rehearsal, "exchangeBytes", broken)
    rehearsal.rehearse.cache_clear()
    rehearsal.rehearse()
    rehearsal.rehearse()
    assert len(flushLoggedErrors(RuntimeError)) == 1
