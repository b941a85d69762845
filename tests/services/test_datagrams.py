"""
What comes to a listening port, and who gets it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from twisted.internet.task import Clock

from punchd.core import Datagram
from punchd.net.driver import Driver
from punchd.services.datagrams import Datagrams
from punchd.signaling.observation import Observer
from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, parse, request
from punchd.turn.credentials import longTermKey
from punchd.turn.guards import StaticUsers
from punchd.turn.runs import RunServer
from tests.turn.link import LISTEN, OTHER, Ports, entropy

#: REQUESTED-TRANSPORT with one byte too few.
_BAD = b"\0\x19\0\3\x11\0\0\0"


class _Port:
    """
    A listening port.
    """

    family = 4

    def __init__(self) -> None:
        self.sent: list[Datagram] = []

    def getHost(self) -> Any:
        """
        @return: where it listens.
        """
        return LISTEN

    def send(self, datagram: Datagram) -> None:
        """
        Keep it.
        """
        self.sent.append(datagram)

    def sendMany(self, datagrams: Sequence[Datagram]) -> None:
        """
        Keep them.
        """
        self.sent += datagrams


class _Users(StaticUsers):
    """
    Users of somebody's plugin that does not always work.
    """

    def passwordOf(self, username: str) -> str | bytes | None:
        """
        @raise KeyError: there is no such user.
        """
        return self._users[username]


@pytest.fixture(name="parts")
def _parts() -> Generator[tuple[Datagrams, _Port, RunServer], None, None]:
    """
    @return: what takes datagrams, the port that it answers from, and its relay.
    """
    clock: Any = Clock()
    datagrams = Datagrams(clock, Observer(lambda handle: None, bytes(32)))
    port: Any = _Port()
    datagrams.add(port)
    guards = [_Users("users", {"user": "password"})]
    relay = RunServer(realm="punchd", guards=guards, ports=Ports(), entropy=entropy())
    driver = Driver(relay, datagrams.send, lambda event: None, clock)
    datagrams.setRelay(relay, driver, {})
    yield datagrams, port, relay
    driver.stop()


def test_oneFails(parts: Any, flushLoggedErrors: Any) -> None:
    """
    When the relay fails at one request, which is logged, those that have come with
    it are answered.
    """
    datagrams, port, relay = parts
    batch = []
    for name in ("user", "nobody", "user"):
        message = request(Method.REFRESH, os.urandom(12))
        message.add(Attribute.USERNAME, name).add(Attribute.REALM, "punchd")
        message.add(Attribute.NONCE, relay.nonceFor(name, 0.0))
        key = longTermKey(name, "punchd", "password")
        batch.append((message.serialize(key=key), LISTEN, OTHER))
    datagrams.datagramsReceived(batch)
    assert len(flushLoggedErrors(KeyError)) == 1
    codes = [parse(each.data).get(Attribute.ERROR_CODE)[0] for each in port.sent]
    assert codes == [437, 437]


def test_valuesWithoutSense(parts: Any) -> None:
    """
    A request to the relay whose values make no sense is answered, a Binding request
    like that is not.
    """
    datagrams, port, _ = parts
    for method in (Method.ALLOCATE, Method.BINDING):
        head = int(method).to_bytes(2, "big") + b"\0\x08\x21\x12\xa4\x42"
        datagrams.datagramReceived(head + b"transaction!" + _BAD, LISTEN, OTHER)
    (sent,) = port.sent
    assert parse(sent.data).method == Method.ALLOCATE
    assert datagrams.counters["malformed"] == 1
