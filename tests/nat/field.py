"""
A host behind a NAT of the simulator, and STUN servers on two hosts with two
ports each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import IDatagramReceiver
from punchd.nat.discovery import Discovery
from punchd.nat.sampling import Sampled, Sampler
from punchd.nat.steps import Discovered
from punchd.net.driver import Driver
from punchd.stun.binding import BindingServer
from punchd.stun.message import isMessage, parse
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario

SERVER = (RENDEZVOUS_HOSTS[0], 3478)
OTHER = (RENDEZVOUS_HOSTS[1], 3478)
PORTS = (3478, 3479)

T = TypeVar("T")


@implementer(IDatagramReceiver)
class _Server:
    """
    The STUN server.
    """

    def __init__(self, field: Field, ports: Sequence[int]) -> None:
        host = field.scenario.rendezvous
        self.field = field
        hosts = {each: each for each in RENDEZVOUS_HOSTS}
        self.binding = BindingServer(hosts, ports)
        self.ports = {port: host.listenDatagram(self, 4, "", port) for port in ports}

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        if isMessage(data):
            now = self.field.clock.seconds()
            for each in self.binding.handle(parse(data), data, local, remote, now):
                assert each.local is not None
                self.ports[each.local[1]].send(each)


@implementer(IDatagramReceiver)
class Field:
    """
    One NAT to be looked at.
    """

    def __init__(
        self,
        kind: str,
        seed: int = 0,
        ports: Sequence[int] = PORTS,
        **options: Any,
    ) -> None:
        self.scenario = Scenario(kind, "open", seed, **options)
        self.clock = self.scenario.clock
        self.network = self.scenario.network
        self.server = _Server(self, ports)
        self.host = self.scenario.hostA
        self.events: list[Any] = []
        self._ports: dict[int, Any] = {}
        self.drivers: list[Driver] = []

    def socket(self) -> Address:
        """
        Open a socket.
        """
        opened = self.host.listenDatagram(self, 4, "", 0)
        address: Address = opened.getHost()
        self._ports[address[1]] = opened
        return address

    def sockets(self, count: int) -> list[Address]:
        """
        Open several, of odd and even ports in turn.
        """
        found: list[Address] = []
        while len(found) < count:
            address = self.socket()
            if address[1] % 2 == len(found) % 2:
                found.append(address)
        return found

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        Send each from the socket that its C{local} names.
        """
        for each in datagrams:
            assert each.local is not None
            self._ports[each.local[1]].send(each)

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Something came to one of the sockets.
        """
        for driver in self.drivers:
            driver.datagramReceived(data, local, remote)

    def run(self, core: Any, until: type[T], timeout: float = 10.0) -> T:
        """
        Start a core object and let time pass until it has an event of a kind.
        """
        driver = Driver(core, self.send, self.events.append, self.clock)
        self.drivers.append(driver)
        driver.call(core.start)
        last: Callable[[], Any] = lambda: next(
            (e for e in self.events if isinstance(e, until)), None
        )
        found: T = self.network.runUntil(last, timeout)
        driver.stop()
        self.drivers.remove(driver)
        self.events.clear()
        return found

    def discover(self, sockets: int = 3, **options: Any) -> Discovered:
        """
        Run the discovery.
        """
        core = Discovery(SERVER, self.sockets(sockets), self.host.entropy, **options)
        return self.run(core, Discovered)

    def sample(self, sockets: int = 4, servers: Any = (SERVER, OTHER), **options: Any):
        """
        Take samples.
        """
        core = Sampler(self.sockets(sockets), servers, self.host.entropy, **options)
        return self.run(core, Sampled).samples

    def nextMapped(self) -> Address:
        """
        @return: the outside address of a new socket towards the server.
        """
        core = Sampler(self.sockets(1), [SERVER], self.host.entropy)
        return self.run(core, Sampled).samples[0].mapped
