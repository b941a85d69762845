"""
Real QUIC through simulated NATs.
"""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.identity import Identity
from punchd.interfaces import IDatagramReceiver
from punchd.net.driver import Driver
from punchd.session.events import HandshakeCompleted, StreamData
from punchd.session.quic import QuicCore
from punchd.testing.host import Host
from punchd.testing.scenario import Scenario


@implementer(IDatagramReceiver)
class End:
    """
    One end of a QUIC connection on a UDP socket.
    """

    def __init__(self, host: Host, core: QuicCore, port: int) -> None:
        self.events: list[Any] = []
        self.core = core
        self.peer: Address | None = None
        self.port = host.listenDatagram(self, 4, "", port)
        self.driver = Driver(core, self.send, self.events.append, host.reactor)

    def send(self, datagrams: Any) -> None:
        for datagram in datagrams:
            assert self.peer is not None
            self.port.send(Datagram(datagram.data, None, self.peer))

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        self.peer = remote
        self.driver.datagramReceived(data, local, remote)

    def named(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.mark.parametrize("loss", [0.0, 0.1])
def testQuic(loss: float) -> None:
    """A megabyte of a QUIC stream crosses the network, lossy or not."""
    scenario = Scenario("cgnat", "open", 3, loss=loss)
    server = End(scenario.rendezvous, QuicCore.server(Identity.create()), 4433)
    client = End(scenario.hostA, QuicCore.client(), 0)
    client.peer = ("203.0.113.10", 4433)
    client.driver.call(client.core.start)
    scenario.network.runUntil(lambda: client.named(HandshakeCompleted))
    stream = client.core.openStream()
    sent = bytes(range(250)) * 4000
    client.driver.call(lambda now: client.core.sendStream(stream, sent, True))

    def received() -> bytes:
        return b"".join(event.data for event in server.named(StreamData))

    scenario.network.runUntil(lambda: len(received()) >= len(sent), timeout=120)
    assert received() == sent
    assert {source[0] for source, _ in scenario.network.received} == {
        "198.51.100.10",
        "203.0.113.10",
    }
    for end in (client, server):
        end.driver.stop()
