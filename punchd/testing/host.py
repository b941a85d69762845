"""
Simulated machines.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING

from zope.interface import implementer

from punchd.interfaces import IDatagramPort, IDatagramReceiver, IHopReceiver, INetwork

from .link import Link
from .packet import Packet, familyOf
from .ports import Ports
from .reactor import HostReactor
from .streams import StreamSocket
from .subnet import Subnet

if TYPE_CHECKING:
    from .network import Network

#: The wall clock of a machine that has the right time, at virtual second 0.
EPOCH = 1_750_000_000.0


def isLoopback(host: str) -> bool:
    """
    @return: whether C{host} is a loopback address.
    """
    return host.startswith("127.") or host == "::1"


@implementer(INetwork)
class Host(Ports):
    """
    A machine: addresses, sockets, and one program that uses them.

    @ivar addresses: the network of each address, in order of preference.
    @ivar up: whether it has power.
    @ivar clockError: seconds by which its wall clock is fast.
    @ivar reactor: the reactor of the program that runs now; another one after
        L{crash} or L{powerOff}.
    """

    forwards = False

    def __init__(self, network: Network, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.random = Random(f"{network.seed}/host/{name}")
        self._entropy = Random(f"{network.seed}/entropy/{name}")
        self.addresses: dict[str, Subnet] = {}
        self._watchers: list[Callable[[], None]] = []
        self._byFamily: dict[int, str | None] = {4: None, 6: None}
        self.up = True
        self.clockError = 0.0
        self.reactor = HostReactor(self)

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    # --- INetwork -----------------------------------------------------------

    sendsWhole = False

    def listenDatagram(
        self, receiver: IDatagramReceiver, family: int, host: str, port: int
    ) -> IDatagramPort:
        """
        Open a UDP socket; see L{INetwork}.
        """
        return self.openDatagramPort(receiver, family, host, port)

    def listenHops(self, receiver: IHopReceiver, family: int) -> IDatagramPort:
        """
        Open a UDP socket that hears of its datagrams' deaths; see L{INetwork}.
        """
        return self.openDatagramPort(receiver, family, "", 0)

    def sharedStream(self, family: int, port: int) -> StreamSocket:
        """
        Bind a TCP socket whose port others may share; see L{INetwork}.
        """
        made = StreamSocket(self.reactor, family)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("", port))
        return made

    def localHosts(self) -> list[tuple[str, str]]:
        """
        @return: the addresses that others may reach, with interface names.
        """
        networks = list(dict.fromkeys(self.addresses.values()))
        return [
            (host, f"eth{networks.index(subnet)}")
            for host, subnet in self.addresses.items()
        ]

    def watchHosts(self, changed: Callable[[], None]) -> Callable[[], None]:
        """
        Tell of changes by L{attach} and L{detach}.
        """
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def wallClock(self) -> float:
        """
        @return: seconds since the epoch, by this machine's own clock.
        """
        return EPOCH + self.clockError + self.network.clock.seconds()

    def entropy(self, count: int) -> bytes:
        """
        @return: C{count} octets that depend on the seed.
        """
        return self._entropy.randbytes(count)

    # --- addresses ----------------------------------------------------------

    def attach(
        self, subnet: Subnet, *addresses: str, access: Link | None = None
    ) -> None:
        """
        Join a network.

        @param access: our own line to it.
        """
        canonical = [str(ip_address(address)) for address in addresses]
        subnet.attach(self, canonical, access)
        for address in canonical:
            self.addresses[address] = subnet
        self._choose()

    def detach(self, *addresses: str) -> None:
        """
        Give up addresses, all of them by default; sockets stay open.
        """
        for address in addresses or list(self.addresses):
            self.addresses.pop(address).detach(self, address)
        self._choose()

    def _choose(self) -> None:
        for family in self._byFamily:
            ours = [host for host in self.addresses if familyOf(host) == family]
            self._byFamily[family] = ours[0] if ours else None
        for watcher in list(self._watchers):
            watcher()

    def owns(self, host: str) -> bool:
        """
        @return: whether C{host} is an address of this machine.
        """
        return host in self.addresses or isLoopback(host)

    def sourceFor(self, remote: str) -> str | None:
        """
        @return: the address to send from to C{remote}.
        """
        if self.owns(remote):
            return remote
        return self._byFamily[6 if ":" in remote else 4]

    # --- packets ------------------------------------------------------------

    def send(self, packet: Packet) -> None:
        """
        Put a packet on the wire.
        """
        network = self.network
        if not self.up:
            return
        destination = packet.destination[0]
        if packet.protocol == "udp":
            network.sent[packet.source, packet.destination] += 1
        if network.captures:
            network.record("sent", self.name, packet)
        if destination in self.addresses or isLoopback(destination):
            network.clock.schedule(0, self.receive, (packet, None))
            return
        subnet = self.addresses.get(packet.source[0])
        if subnet is None:
            network.drop(packet, "no address", self.name)
        else:
            subnet.forward(packet, self)

    def receive(self, packet: Packet, subnet: Subnet | None) -> None:
        """
        Take a packet from the wire.
        """
        network = self.network
        if not self.up:
            network.drop(packet, "down", self.name)
            return
        if packet.protocol == "tcp":
            if network.captures:
                network.record("received", self.name, packet)
            self.segmentReceived(packet)
            return
        port = self.datagramPortFor(packet)
        if port is None:
            network.drop(packet, "closed port", self.name)
            return
        network.received[packet.source, packet.destination] += 1
        if network.captures:
            network.record("received", self.name, packet)
        port.datagramReceived(packet)

    # --- ends ---------------------------------------------------------------

    def crash(self) -> None:
        """
        Kill the program, as SIGKILL does: its timers never fire, its sockets
        are closed by the kernel, which tells the peers of its connections.
        Another program may be started on L{reactor}, which is a new one.
        """
        self.reactor.kill()
        self.closeAll(silently=False)
        self.reactor = HostReactor(self)

    def powerOff(self) -> None:
        """
        Take the machine away: its peers hear nothing any more.
        """
        self.up = False
        self.reactor.kill()
        self.closeAll(silently=True)
        self.reactor = HostReactor(self)

    def powerOn(self) -> None:
        """
        Start the machine again, with no program on it.
        """
        self.up = True

    def programEnded(self, reactor: HostReactor) -> None:
        """
        The program has ended by itself.
        """
        if reactor is self.reactor:
            self.crash()
