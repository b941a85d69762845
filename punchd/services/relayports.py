"""
The UDP ports that relayed addresses are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.error import CannotListenError

from punchd.core import Address
from punchd.interfaces import IDatagramPort, IDatagramReceiver

#: How many ports are tried before there are none.
ATTEMPTS: Final = 32


class RelayPorts:
    """
    I open ports at random (RFC 8656, 7.2: they must not be guessed).

    @ivar ports: by the address that they are bound to.
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

    def open(self, family: int, even: bool = False) -> Address | None:
        """
        @see: L{punchd.turn.table.RelayPorts.open}.
        """
        host = self._hosts.get(family)
        if host is None:
            return None
        for _ in range(ATTEMPTS):
            chance = int.from_bytes(self._network.entropy(4), "big")
            number = self._low + chance % (self._high - self._low + 1)
            if (even and number % 2) or (host, number) in self.ports:
                continue
            try:
                port = self._network.listenDatagram(
                    self._receiver, family, host, number
                )
            except CannotListenError:
                continue
            self.ports[host, number] = port
            return host, number
        return None

    def close(self, address: Address) -> None:
        """
        @see: L{punchd.turn.table.RelayPorts.close}.
        """
        self.ports.pop(address).close()

    def closeAll(self) -> None:
        """
        The relay stops.
        """
        for address in list(self.ports):
            self.close(address)
