"""
Routers: hop counts, stateful firewalls, and what an administrator blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from punchd.core import Address

from .packet import Flags, Packet, Segment, familyOf
from .subnet import Subnet

if TYPE_CHECKING:
    from .network import Network


class Dependence(StrEnum):
    """
    On what a mapping or a filter depends, in the words of RFC 4787, sections
    4.1 and 5.
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


# Looking up a member of an enumeration is slow, and this is done for packets.
_AD = Dependence.ADDRESS_DEPENDENT
_APD = Dependence.ADDRESS_AND_PORT_DEPENDENT


class Unsolicited(StrEnum):
    """
    What becomes of a packet from outside that no filter lets in: it is
    dropped; or refused, which TCP notices; or taken by the router for itself,
    whose connection table then holds its tuple, as Linux does without an
    input filter.
    """

    DROP = "drop"
    REJECT = "reject"
    CLAIM = "claim"


class Router:
    """
    A router between two networks; this one passes everything.

    @ivar blockUdp: whether UDP is dropped on its way out.
    @ivar tcpPorts: the only TCP ports that may be connected to, L{None} for
        all.
    @ivar refuses: one more reason to drop: a function of the packet, with the
        addresses of the side it comes from, and whether it goes out.
    """

    forwards = True

    def __init__(
        self,
        network: Network,
        name: str,
        outside: Subnet,
        inside: Subnet,
        addresses: Iterable[str] = (),
        insideAddresses: Iterable[str] = (),
        *,
        blockUdp: bool = False,
        tcpPorts: Collection[int] | None = None,
    ) -> None:
        self.network = network
        self.name = name
        self.outside = outside
        self.inside = inside
        self.addresses = list(addresses)
        self.insideAddresses = list(insideAddresses)
        self.blockUdp = blockUdp
        self.tcpPorts = tcpPorts
        self.refuses: Callable[[Packet, bool], bool] | None = None
        outside.attach(self, self.addresses)
        if inside.gateway:
            raise ValueError(f"{inside.name} has a gateway")
        inside.gateway = self
        for address in list(inside.members):
            self.announce(address)
        inside.attach(self, self.insideAddresses)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def translates(self, family: int) -> bool:
        """
        @return: whether inside addresses of C{family} are hidden.
        """
        return False

    def announce(self, address: str) -> None:
        """
        Attract packets for an inside address, if the outside may know it.
        """
        if address not in self.insideAddresses and not self.translates(
            familyOf(address)
        ):
            self.outside.attach(self, [address])

    def withdraw(self, address: str) -> None:
        """
        Attract packets for an inside address no longer.
        """
        self.outside.detach(self, address)

    def dropDirect(self, *allowed: str) -> None:
        """
        Drop what does not go to or come from one of the hosts C{allowed}.
        """
        hosts = frozenset(allowed)
        self.refuses = lambda packet, out: (
            (packet.destination if out else packet.source)[0] not in hosts
        )

    def restore(self) -> None:
        """
        End L{dropDirect}, or whatever L{refuses} did.
        """
        self.refuses = None

    def receive(self, packet: Packet, subnet: Subnet) -> None:
        """
        Pass a packet on, or see why not.
        """
        if subnet is self.inside:
            self._outward(packet)
        else:
            self._inward(packet)

    def drop(self, packet: Packet, reason: str) -> None:
        """
        Count a packet that ends here.
        """
        self.network.drop(packet, reason, self.name)

    def _outward(self, packet: Packet) -> None:
        packet.ttl -= 1
        if packet.ttl <= 0:
            self.network.expired(packet, self.name, self.insideAddresses)
        elif packet.destination[0] in self.insideAddresses:
            self.drop(packet, "router")
        elif self._blocked(packet):
            self.drop(packet, "blocked")
        elif self.passOut(packet):
            self.outside.forward(packet, self)

    def _blocked(self, packet: Packet) -> bool:
        if packet.protocol == "udp":
            if self.blockUdp:
                return True
        elif self.tcpPorts is not None and packet.destination[1] not in self.tcpPorts:
            return True
        return self.refuses is not None and self.refuses(packet, True)

    def _inward(self, packet: Packet) -> None:
        if self.refuses is not None and self.refuses(packet, False):
            self.drop(packet, "blocked")
        elif self.passIn(packet):
            self.deliver(packet)

    def deliver(self, packet: Packet) -> None:
        """
        Hand a packet to the inside.
        """
        packet.ttl -= 1
        if packet.ttl <= 0:
            self.network.expired(packet, self.name, self.addresses)
        else:
            self.inside.forward(packet, self)

    def passOut(self, packet: Packet) -> bool:
        """
        Translate and note a packet that leaves.

        @return: whether it may; if not, it has been counted.
        """
        return True

    def passIn(self, packet: Packet) -> bool:
        """
        Translate and note a packet that enters.

        @return: whether it may; if not, it has been counted.
        """
        if packet.destination[0] in self.addresses:
            self.drop(packet, "router")
            return False
        return True

    def reject(self, packet: Packet) -> None:
        """
        Answer a TCP segment with a reset.
        """
        segment = packet.payload
        if not isinstance(segment, Segment) or segment.flags & Flags.RST:
            return
        reset = Segment(
            Flags.RST | Flags.ACK,
            segment.acknowledgement,
            segment.sequence + len(segment.data) + 1,
        )
        answer = Packet("tcp", packet.destination, packet.source, reset, 40)
        answer.flown = packet.flown
        self.outside.forward(answer, self)


class Connection:
    """
    What a router knows of one flow.

    @ivar expires: when it is forgotten.
    @ivar replied: whether packets have gone both ways.
    @ivar closing: whether TCP has begun to close it.
    @ivar inbound: whether the first packet came from outside.
    """

    __slots__ = ("closing", "expires", "inbound", "replied")

    def __init__(self) -> None:
        self.expires = 0.0
        self.replied = False
        self.closing = False
        self.inbound = False


class Lifetimes:
    """
    How long flows are remembered, in seconds, before and after the first
    packet the other way.

    The defaults are those of Linux.
    """

    def __init__(
        self,
        udp: tuple[float, float] = (30.0, 120.0),
        tcp: tuple[float, float] = (120.0, 432_000.0),
        refreshOutbound: bool = True,
        refreshInbound: bool = True,
    ) -> None:
        self.udp = udp
        self.tcp = tcp
        self.refreshOutbound = refreshOutbound
        self.refreshInbound = refreshInbound

    def touch(
        self, connection: Connection, packet: Packet, now: float, outbound: bool
    ) -> None:
        """
        Note that C{packet} has passed.
        """
        fresh = connection.expires == 0.0
        refreshes = self.refreshOutbound if outbound else self.refreshInbound
        if packet.protocol == "udp":
            lifetime = self.udp[connection.replied]
        else:
            if packet.payload.flags & (Flags.FIN | Flags.RST):
                connection.closing = True
            lifetime = self.tcp[connection.replied and not connection.closing]
            refreshes = True
        if refreshes or fresh:
            connection.expires = now + lifetime


class Firewall(Router):
    """
    A stateful firewall that changes no address: what was asked for from inside
    may come in, nothing else.

    @ivar filtering: how exactly it looks.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        outside: Subnet,
        inside: Subnet,
        addresses: Iterable[str] = (),
        insideAddresses: Iterable[str] = (),
        *,
        filtering: str = Dependence.ADDRESS_AND_PORT_DEPENDENT,
        unsolicited: str = Unsolicited.DROP,
        lifetimes: Lifetimes | None = None,
        blockUdp: bool = False,
        tcpPorts: Collection[int] | None = None,
    ) -> None:
        self.filtering = Dependence(filtering)
        self.unsolicited = Unsolicited(unsolicited)
        self.lifetimes = lifetimes or Lifetimes()
        self._connections: dict[object, Connection] = {}
        super().__init__(
            network,
            name,
            outside,
            inside,
            addresses,
            insideAddresses,
            blockUdp=blockUdp,
            tcpPorts=tcpPorts,
        )

    def _keys(self, protocol: str, inside: Address, outside: Address) -> object:
        if self.filtering is _APD:
            return (protocol, inside, outside)
        if self.filtering is _AD:
            return (protocol, inside, outside[0])
        return (protocol, inside)

    def passOut(self, packet: Packet) -> bool:
        """
        Remember what is asked for.
        """
        key = self._keys(packet.protocol, packet.source, packet.destination)
        now = self.network.clock.seconds()
        connection = self._connections.get(key)
        if connection is None or connection.expires <= now:
            connection = self._connections[key] = Connection()
        self.lifetimes.touch(connection, packet, now, True)
        return True

    def passIn(self, packet: Packet) -> bool:
        """
        Let in what was asked for.
        """
        key = self._keys(packet.protocol, packet.destination, packet.source)
        now = self.network.clock.seconds()
        connection = self._connections.get(key)
        if connection is None or connection.expires <= now:
            if self.unsolicited is Unsolicited.REJECT:
                self.reject(packet)
            self.drop(packet, "filtered")
            return False
        connection.replied = True
        self.lifetimes.touch(connection, packet, now, False)
        return True

    def reset(self) -> None:
        """
        Forget everything, as after a power cut.
        """
        self._connections.clear()
