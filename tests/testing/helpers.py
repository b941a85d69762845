"""
Small programs for simulated hosts.
"""

from __future__ import annotations

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import IDatagramReceiver
from punchd.testing.host import Host
from punchd.testing.link import Link
from punchd.testing.nat import Nat
from punchd.testing.network import Network


@implementer(IDatagramReceiver)
class Sink:
    """
    A UDP socket that keeps what it receives, and may answer it.

    @ivar received: (data, local, remote) of each datagram.
    """

    def __init__(
        self, host: Host, port: int = 0, family: int = 4, address: str = ""
    ) -> None:
        self.received: list[tuple[bytes, Address, Address]] = []
        self.answers = False
        self.port = host.openDatagramPort(self, family, address, port)

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        self.received.append((data, local, remote))
        if self.answers:
            self.port.send(Datagram(data, local, remote))

    def send(self, remote: Address, data: bytes = b"x", ttl: int | None = None) -> None:
        """
        Send one datagram.
        """
        self.port.send(Datagram(data, None, remote, ttl))

    @property
    def data(self) -> list[bytes]:
        """
        What has come, without the addresses.
        """
        return [data for data, _, _ in self.received]

    @property
    def sources(self) -> list[Address]:
        """
        Where it came from.
        """
        return [remote for _, _, remote in self.received]


class Bench:
    """
    A client behind a NAT, and three public servers: two ports of one address,
    and another address.
    """

    def __init__(self, seed: int = 0, hosts: int = 1, **nat: object) -> None:
        self.network = Network(seed, Link(0.01))
        self.lan = self.network.addSubnet("lan")
        addresses = nat.pop("addresses", ["198.51.100.10"])
        self.nat = Nat(
            self.network,
            "nat",
            self.network.internet,
            self.lan,
            addresses,  # type: ignore[arg-type]
            ["10.0.0.1"],
            **nat,  # type: ignore[arg-type]
        )
        self.clients = [
            self.network.addHost(f"client{n}", f"10.0.0.{n + 2}", subnet=self.lan)
            for n in range(hosts)
        ]
        self.client = self.clients[0]
        self.server = self.network.addHost("server", "203.0.113.10", "203.0.113.11")
        self.first = Sink(self.server, 3478, address="203.0.113.10")
        self.second = Sink(self.server, 3479, address="203.0.113.10")
        self.other = Sink(self.server, 3478, address="203.0.113.11")

    FIRST = ("203.0.113.10", 3478)
    SECOND = ("203.0.113.10", 3479)
    OTHER = ("203.0.113.11", 3478)

    def run(self, seconds: float = 0.1) -> None:
        """
        Let packets arrive.
        """
        self.network.advance(seconds)

    def seen(self, sink: Sink, remote: Address) -> Address:
        """
        @return: where a datagram from C{sink} to a server seems to come from.
        """
        server = {
            self.FIRST: self.first,
            self.SECOND: self.second,
            self.OTHER: self.other,
        }[remote]
        sink.send(remote)
        self.run()
        return server.received[-1][2]


@implementer(IHalfCloseableProtocol)
class HalfClosing(Protocol):
    """
    Keeps what happens, and goes on sending when the other side has ended.
    """

    def __init__(self) -> None:
        self.data = b""
        self.events: list[str] = []
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write lost")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append("lost")
        self.reason = reason


class Recorder(Protocol):
    """
    Keeps what happens.
    """

    def __init__(self) -> None:
        self.data = b""
        self.chunks: list[bytes] = []
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


class Keeping(Factory):
    """
    Keeps the protocols that it has made.
    """

    def __init__(self, protocol: type[Protocol] = Recorder) -> None:
        self.kind = protocol
        self.made: list[Protocol] = []

    def buildProtocol(self, addr: object) -> Protocol:
        made = self.kind()
        made.factory = self
        self.made.append(made)
        return made
