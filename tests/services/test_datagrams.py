"""
What comes to a listening port, and who gets it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from punchd.core import Datagram
from punchd.net.driver import Driver
from punchd.services.datagrams import Datagrams
from punchd.signaling.observation import Observer
from punchd.stun.message import Method, parse
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


def test_valuesWithoutSense() -> None:
    """
    A request to the relay whose values make no sense is answered, a Binding request
    like that is not.
    """
    clock: Any = Clock()
    datagrams = Datagrams(clock, Observer(lambda handle: None, bytes(32)))
    port: Any = _Port()
    datagrams.add(port)
    guards = [StaticUsers("users", {"user": "password"})]
    relay = RunServer(realm="punchd", guards=guards, ports=Ports(), entropy=entropy())
    driver = Driver(relay, datagrams.send, lambda event: None, clock)
    datagrams.setRelay(relay, driver, {})
    for method in (Method.ALLOCATE, Method.BINDING):
        head = int(method).to_bytes(2, "big") + b"\0\x08\x21\x12\xa4\x42"
        datagrams.datagramReceived(head + b"transaction!" + _BAD, LISTEN, OTHER)
    (sent,) = port.sent
    assert parse(sent.data).method == Method.ALLOCATE
    assert datagrams.counters["malformed"] == 1
    driver.stop()
