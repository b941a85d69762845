"""
The TCP port of the rendezvous, on which several protocols are spoken.

The first byte tells TLS (0x16) from plain STUN (two zero bits, RFC 8489, 5);
within TLS, ALPN tells signaling from STUN.  Whoever has not said enough within
ten seconds is sent away.  There are only so many connections of those who have
not proven who they are, by TLS or by an allocation: when there are too many,
the oldest makes room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.net.congestion import pace
from punchd.net.reaching import WholeReads
from punchd.net.tls import SIGNALING, TURN_TOGETHER, ServerCredentials, isModern, peerOf
from punchd.signaling.boxes import FIRST_BOX
from punchd.stun.address import prefixOf
from punchd.stun.limit import PrefixLimit

from .registrar import Registrar
from .streams import Streams, StunStream, addressOf
from .trimming import CONNECTION, Trimming

#: Connections that have proven nothing, of one network and in all.
MAX_UNSETTLED: Final = 256
MAX_UNSETTLED_TOTAL: Final = 4096
#: New connections a second of one network in the long run, and at once.
RATE: Final = 50.0
BURST: Final = 500.0

#: The first byte of a connection within TLS.
TLS: Final = 0x16


class _Relay(Protocol):
    """
    I stand before a protocol that is chosen later.
    """

    successor: Any = None

    def handOver(self, successor: Any) -> None:
        """
        C{successor} has the connection from now on.
        """
        self.successor = successor
        successor.makeConnection(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass on.
        """
        # Without a circle what was in the connection's buffers is freed at once.
        successor, self.successor = self.successor, None
        if successor is not None:
            successor.connectionLost(reason)


@implementer(IHandshakeListener)
class Guest(_Relay):
    """
    I am a connection within TLS, and choose by what was negotiated.
    """

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    def handshakeCompleted(self) -> None:
        """
        Who is there, and what for?
        """
        transport: Any = self.transport
        factory = self._entrance.factory
        spoken = transport.negotiatedProtocol
        if spoken != SIGNALING:
            self.handOver(self._entrance.stream(spoken == TURN_TOGETHER))
            return
        peer = peerOf(transport) if isModern(transport) else None
        registrar = factory.registrar
        if peer is None or registrar is None:
            factory.counters["signaling without a certificate"] += 1
            transport.abortConnection()
            return
        patience = self._entrance.settled()
        host = addressOf(transport.getPeer())[0]
        self.handOver(registrar.connected(peer, host, patience))

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on; before the handshake is complete nothing comes.
        """
        if self.successor is not None:
            self.successor.dataReceived(data)

    def allReceived(self) -> None:
        """
        Pass on to who wants to know.
        """
        if isinstance(self.successor, StunStream):
            self.successor.allReceived()


class Entrance(_Relay):
    """
    I am a new TCP connection.
    """

    factory: EntranceFactory
    #: The seconds for saying enough.
    allowed: float = FIRST_BOX

    def __init__(self, factory: EntranceFactory, network: str) -> None:
        self.factory = factory
        self.network = network
        self._waiting: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Wait, but not for long.
        """
        factory = self.factory
        self.count(True)
        factory.connections.add(self)
        self._waiting = factory.clock.callLater(self.allowed, self._tooLate)

    def settled(self) -> float:
        """
        It is clear what the connection is for, and who is there.

        @return: the seconds that were left.
        """
        self.count(False)
        return self.stopWaiting()

    def stream(self, together: bool = False) -> StunStream:
        """
        @param together: whether the client takes several frames in a record of TLS.

        @return: what is to have the connection if it is for STUN; it waits for
            itself, and says when somebody has proven who they are.
        """
        getHandle = getattr(self.transport, "getHandle", None)
        if getHandle is not None:
            # What is relayed is much, and for somebody else.
            pace(getHandle())
        return StunStream(
            self.factory.streams, self.stopWaiting(), self.count, together
        )

    def count(self, unsettled: bool) -> None:
        """
        Be among those that may have to make room, or no longer.
        """
        self.factory.unsettled.count(self, self.network, unsettled)

    def leave(self) -> None:
        """
        Go at once.
        """
        transport: Any = self.transport
        transport.abortConnection()

    def patience(self) -> float:
        """
        @return: the seconds that are left.
        """
        waiting = self._waiting
        if waiting is None or not waiting.active():
            return 0.0
        return max(0.0, waiting.getTime() - self.factory.clock.seconds())

    def stopWaiting(self) -> float:
        """
        @return: the seconds that were left.
        """
        left = self.patience()
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.active():
            waiting.cancel()
        return left

    def dataReceived(self, data: bytes) -> None:
        """
        Choose by the first byte, then pass on.
        """
        if self.successor is None and not self._choose(data[0]):
            transport: Any = self.transport
            self.factory.counters["neither TLS nor STUN"] += 1
            transport.abortConnection()
            return
        self.successor.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass on.
        """
        self.factory.connections.discard(self)
        self.factory.trimming.freed(CONNECTION)
        self.settled()
        super().connectionLost(reason)

    def _choose(self, first: int) -> bool:
        factory = self.factory
        if first == TLS:
            inner = Factory.forProtocol(lambda: Guest(self))
            tls = TLSMemoryBIOFactory(factory.credentials, False, inner, factory.clock)
            # A box is one write: there is nothing to gather until the next turn.
            tls.protocol = WholeReads
            transport: Any = self.transport
            self.handOver(tls.buildProtocol(transport.getPeer()))
            return True
        if first < 0x40:
            self.handOver(self.stream())
            return True
        return False

    def _tooLate(self) -> None:
        transport: Any = self.transport
        self.factory.counters["nothing said in time"] += 1
        transport.abortConnection()


class Unsettled:
    """
    I know the connections that have proven nothing, oldest first.
    """

    def __init__(self) -> None:
        self._all: dict[Entrance, None] = {}
        self._byNetwork: dict[str, dict[Entrance, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def count(self, entrance: Entrance, network: str, unsettled: bool) -> None:
        """
        Take a connection in, or out.
        """
        if unsettled:
            self._all[entrance] = None
            self._byNetwork.setdefault(network, {})[entrance] = None
        elif entrance in self._all:
            del self._all[entrance]
            near = self._byNetwork[network]
            del near[entrance]
            if not near:
                del self._byNetwork[network]

    def inTheWay(self, network: str) -> Entrance | None:
        """
        @return: which connection has to go before one more of that network is
            let in.
        """
        near = self._byNetwork.get(network, {})
        if len(near) >= MAX_UNSETTLED:
            return next(iter(near))
        if len(self._all) >= MAX_UNSETTLED_TOTAL:
            return next(iter(self._all))
        return None


class EntranceFactory(Factory):
    """
    I let connections in, unless there are too many.

    @ivar counters: who was sent away, by reason.
    @ivar unsettled: connections that have proven nothing.
    @ivar connections: those that are open, whatever they are for.
    @ivar trimming: gives memory back when many have gone.
    """

    log = Logger()
    noisy = False
    #: Makes what is a connection.
    entrance: Callable[[Any, str], Entrance] = Entrance

    def __init__(
        self,
        clock: IReactorTime,
        credentials: ServerCredentials,
        registrar: Registrar | None,
        streams: Streams,
    ) -> None:
        """
        @param registrar: takes connections for signaling, if there may be any.
        @param streams: takes connections for STUN and TURN.
        """
        self.clock = clock
        self.credentials = credentials
        self.registrar = registrar
        self.streams = streams
        self.counters: Counter[str] = Counter()
        self.unsettled = Unsettled()
        self.connections: set[Entrance] = set()
        self.trimming = Trimming(clock)
        streams.budget.onFreed = self.trimming.freed
        self._limit = PrefixLimit(RATE, BURST, totalRate=1000.0)

    def buildProtocol(  # type: ignore[override]
        self, address: IAddress | None
    ) -> Entrance | None:
        """
        @return: L{None} to send a connection away.
        """
        assert isinstance(address, (IPv4Address, IPv6Address))
        if not self._limit.allows(address.host, self.clock.seconds()):
            self.counters["too many connections"] += 1
            return None
        network = prefixOf(address.host)
        oldest = self.unsettled.inTheWay(network)
        if oldest is not None:
            self.counters["made room"] += 1
            oldest.count(False)
            oldest.leave()
        return self.entrance(self, network)

    def abortAll(self) -> None:
        """
        End all connections, for good.
        """
        self.trimming.stop()
        for each in list(self.connections):
            each.leave()
