"""
NATs, in the words of RFC 4787.

A I{mapping} joins an inside endpoint to an outside port; what it depends on
decides when one mapping is used again.  A I{flow} is a mapping with one remote
endpoint; flows expire one by one, and a mapping lives as long as any of its
flows.  The I{filter} decides which remote endpoints may come in by a mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from random import Random
from typing import TYPE_CHECKING

from punchd.core import Address

from .allocation import Allocation, Preserving
from .mapping import Mapping
from .packet import Packet, familyOf
from .router import Connection, Dependence, Firewall, Lifetimes, Unsolicited
from .subnet import Subnet

if TYPE_CHECKING:
    from .network import Network

# Looking up a member of an enumeration is slow, and this is done for packets.
_EI = Dependence.ENDPOINT_INDEPENDENT
_AD = Dependence.ADDRESS_DEPENDENT


class Nat(Firewall):
    """
    A NAT for IPv4, which is a stateful firewall for IPv6.

    @ivar mapping: on what a mapping depends.
    @ivar filtering: whom it lets in.
    @ivar tcpFiltering: whom by TCP.
    @ivar hairpin: whether inside hosts reach each other by outside addresses.
    @ivar paired: whether an inside host has one public address at a time.
    @ivar flowRate: new flows a second, L{None} for any number; a second's
        worth may come at once.
    @ivar tableSize: flows that it can remember.
    @ivar created: flows made so far.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        outside: Subnet,
        inside: Subnet,
        addresses: Iterable[str],
        insideAddresses: Iterable[str] = (),
        *,
        mapping: str = Dependence.ENDPOINT_INDEPENDENT,
        filtering: str = Dependence.ADDRESS_AND_PORT_DEPENDENT,
        tcpFiltering: str | None = None,
        allocation: Allocation | None = None,
        lifetimes: Lifetimes | None = None,
        hairpin: bool = False,
        paired: bool = True,
        flowRate: float | None = None,
        tableSize: int | None = None,
        unsolicited: str = Unsolicited.DROP,
        blockUdp: bool = False,
        tcpPorts: Collection[int] | None = None,
    ) -> None:
        self.mapping = Dependence(mapping)
        self.tcpFiltering = Dependence(tcpFiltering or filtering)
        self.hairpin = hairpin
        self.paired = paired
        self.flowRate = flowRate
        self.tableSize = tableSize
        self.created = 0
        self.random = Random(f"{network.seed}/nat/{name}")
        super().__init__(
            network,
            name,
            outside,
            inside,
            addresses,
            insideAddresses,
            filtering=filtering,
            unsolicited=unsolicited,
            lifetimes=lifetimes,
            blockUdp=blockUdp,
            tcpPorts=tcpPorts,
        )
        self._public = [host for host in self.addresses if familyOf(host) == 4]
        first = allocation or Preserving()
        copies = [first, *(first.copy() for _ in self._public[1:])]
        self._allocations = dict(zip(self._public, copies, strict=False))
        self._forwards: list[tuple[str, Address, Address]] = []
        self._tokens = flowRate or 0.0
        self._refilled = 0.0
        self._clear()

    def _clear(self) -> None:
        self._byKey: dict[object, Mapping] = {}
        self._byOutside: dict[tuple[str, Address], Mapping] = {}
        self._flows: dict[tuple[str, Address, Address], Mapping] = {}
        self._claims: dict[tuple[str, Address, Address], float] = {}
        self._pairs: dict[str, str] = {}
        self._wedged: set[Address] = set()

    def reset(self) -> None:
        """
        Forget everything but L{addForward}s, as after a power cut.
        """
        super().reset()
        self._clear()
        for protocol, outside, inside in self._forwards:
            self._addForward(protocol, outside, inside)

    def translates(self, family: int) -> bool:
        """
        @return: whether inside addresses of C{family} are hidden.
        """
        return family == 4

    # --- what it knows ------------------------------------------------------

    def mappings(self, protocol: str = "udp") -> Sequence[tuple[Address, Address]]:
        """
        @return: the live mappings as (inside, outside), the oldest first.
        """
        now = self.network.clock.seconds()
        return [
            (mapping.inside, mapping.outside)
            for (kind, _), mapping in self._byOutside.items()
            if kind == protocol and mapping.expires > now
        ]

    def flowCount(self) -> int:
        """
        @return: how many flows it remembers.
        """
        self._purge()
        return len(self._flows)

    def addForward(self, protocol: str, outside: Address, inside: Address) -> None:
        """
        Let anybody reach C{inside} at C{outside} for good, as an administrator
        or a port mapping protocol would have it.
        """
        self._forwards.append((protocol, outside, inside))
        self._addForward(protocol, outside, inside)

    def _addForward(self, protocol: str, outside: Address, inside: Address) -> None:
        key = self._key(protocol, inside, ("", 0))
        mapping = Mapping(key, inside, outside)
        mapping.expires = inf
        mapping.open = True
        self._byKey[key] = self._byOutside[protocol, outside] = mapping

    def removeForward(self, protocol: str, outside: Address) -> None:
        """
        Undo L{addForward}.
        """
        self._forwards = [
            forward for forward in self._forwards if forward[:2] != (protocol, outside)
        ]
        mapping = self._byOutside.get((protocol, outside))
        if mapping is not None:
            self._remove(protocol, mapping)

    def wedge(self, inside: Address) -> None:
        """
        Let flows that C{inside} begins from now on lead nowhere, as a router does
        that remembers them from when its line was down.
        """
        self._wedged.add(inside)

    # --- outward ------------------------------------------------------------

    def _outward(self, packet: Packet) -> None:
        if packet.destination[0] not in self.addresses:
            super()._outward(packet)
            return
        packet.ttl -= 1
        if not self.hairpin:
            self.drop(packet, "hairpin")
        elif packet.ttl <= 0:
            self.network.expired(packet, self.name, self.insideAddresses)
        # The source is the external one, RFC 4787, section 6.
        elif self.passOut(packet) and self.passIn(packet):
            self.deliver(packet)

    def passOut(self, packet: Packet) -> bool:
        """
        Give the packet its outside source.
        """
        if ":" in packet.source[0]:
            return super().passOut(packet)
        now = self.network.clock.seconds()
        flow = (packet.protocol, packet.source, packet.destination)
        mapping = self._flows.get(flow)
        connection = None
        if mapping is not None:
            connection = mapping.flows.get(packet.destination)
        if mapping is None or connection is None or connection.expires <= now:
            found = self._newFlow(packet, now)
            if isinstance(found, str):
                self.drop(packet, found)
                return False
            mapping, connection = found
        if connection.inbound:
            connection.replied = True
        self._touch(mapping, connection, packet, packet.destination, now, True)
        packet.source = mapping.outside
        return True

    def _touch(
        self,
        mapping: Mapping,
        connection: Connection,
        packet: Packet,
        remote: Address,
        now: float,
        outbound: bool,
    ) -> None:
        before = connection.expires
        self.lifetimes.touch(connection, packet, now, outbound)
        expires = connection.expires
        if expires < before:
            mapping.shorten()
        if expires > mapping.expires:
            mapping.expires = expires
        hosts = mapping.hosts
        if expires > hosts.get(remote[0], 0.0):
            hosts[remote[0]] = expires

    def _key(self, protocol: str, inside: Address, remote: Address) -> object:
        if self.mapping is _EI:
            return (protocol, inside)
        if self.mapping is _AD:
            return (protocol, inside, remote[0])
        return (protocol, inside, remote)

    def _newFlow(self, packet: Packet, now: float) -> tuple[Mapping, Connection] | str:
        """
        @return: a flow for C{packet}, or why there is none.
        """
        protocol, inside, remote = packet.protocol, packet.source, packet.destination
        refused = "wedged" if inside in self._wedged else self._admit(now)
        if refused:
            return refused
        key = self._key(protocol, inside, remote)
        mapping = self._byKey.get(key)
        if mapping is not None and mapping.expires <= now:
            self._remove(protocol, mapping)
            mapping = None
        if mapping is not None and self._claimed(
            protocol, mapping.outside, remote, now
        ):
            # The tuple is taken: this one flow gets a port of its own.
            key = (protocol, inside, remote, "detour")
            mapping = self._byKey.get(key)
            if mapping is not None and mapping.expires <= now:
                self._remove(protocol, mapping)
                mapping = None
        if mapping is None:
            mapping = self._allocate(key, protocol, inside, remote, now)
            if mapping is None:
                return "no port"
        return mapping, self._addFlow(protocol, mapping, remote)

    def _addFlow(self, protocol: str, mapping: Mapping, remote: Address) -> Connection:
        connection = mapping.flows[remote] = Connection()
        self._flows[protocol, mapping.inside, remote] = mapping
        self.created += 1
        return connection

    def _admit(self, now: float) -> str | None:
        if self.flowRate is not None:
            gained = (now - self._refilled) * self.flowRate
            self._tokens = min(self.flowRate, self._tokens + gained)
            self._refilled = now
            if self._tokens < 1:
                return "flow rate"
            self._tokens -= 1
        if self.tableSize is not None and len(self._flows) >= self.tableSize:
            self._purge()
            if len(self._flows) >= self.tableSize:
                return "table full"
        return None

    def _allocate(
        self,
        key: object,
        protocol: str,
        inside: Address,
        remote: Address,
        now: float,
    ) -> Mapping | None:
        host = self._publicHost(inside[0])
        port = self._allocations[host].choose(
            inside, self._freeIn(protocol, host, remote, now), now, self.random
        )
        if port is None:
            return None
        mapping = Mapping(key, inside, (host, port))
        self._byKey[key] = self._byOutside[protocol, mapping.outside] = mapping
        return mapping

    def _publicHost(self, inside: str) -> str:
        if len(self._public) == 1:
            return self._public[0]
        host = self._pairs.get(inside) if self.paired else None
        if host is None:
            host = self._public[int(self.random.random() * len(self._public))]
            self._pairs[inside] = host
        return host

    def _freeIn(
        self, protocol: str, host: str, remote: Address, now: float
    ) -> Callable[[int], bool]:
        def isFree(port: int) -> bool:
            outside = (host, port)
            mapping = self._byOutside.get((protocol, outside))
            if mapping is not None:
                if mapping.expires > now:
                    return False
                self._remove(protocol, mapping)
            return not self._claimed(protocol, outside, remote, now)

        return isFree

    def _claimed(
        self, protocol: str, outside: Address, remote: Address, now: float
    ) -> bool:
        return self._claims.get((protocol, outside, remote), 0.0) > now

    def _remove(self, protocol: str, mapping: Mapping) -> None:
        for remote in mapping.flows:
            flow = (protocol, mapping.inside, remote)
            if self._flows.get(flow) is mapping:
                del self._flows[flow]
        self._byOutside.pop((protocol, mapping.outside), None)
        if self._byKey.get(mapping.key) is mapping:
            del self._byKey[mapping.key]

    def _purge(self) -> None:
        now = self.network.clock.seconds()
        for flow, mapping in list(self._flows.items()):
            if mapping.flows[flow[2]].expires <= now:
                del self._flows[flow]
                del mapping.flows[flow[2]]

    # --- inward -------------------------------------------------------------

    def passIn(self, packet: Packet) -> bool:
        """
        Give the packet its inside destination.
        """
        if ":" in packet.destination[0]:
            return super().passIn(packet)
        now = self.network.clock.seconds()
        remote = packet.source
        mapping = self._byOutside.get((packet.protocol, packet.destination))
        if mapping is None or mapping.expires <= now:
            return self._unsolicited(packet, now, "no mapping")
        connection = mapping.flows.get(remote)
        if connection is None or connection.expires <= now:
            if not self._lets(packet.protocol, mapping, remote, now):
                return self._unsolicited(packet, now, "filtered")
            if self.tableSize is not None and self._admit(now):
                self.drop(packet, "table full")
                return False
            connection = self._addFlow(packet.protocol, mapping, remote)
            connection.inbound = True
        elif not connection.inbound:
            connection.replied = True
        self._touch(mapping, connection, packet, remote, now, False)
        packet.destination = mapping.inside
        return True

    def _lets(
        self, protocol: str, mapping: Mapping, remote: Address, now: float
    ) -> bool:
        filtering = self.filtering if protocol == "udp" else self.tcpFiltering
        if mapping.open or filtering is _EI:
            return True
        if filtering is _AD:
            return mapping.hosts.get(remote[0], 0.0) > now
        return False

    def _unsolicited(self, packet: Packet, now: float, reason: str) -> bool:
        # The reset, below, ends what a SYN would have claimed.
        if self.unsolicited is Unsolicited.CLAIM and packet.protocol == "udp":
            claim = (packet.protocol, packet.destination, packet.source)
            self._claims[claim] = now + self.lifetimes.udp[0]
            reason = "claimed"
        if self.unsolicited is not Unsolicited.DROP:
            # The router itself refuses a connection that it takes for its own.
            self.reject(packet)
        self.drop(packet, reason)
        return False
