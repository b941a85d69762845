"""
One worker, without a process of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from punchd.identity import Identity
from punchd.net.tls import ServerCredentials
from punchd.services.worker import Worker
from punchd.services.workerorders import Orders, changeOf
from punchd.turn.limits import limitsOf
from punchd.turn.networks import PeerNetworks, parseNetwork


class _Host:
    entropy = staticmethod(os.urandom)
    sendsWhole = False
    wallClock = staticmethod(lambda: 1_800_000_000.0)

    def __init__(self) -> None:
        self.reactor: Any = Clock()


def _orders(**more: Any) -> Orders:
    """
    @return: what a worker is given.
    """
    given: dict[str, Any] = {
        "number": 1,
        "processes": 2,
        "ahead": 0.0,
        "families": (),
        "observerSecret": bytes(32),
        "relaySecret": bytes(32),
        "nonceKey": bytes(32),
        "hosts": {"203.0.113.10": "203.0.113.10"},
        "ownHosts": [],
        "everywhere": [],
        "relayHosts": {4: "203.0.113.10"},
        "relayPorts": (50000, 60000),
        "realm": "punchd",
        "limits": limitsOf({}),
        "peers": PeerNetworks([], []),
        "admissions": [],
    }
    return Orders(**given | more)


def test_workerAndConnections() -> None:
    """
    A worker says that a connection has left which came without its descriptor; it shows
    another certificate when it is told so.
    """
    told: list[Any] = []
    shown = ServerCredentials(Identity.create())
    orders = _orders(certificate=shown.pem)
    assert "PRIVATE" not in repr(orders)
    worker = Worker(_Host(), orders, lambda *record: told.append(record))
    assert worker.visitors is not None
    assert worker.visitors.credentials.fingerprint == shown.fingerprint
    before = worker.visitors.credentials._sslContext
    worker.apply([["stream", 7, 9.5, ""], ["leave", 8]])
    assert told == [("left", 7)]
    worker.apply([["shown", shown.pem.decode("ascii")]])
    assert worker.visitors.credentials._sslContext is not before
    worker.stop()


def test_workerChanges(tmp_path: Path) -> None:
    """
    A worker that is told so reads its users again, and heeds other limits and
    networks; users that cannot be read stay as they were.
    """
    file = tmp_path / "users"
    file.write_text("ann:one\n")
    file.chmod(0o600)
    nobody = PeerNetworks([], [])
    limits = limitsOf({})
    orders = _orders(limits=limits, peers=nobody, admissions=[("users", str(file))])
    worker = Worker(_Host(), orders, lambda *record: None)
    relay: Any = worker.relay
    assert relay is not None
    guard = relay._authenticator._guards[-1]
    assert guard.passwordOf("ann") == "one"
    file.write_text("ann:two\nbob:three\n")
    denied = PeerNetworks([], [parseNetwork("--relay-deny", "192.0.2.0/24")])
    other = limitsOf({"permissions": 3.0})
    worker.apply([["changed", changeOf(other, denied)]])
    assert (guard.passwordOf("ann"), guard.passwordOf("bob")) == ("two", "three")
    assert relay._methods._limits == other
    assert relay._policy._forbidden("192.0.2.7")
    file.write_text("nonsense\n")
    worker.apply([["changed", changeOf(limits, nobody)]])
    assert guard.passwordOf("ann") == "two"
    assert relay._methods._limits == limits
    worker.stop()


def test_workerHears(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What other processes have, a worker knows, and who waits for that news is answered.
    """
    worker = Worker(_Host(), _orders(), lambda *record: None)
    heard: list[Any] = []
    assert worker.relay is not None
    monkeypatch.setattr(worker.relay, "came", lambda *words: heard.append(words))
    outside, bound = ["203.0.113.10", 50001], ["10.0.0.1", 50001]
    record = [*outside, *bound, "registered", "h", "192.0.2.0/24", "1:h"]
    worker.apply([["came", *record]])
    assert worker.neighbours.live == {tuple(outside): tuple(bound)}
    assert heard == [(tuple(outside), worker._clock.seconds())]
    worker.stop()
