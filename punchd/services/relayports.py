"""
The UDP ports that relayed addresses are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from twisted.internet.error import CannotListenError
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import (
    IDatagramPort,
    IDatagramReceiver,
    IErrorReceiver,
    IWayReceiver,
)
from punchd.net.carrying import Carrier
from punchd.net.driver import Driver
from punchd.turn.runs import Run
from punchd.turn.ways import Way

#: How many ports are tried at random.
ATTEMPTS: Final = 32
#: How many of those that we do not have are tried then, before there are none.
LOOKS: Final = 256


class RelayPorts:
    """
    I open ports at random (RFC 8656, 7.2: they must not be guessed).

    @ivar ports: by the address that they are bound to.
    @ivar counters: what went wrong on those that are closed.
    @ivar full: whether no more are opened.
    """

    def __init__(
        self,
        network: Any,
        receiver: IDatagramReceiver,
        hosts: Mapping[int, str],
        low: int,
        high: int,
    ) -> None:
        """
        @param network: an L{punchd.interfaces.INetwork}.
        @param receiver: takes what comes to the ports.
        @param hosts: the local host of each family that there is.
        @param low: the lowest port.
        @param high: the highest port.
        """
        self._network = network
        self._receiver = receiver
        self._hosts = dict(hosts)
        self._low = low
        self._high = high
        self.ports: dict[Address, IDatagramPort] = {}
        self.counters: Counter[str] = Counter()
        self.full = False

    @property
    def families(self) -> Collection[int]:
        """
        @see: L{punchd.turn.table.RelayPorts.families}.
        """
        return self._hosts.keys()

    def open(self, family: int, even: bool = False, number: int = 0) -> Address | None:
        """
        @see: L{punchd.turn.table.RelayPorts.open}.
        """
        host = self._hosts.get(family)
        if host is None or self.full:
            return None
        if number:
            return self._listen(family, host, number)
        for _ in range(ATTEMPTS):
            opened = self._listen(family, host, self._chosen(even))
            if opened is not None:
                return opened
        # There are few, or few are left: look at some in turn.
        size = self._high - self._low + 1
        first = self._chosen(even) - self._low
        left = (
            number
            for step in range(size)
            if (host, number := self._low + (first + step) % size) not in self.ports
            and not (even and number % 2)
        )
        for number in islice(left, LOOKS):
            opened = self._listen(family, host, number)
            if opened is not None:
                return opened
        return None

    def _chosen(self, even: bool) -> int:
        chance = int.from_bytes(self._network.entropy(4), "big")
        number = self._low + chance % (self._high - self._low + 1)
        return number & ~1 if even else number

    def _listen(self, family: int, host: str, number: int) -> Address | None:
        if not self._low <= number <= self._high or (host, number) in self.ports:
            return None
        try:
            port = self._network.listenDatagram(self._receiver, family, host, number)
        except CannotListenError:
            return None
        address: Address = port.getHost()
        self.ports[address] = port
        return address

    def close(self, address: Address) -> None:
        """
        @see: L{punchd.turn.table.RelayPorts.close}.
        """
        port: Any = self.ports.pop(address)
        self.counters.update(getattr(port, "counters", ()))
        port.close()

    def sendWhole(self, datagram: Datagram) -> None:
        """
        Send from a relayed address what no router may cut.
        """
        port: Any = None if datagram.local is None else self.ports.get(datagram.local)
        if port is not None:
            port.sendWhole(datagram)

    def closeAll(self) -> None:
        """
        The relay stops.
        """
        for address in list(self.ports):
            self.close(address)


@implementer(IWayReceiver, IErrorReceiver)
class RelayReceiver:
    """
    I bring what comes to relayed addresses to the relay's loop.

    @ivar carrierOf: gives the port of a listening address, if that may send by
        itself.
    """

    driver: Driver
    carrierOf: Callable[[Address], Carrier | None] = staticmethod(lambda local: None)

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        One datagram came.
        """
        self.driver.datagramReceived(data, local, remote)

    def datagramsReceived(
        self, datagrams: Sequence[tuple[bytes, Address, Address]]
    ) -> None:
        """
        Several came.
        """
        self.driver.datagramsReceived(datagrams)

    def runsReceived(self, runs: list[Run]) -> None:
        """
        Several came, those of one source together.
        """
        core: Any = self.driver.core
        self.driver.call(core.runsReceived, runs)

    def wayFor(
        self, local: Address, remote: Address, number: int
    ) -> tuple[Way, Carrier] | None:
        """
        @see: L{punchd.interfaces.IWayReceiver}.
        """
        relay: Any = self.driver.core
        way = relay.wayFromPeer(local, remote, self.driver.now())
        port = None if way is None else self.carrierOf(way.local)
        return None if port is None else (way, port)

    def errorReported(
        self, local: Address, remote: Address, kind: int, code: int, info: int
    ) -> None:
        """
        One that was sent has not arrived.
        """
        relay: Any = self.driver.core
        self.driver.call(relay.errorReported, local, remote, (kind, code, info))
