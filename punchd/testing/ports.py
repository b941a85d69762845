"""
The sockets of a simulated machine: who is bound where.
"""

from __future__ import annotations

from errno import EADDRINUSE, EADDRNOTAVAIL, ECONNABORTED, ECONNRESET
from random import Random
from typing import TYPE_CHECKING

from twisted.internet.error import CannotListenError

from punchd.core import Address
from punchd.interfaces import IDatagramReceiver

from .datagrams import DatagramPort
from .packet import Flags, Packet, Segment, familyOf
from .streams import StreamSocket, problem
from .transmission import Transmission

if TYPE_CHECKING:
    from .subnet import Subnet

#: Linux: net.ipv4.ip_local_port_range.
EPHEMERAL = (32768, 60999)


class Ports:
    """
    The UDP and TCP sockets of a machine; mixed into
    L{punchd.testing.host.Host}.

    @ivar boundStreams: TCP sockets that were bound to a port by name.
    """

    if TYPE_CHECKING:
        name: str
        random: Random

        addresses: dict[str, Subnet]

        def owns(self, host: str) -> bool: ...

        def sourceFor(self, remote: str) -> str | None: ...

        def send(self, packet: Packet) -> None: ...

    def __init__(self) -> None:
        self.boundStreams: list[StreamSocket] = []
        self._datagramPorts: dict[tuple[int, str, int], DatagramPort] = {}
        self._datagramNumbers: set[tuple[int, int]] = set()
        self._streams: dict[tuple[Address, Address], StreamSocket] = {}
        self._sequence = 0

    def freePort(self, protocol: str, family: int) -> int:
        """
        @return: a port that nobody is bound to.
        """
        low, high = EPHEMERAL
        used = self._datagramNumbers
        if protocol == "tcp":
            used = {(family, bound.local[1]) for bound in self.boundStreams}
            used |= {(family, local[1]) for local, _ in self._streams}
        while True:
            port = low + int(self.random.random() * (high - low + 1))
            if (family, port) not in used:
                return port

    # --- UDP ----------------------------------------------------------------

    def openDatagramPort(
        self, receiver: IDatagramReceiver, family: int, host: str, port: int
    ) -> DatagramPort:
        """
        Open a UDP socket; see L{punchd.interfaces.INetwork.listenDatagram}.
        """
        if host in ("0.0.0.0", "::"):
            host = ""
        if host and (familyOf(host) != family or not self.owns(host)):
            raise CannotListenError(host, port, problem(EADDRNOTAVAIL))
        if not port:
            port = self.freePort("udp", family)
        elif (family, port) in self._datagramNumbers and any(
            key[0] == family and key[2] == port and (not host or key[1] in ("", host))
            for key in self._datagramPorts
        ):
            raise CannotListenError(host, port, problem(EADDRINUSE))
        opened = DatagramPort(self, receiver, family, host, port)
        self._datagramPorts[family, host, port] = opened
        self._datagramNumbers.add((family, port))
        return opened

    def closeDatagramPort(self, port: DatagramPort) -> None:
        """
        Forget a UDP socket.
        """
        family, number = port.family, port.number
        self._datagramPorts.pop((family, port.host, number), None)
        if not any(key[::2] == (family, number) for key in self._datagramPorts):
            self._datagramNumbers.discard((family, number))

    def datagramPortFor(self, packet: Packet) -> DatagramPort | None:
        """
        @return: the socket that a UDP packet is for.
        """
        host, number = packet.destination
        family = 6 if ":" in host else 4
        ports = self._datagramPorts
        return ports.get((family, host, number)) or ports.get((family, "", number))

    # --- TCP ----------------------------------------------------------------

    def initialSequence(self) -> int:
        """
        @return: a number far from those of earlier connections.
        """
        self._sequence += 1 << 32
        return self._sequence

    def mayBindStream(self, new: StreamSocket, host: str, port: int) -> bool:
        """
        @return: whether a TCP socket may be bound there.
        """
        return not any(
            bound.local[1] == port
            and bound.family == new.family
            and bound is not new
            and (not host or bound.local[0] in ("", host))
            and not (bound.shared and new.shared)
            and (bound.state == "listen" or not (bound.reuse and new.reuse))
            for bound in self.boundStreams
        )

    def mayListen(self, new: StreamSocket) -> bool:
        """
        @return: whether nobody else listens there.
        """
        return not any(
            bound.state == "listen"
            and bound.family == new.family
            and bound.local[1] == new.local[1]
            and (not new.local[0] or bound.local[0] in ("", new.local[0]))
            for bound in self.boundStreams
        )

    def rememberStream(
        self, stream: StreamSocket, local: Address, remote: Address
    ) -> bool:
        """
        Have the packets of a connection come to C{stream}.

        @return: whether there was no such connection.
        """
        return self._streams.setdefault((local, remote), stream) is stream

    def forgetStream(self, stream: Transmission) -> None:
        """
        Forget a TCP socket.
        """
        key = (stream.local, stream.remote)
        if self._streams.get(key) is stream:
            del self._streams[key]
        if stream in self.boundStreams:
            self.boundStreams = [
                bound for bound in self.boundStreams if bound is not stream
            ]

    def streams(self) -> list[StreamSocket]:
        """
        @return: all TCP sockets, listening ones included.
        """
        listening = [bound for bound in self.boundStreams if bound.state == "listen"]
        return [*listening, *self._streams.values()]

    def segmentReceived(self, packet: Packet) -> None:
        """
        Give a TCP packet to its socket, or refuse it.
        """
        segment: Segment = packet.payload
        key = (packet.destination, packet.source)
        stream = self._streams.get(key)
        if stream is not None and stream.isNewOpening(segment):
            # The other host was restarted; we learn of it now.
            stream.fail(ECONNRESET)
            stream = None
        if stream is not None:
            stream.segmentReceived(segment)
            return
        if segment.flags & (Flags.SYN | Flags.ACK) == Flags.SYN:
            listener = self._listenerFor(packet.destination)
            if listener is not None:
                listener.opening(packet)
                return
        if not segment.flags & Flags.RST:
            reset = Segment(
                Flags.RST | Flags.ACK,
                segment.acknowledgement,
                segment.sequence + len(segment.data) + 1,
            )
            self.send(Packet("tcp", packet.destination, packet.source, reset, 40))

    def _listenerFor(self, local: Address) -> StreamSocket | None:
        found = None
        for bound in self.boundStreams:
            if bound.state == "listen" and bound.local[1] == local[1]:
                if bound.local[0] == local[0]:
                    return bound
                if not bound.local[0] and bound.family == familyOf(local[0]):
                    found = bound
        return found

    # --- the end of a program -----------------------------------------------

    def closeAll(self, silently: bool) -> None:
        """
        Close every socket, as the kernel does for a program that was killed.

        @param silently: nothing is sent any more, as when the power fails.
        """
        for port in list(self._datagramPorts.values()):
            port.close()
        for stream in self.streams():
            stream.reader = stream.writer = None
            if silently:
                stream.fail(ECONNABORTED)
            else:
                stream.close()
        self.boundStreams.clear()
