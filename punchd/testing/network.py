"""
A network of hosts, routers and links in one process and in virtual time.

The programs on the hosts are real: they use Twisted's endpoints, protocols and
TLS as on a real reactor.  What the network does (delays, losses, ports that
NATs choose) follows from the seed alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, TypeVar, overload

from twisted.internet.defer import Deferred

from punchd.core import Address

from .clock import VirtualClock
from .host import Host
from .link import Link
from .packet import Packet, Record, familyOf
from .subnet import Subnet

_T = TypeVar("_T")

#: Seconds until the sender hears that a packet's hop limit was used up.
REPORT = 0.002


class Capture:
    """
    Records of packets, as long as it runs.

    @ivar records: what was seen, the oldest first.
    """

    def __init__(
        self,
        network: Network,
        points: tuple[str, ...],
        matches: Callable[[Record], object] | None,
    ) -> None:
        self._network = network
        self.points = frozenset(points)
        self._matches = matches
        self.records: list[Record] = []

    def __len__(self) -> int:
        return len(self.records)

    def add(self, record: Record) -> None:
        """
        See a packet.
        """
        if self._matches is None or self._matches(record):
            self.records.append(record)

    def stop(self) -> list[Record]:
        """
        See no more.

        @return: the records.
        """
        if self in self._network.captures:
            self._network.captures.remove(self)
        return self.records


class Network:
    """
    The whole of it.

    @ivar seed: what all randomness follows from.
    @ivar clock: the time.
    @ivar internet: the public network.
    @ivar names: the addresses of names, in place of the DNS.
    @ivar sent: UDP packets as they left their hosts, by (source, destination).
    @ivar received: UDP packets as they reached sockets.
    @ivar dropped: packets that ended on the way, by reason.
    @ivar captures: the captures that run.
    """

    def __init__(self, seed: int = 0, link: Link | None = None, hops: int = 2) -> None:
        self.seed = seed
        self.clock = VirtualClock()
        self.names: dict[str, list[str]] = {"localhost": ["127.0.0.1", "::1"]}
        self.hosts: dict[str, Host] = {}
        self.sent: Counter[tuple[Address, Address]] = Counter()
        self.received: Counter[tuple[Address, Address]] = Counter()
        self.dropped: Counter[str] = Counter()
        self.captures: list[Capture] = []
        self.internet = Subnet(self, "internet", link, hops)

    # --- building -----------------------------------------------------------

    def addHost(
        self,
        name: str,
        *addresses: str,
        subnet: Subnet | None = None,
        access: Link | None = None,
    ) -> Host:
        """
        Add a machine.

        @param addresses: its addresses.
        @param subnet: where; the internet by default.
        @param access: its own line.
        """
        if name in self.hosts:
            raise ValueError(f"there is a host {name}")
        host = self.hosts[name] = Host(self, name)
        host.attach(subnet or self.internet, *addresses, access=access)
        return host

    def addSubnet(
        self, name: str, link: Link | None = None, isolated: bool = False
    ) -> Subnet:
        """
        Add a network, to be put behind a router.
        """
        return Subnet(self, name, link, isolated=isolated)

    def kill(self, host: Host, silently: bool = False) -> None:
        """
        End the program on a host.

        @param silently: the machine is gone too, so that nobody is told.
        """
        if silently:
            host.powerOff()
        else:
            host.crash()

    # --- time ---------------------------------------------------------------

    def advance(self, amount: float) -> None:
        """
        Let C{amount} seconds pass.
        """
        self.clock.advance(amount)

    def advanceToNext(self) -> bool:
        """
        Go to the next instant at which something happens.

        @return: whether there was one.
        """
        return self.clock.advanceToNext()

    @overload
    def runUntil(self, what: Deferred[_T], timeout: float = ...) -> _T: ...

    @overload
    def runUntil(
        self,
        what: Coroutine[Deferred[Any], Any, _T] | Generator[Deferred[Any], Any, _T],
        timeout: float = ...,
    ) -> _T: ...

    @overload
    def runUntil(self, what: Callable[[], _T], timeout: float = ...) -> _T: ...

    def runUntil(self, what: Any, timeout: float = 60.0) -> Any:
        """
        Let time pass until a Deferred or coroutine has its result or a
        function returns something true; see L{VirtualClock.runUntil}.
        """
        return self.clock.runUntil(what, timeout)

    # --- watching -----------------------------------------------------------

    def capture(
        self,
        *points: str,
        matches: Callable[[Record], object] | None = None,
    ) -> Capture:
        """
        Begin to record packets.

        @param points: where to look, C{"sent"} by default; see L{Record}.
        @param matches: which to keep.
        """
        capture = Capture(self, points or ("sent",), matches)
        self.captures.append(capture)
        return capture

    def record(self, point: str, where: str, packet: Packet, reason: str = "") -> None:
        """
        Show a packet to the captures.
        """
        for capture in self.captures:
            if point in capture.points:
                capture.add(
                    Record(
                        self.clock.seconds(),
                        point,
                        where,
                        packet.protocol,
                        packet.source,
                        packet.destination,
                        packet.size,
                        packet.ttl,
                        reason,
                        packet.payload,
                    )
                )

    def expired(self, packet: Packet, where: str, hosts: Sequence[str]) -> None:
        """
        Count a packet whose hop limit was used up, and tell its sender.

        @param hosts: addresses of whoever found that.
        """
        self.drop(packet, "ttl", where)
        version = familyOf(packet.destination[0])
        host = next((each for each in hosts if familyOf(each) == version), None)
        if packet.origin is not None and host is not None:
            report = (packet.payload, host)
            self.clock.schedule(REPORT, packet.origin.hopReported, report)

    def drop(self, packet: Packet, reason: str, where: str) -> None:
        """
        Count a packet that ends on its way.
        """
        self.dropped[reason] += 1
        if self.captures:
            self.record("dropped", where, packet, reason)
