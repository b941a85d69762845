"""
Simulated UDP sockets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import IDatagramPort, IDatagramReceiver, IHopReceiver

from .packet import DEFAULT_TTL, HEADERS, Packet

if TYPE_CHECKING:
    from .ports import Ports


@implementer(IDatagramPort)
class DatagramPort:
    """
    A UDP socket of a simulated host.

    @ivar host: the bound address, empty for the wildcard.
    @ivar number: the bound port.
    @ivar counters: what could not be sent, by reason.
    """

    def __init__(
        self,
        machine: Ports,
        receiver: IDatagramReceiver,
        family: int,
        host: str,
        number: int,
    ) -> None:
        self.family = family
        self.host = host
        self.number = number
        self.receiver = receiver
        self.counters: Counter[str] = Counter()
        self._machine = machine
        self._headers = HEADERS[family]
        self._closed = False

    def __repr__(self) -> str:
        return f"<DatagramPort {self._machine.name} {self.host or '*'}:{self.number}>"

    def getHost(self) -> Address:
        """
        @return: what it is bound to.
        """
        wildcard = "0.0.0.0" if self.family == 4 else "::"
        return (self.host or wildcard, self.number)

    def send(self, datagram: Datagram) -> None:
        """
        Send a datagram, or count why not.
        """
        if self._closed:
            self.counters["closed"] += 1
            return
        machine = self._machine
        remote = datagram.remote
        local = datagram.local
        source: str | None = self.host
        if not source:
            wanted = local[0] if local else ""
            if wanted in machine.addresses:
                source = wanted
            else:
                source = machine.sourceFor(remote[0])
        if source is None or (":" in remote[0]) != (self.family == 6):
            self.counters["unreachable"] += 1
            return
        data = datagram.data
        machine.send(
            Packet(
                "udp",
                (source, self.number),
                remote,
                bytes(data),
                len(data) + self._headers,
                datagram.ttl or DEFAULT_TTL,
                self,
            )
        )

    def sendMany(self, datagrams: Iterable[Datagram]) -> None:
        """
        Send several.
        """
        for datagram in datagrams:
            self.send(datagram)

    def close(self) -> None:
        """
        Close the socket.
        """
        if not self._closed:
            self._closed = True
            self._machine.closeDatagramPort(self)

    def hopReported(self, data: bytes, host: str) -> None:
        """
        A datagram of ours has died on its way.
        """
        if not self._closed and IHopReceiver.providedBy(self.receiver):
            self.receiver.hopReported(data, host)

    def datagramReceived(self, packet: Packet) -> None:
        """
        A packet for this socket has arrived.
        """
        self.receiver.datagramReceived(
            packet.payload, packet.destination, packet.source
        )
