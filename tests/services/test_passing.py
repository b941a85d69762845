"""
TCP connections that are passed on to workers.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from punchd.net.outlet import TOTAL
from punchd.net.tls import SIGNALING, TURN, ServerCredentials
from punchd.services import entrance as entrances
from punchd.services.workerpipe import QUEUE, unpack
from punchd.stun.message import Method, request
from tests.net.test_hello import alpn, made

from .passed import CREDENTIALS, Chain

_BINDING = request(Method.BINDING, b"t" * 12).serialize()


@pytest.fixture(name="chain")
def _chain() -> Any:
    chain = Chain()
    yield chain
    chain.close()


def test_passed(chain: Chain) -> None:
    """
    The worker answers what was read before, and what comes then; nothing is closed for
    the client; until it ends, the first process counts it.
    """
    entrance, transport, client = chain.connect()
    entrance.dataReceived(_BINDING)
    assert transport.socket.fileno() == -1 and not transport.reading
    assert not transport.aborted
    chain.pump()
    assert client.recv(100) == _BINDING
    visitor = chain.only()
    visitor.dataReceived(_BINDING[:5])
    visitor.dataReceived(_BINDING[5:])
    assert client.recv(100) == _BINDING
    unsettled = chain.factory.unsettled
    assert len(unsettled) == 1 and chain.factory.connections == {entrance}
    chain.worker.held = True
    visitor.dataReceived(_BINDING)
    chain.pump()
    assert len(unsettled) == 0 and chain.factory.connections == {entrance}
    chain.worker.held = False
    visitor.dataReceived(_BINDING)
    chain.pump()
    assert len(unsettled) == 1
    visitor.connectionLost()
    chain.pump()
    assert len(unsettled) == 0 and not chain.factory.connections
    assert not chain.child.passed and not chain.visitors.visitors
    assert not chain.reactor.getDelayedCalls()


@pytest.mark.parametrize(
    ("said", "goes"),
    [
        (made(alpn(TURN)), True),
        (made(b""), True),
        (made(alpn(TURN, SIGNALING)), False),
        (made(alpn(SIGNALING)), False),
        (made(alpn(TURN) + alpn(TURN)), False),
        (b"\x16\x03\x01\x00\x05garbage", False),
        (b"GET / HTTP/1.1\r\n\r\n", False),
    ],
    ids=range(7),
)
def test_whatGoes(chain: Chain, said: bytes, goes: bool) -> None:
    """
    What is not clearly for STUN stays, and so does what might become signaling.
    """
    entrance, transport, _ = chain.connect()
    for at in range(len(said)):
        if entrance.child is None and not transport.aborted:
            entrance.dataReceived(said[at : at + 1])
    assert (entrance.child is not None) is goes
    chain.pump()
    assert len(chain.visitors.visitors) == goes
    assert transport.reading is not goes


def test_notAtOnce(chain: Chain) -> None:
    """
    Who does not say all of his hello stays, and is sent away after ten seconds, of
    which a worker gives him what is left.
    """
    silent, part, whole = (chain.connect() for _ in range(3))
    hello = made(alpn(TURN))
    part[0].dataReceived(hello[:-1])
    chain.reactor.advance(6)
    # Plain STUN that has only begun.
    whole[0].dataReceived(b"\0")
    chain.pump()
    visitor = chain.only()
    chain.reactor.advance(3.9)
    assert not visitor.transport.aborted
    chain.reactor.advance(0.2)
    assert visitor.transport.aborted
    assert silent[1].aborted and part[1].aborted


def test_workerTakesNone(chain: Chain) -> None:
    """
    Connections stay where a worker is not ready, does not read, or has more than we.
    """
    chain.child.ready = False
    entrance, _, _ = chain.connect()
    entrance.dataReceived(_BINDING)
    assert entrance.child is None and len(chain.server.streams) == 1
    chain.child.ready = True
    for wanted in (True, True, False):
        entrance, _, _ = chain.connect()
        entrance.dataReceived(_BINDING)
        assert (entrance.child is chain.child) is wanted
    # It is told more than it reads.
    full = 0
    while not chain.child.pipe._queue:
        chain.child.pipe.send(b"[" + b" " * 30000 + b"]")
        full += 1
        assert full < QUEUE
    for _ in range(3):
        entrance, transport, client = chain.connect()
        entrance.dataReceived(_BINDING)
        assert entrance.child is None and not transport.aborted
        assert client.recv(100) == _BINDING


def test_makeRoom(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Those who have proven nothing are counted together wherever they are: the oldest
    goes, if a worker has it as well.
    """
    monkeypatch.setattr(entrances, "MAX_UNSETTLED", 2)
    entrance, _, _ = chain.connect()
    entrance.dataReceived(_BINDING)
    chain.pump()
    visitor = chain.only()
    _, second, _ = chain.connect()
    chain.connect("198.51.100.1")
    chain.pump()
    assert not visitor.transport.aborted
    chain.connect()
    chain.pump()
    assert visitor.transport.aborted and not second.aborted
    assert chain.factory.counters == Counter({"made room": 1})
    visitor.connectionLost()
    chain.pump()
    assert not chain.child.passed
    chain.connect()
    assert second.aborted


def test_workerDies(chain: Chain) -> None:
    """
    With a worker all that it had is forgotten; what it says afterwards about that
    changes nothing.
    """
    passed, _, _ = chain.connect()
    passed.dataReceived(_BINDING)
    stays, _, _ = chain.connect()
    stays.dataReceived(_BINDING)
    number = passed.number
    chain.child.gone()
    chain.passing.gone(chain.child)
    assert chain.factory.connections == {stays}
    assert len(chain.factory.unsettled) == 1
    chain.passing.proven(chain.child, number, True)
    chain.passing.left(chain.child, number)
    passed.leave()
    stays.dataReceived(_BINDING)
    after, _, _ = chain.connect()
    after.dataReceived(_BINDING)
    assert after.child is None


def test_cannotBeAdopted(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A connection that has ended on its way is forgotten, and its descriptor closed.
    """

    def adopt(fileno: int, family: int, factory: Any) -> None:
        raise OSError(107, "not connected")

    monkeypatch.setattr(chain.reactor, "adoptStreamConnection", adopt)
    entrance, _, client = chain.connect()
    entrance.dataReceived(_BINDING)
    before = len(os.listdir("/proc/self/fd"))
    chain.pump()
    assert len(os.listdir("/proc/self/fd")) == before
    assert client.recv(10) == b""
    assert not chain.factory.connections and not chain.child.passed
    assert chain.visitors.counters == Counter({"not adopted": 1})


def test_shares(chain: Chain) -> None:
    """
    What may wait for clients is divided; abortAll ends what is anywhere.
    """
    assert chain.server.streams.budget.most == TOTAL // 2
    assert chain.worker.streams.budget.most == TOTAL // 2
    passed, _, _ = chain.connect()
    passed.dataReceived(_BINDING)
    _, stays, _ = chain.connect()
    chain.pump()
    visitor = chain.only()
    chain.factory.abortAll()
    chain.pump()
    assert visitor.transport.aborted and stays.aborted


def test_shown(chain: Chain) -> None:
    """
    Workers are told of another certificate, and can show it.
    """
    heard: list[Any] = []
    chain.pipe._received = lambda message: heard.extend(unpack(message))
    chain.passing.show(CREDENTIALS.pem)
    chain.pump()
    ((name, pem),) = heard
    assert name == "shown"
    again = ServerCredentials(None, pem.encode("ascii"))
    assert again.fingerprint == CREDENTIALS.fingerprint
