"""
Networks: where hosts and routers meet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from .link import Link, Pipe
from .packet import Packet

if TYPE_CHECKING:
    from .network import Network
    from .router import Router


#: The addresses of whoever drops a packet between the members of a network.
HOPS = ("203.0.113.1", "2001:db8:c::1")


class Node(Protocol):
    """
    What can be attached to a network.

    @ivar forwards: whether it passes packets on, so that handing one over needs
        no event of the clock.
    """

    forwards: bool
    name: str

    def receive(self, packet: Packet, subnet: Subnet) -> None:
        """
        A packet has come from C{subnet}.
        """


class Subnet:
    """
    A network whose members reach each other; what none of them owns goes to
    the gateway.

    @ivar members: the node of each address.
    @ivar gateway: the router to the world outside, if any.
    @ivar hops: the routers that a packet passes between any two members.
    @ivar isolated: whether members are kept from each other, as guests of a
        wireless network are, and reach only the gateway.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        link: Link | None = None,
        hops: int = 0,
        isolated: bool = False,
    ) -> None:
        self._network = network
        self.name = name
        self.hops = hops
        self.isolated = isolated
        self.gateway: Router | None = None
        self.members: dict[str, Node] = {}
        self._pipe = self._newPipe(link or Link(), "")
        self._access: dict[Node, tuple[Pipe, Pipe]] = {}

    def _newPipe(self, link: Link, end: str) -> Pipe:
        network = self._network
        seed = f"{network.seed}/{self.name}/{end}"
        return Pipe(network.clock, link, seed, self._dropped)

    def _dropped(self, packet: Packet, reason: str) -> None:
        self._network.drop(packet, reason, self.name)

    @property
    def link(self) -> Link:
        """
        What lies between any two members; may be replaced at any time.
        """
        return self._pipe.link

    @link.setter
    def link(self, link: Link) -> None:
        self._pipe.link = link

    def attach(
        self, node: Node, addresses: Iterable[str], access: Link | None = None
    ) -> None:
        """
        Let C{node} have C{addresses} here.

        @param access: the node's own line to this network, in both directions.
        """
        for address in addresses:
            if address in self.members:
                raise ValueError(f"{address} is taken in {self.name}")
            self.members[address] = node
            if self.gateway:
                self.gateway.announce(address)
        if access:
            self.setAccess(node, access)

    def setAccess(self, node: Node, link: Link | None) -> None:
        """
        Change the line of C{node}, or take it away.
        """
        if link is None:
            self._access.pop(node, None)
        else:
            up = self._newPipe(link, f"{node.name}/up")
            down = self._newPipe(link, f"{node.name}/down")
            self._access[node] = (up, down)

    def detach(self, node: Node, address: str) -> None:
        """
        Take an address away.
        """
        if self.members.get(address) is node:
            del self.members[address]
            if self.gateway:
                self.gateway.withdraw(address)

    def forward(self, packet: Packet, sender: Node) -> None:
        """
        Carry C{packet} from C{sender} to whoever it is for.
        """
        if self._access and sender in self._access:
            self._access[sender][0].carry(packet, self._cross, sender)
        else:
            self._cross(packet, sender)

    def _cross(self, packet: Packet, sender: Node) -> None:
        node = self.members.get(packet.destination[0])
        if node is None:
            node = self.gateway
        drop = self._network.drop
        if node is None or node is sender:
            drop(packet, "no route", self.name)
            return
        if self.hops:
            packet.ttl -= self.hops
            if packet.ttl <= 0:
                self._network.expired(packet, self.name, HOPS)
                return
        if self.isolated and not (node is self.gateway or sender is self.gateway):
            drop(packet, "isolated", self.name)
            return
        network = self._network
        if network.captures and self is network.internet:
            network.record("public", self.name, packet)
        pipe = self._pipe
        if (
            pipe.open
            and packet.size <= pipe.link.mtu
            and (packet.flown or node.forwards)
        ):
            self._arrive(packet, node)
        else:
            pipe.carry(packet, self._arrive, node)

    def _arrive(self, packet: Packet, node: Node) -> None:
        if self._access and node in self._access:
            self._access[node][1].carry(packet, node.receive, self)
        else:
            node.receive(packet, self)
