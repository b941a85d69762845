"""
The TCP port of the rendezvous, on which several protocols are spoken.

The first byte tells TLS (0x16) from plain STUN (two zero bits, RFC 8489, 5);
within TLS, ALPN tells signaling from STUN.  Whoever has not said enough within
ten seconds is sent away, and there are only so many of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.core import Address
from punchd.errors import MalformedMessage
from punchd.net.tls import SIGNALING, ServerCredentials, peerOf
from punchd.signaling.boxes import FIRST_BOX
from punchd.stun.address import canonicalHost, prefixOf
from punchd.stun.limit import PrefixLimit
from punchd.stun.stream import FrameSplitter, pad

from .registrar import Registrar

#: Seconds that a connection for STUN may be silent.
STUN_SILENCE: Final = 60.0
#: STUN messages over TCP are no larger; TURN data is not carried here.
MAX_FRAME: Final = 2048
#: Connections that have not said what they want, of one network and in all.
MAX_UNSETTLED: Final = 256
MAX_UNSETTLED_TOTAL: Final = 4096
#: New connections a second of one network in the long run, and at once.
RATE: Final = 50.0
BURST: Final = 500.0

_TLS = 0x16

#: From a frame, the local and the remote address to the frames of the answer.
Answer = Callable[[bytes, Address, Address], Sequence[bytes]]


def _addressOf(address: Any) -> Address:
    return canonicalHost(address.host), address.port


@implementer(IPushProducer)
class StunStream(Protocol):
    """
    I answer STUN over TCP, or over TLS over TCP.
    """

    def __init__(self, answer: Answer, clock: IReactorTime) -> None:
        self._answer = answer
        self._clock = clock
        self._splitter = FrameSplitter(MAX_FRAME)
        self._silence: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Wait for a message.
        """
        transport: Any = self.transport
        self._silence = self._clock.callLater(STUN_SILENCE, transport.abortConnection)
        # What is not read is not answered either.
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Answer each message.
        """
        transport: Any = self.transport
        if self._silence is not None:
            self._silence.reset(STUN_SILENCE)
        try:
            frames = self._splitter.dataReceived(data)
        except MalformedMessage:
            transport.abortConnection()
            return
        local = _addressOf(transport.getHost())
        remote = _addressOf(transport.getPeer())
        for frame in frames:
            for answer in self._answer(frame, local, remote):
                transport.write(pad(answer))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Nothing is waited for any more.
        """
        silence, self._silence = self._silence, None
        if silence is not None and silence.active():
            silence.cancel()

    def pauseProducing(self) -> None:
        """
        The client does not read.
        """
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        It does again.
        """
        transport: Any = self.transport
        transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        The connection is going away.
        """


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
        if self.successor is not None:
            self.successor.connectionLost(reason)


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
        if transport.negotiatedProtocol != SIGNALING:
            self._entrance.settled()
            self.handOver(StunStream(factory.answer, factory.clock))
            return
        peer = peerOf(transport)
        if peer is None:
            factory.counters["signaling without a certificate"] += 1
            transport.abortConnection()
            return
        patience = self._entrance.settled()
        host = _addressOf(transport.getPeer())[0]
        self.handOver(factory.registrar.connected(peer, host, patience))

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on; before the handshake is complete nothing comes.
        """
        if self.successor is not None:
            self.successor.dataReceived(data)


class Entrance(_Relay):
    """
    I am a new TCP connection.
    """

    factory: EntranceFactory

    def __init__(self, factory: EntranceFactory, network: str) -> None:
        self.factory = factory
        self._network = network
        self._waiting: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Wait, but not for long.
        """
        factory = self.factory
        factory.unsettled[self._network] += 1
        factory.unsettledTotal += 1
        factory.connections.add(self)
        self._waiting = factory.clock.callLater(FIRST_BOX, self._tooLate)

    def settled(self) -> float:
        """
        It is clear what the connection is for.

        @return: the seconds that were left.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return 0.0
        self.factory.unsettledTotal -= 1
        unsettled = self.factory.unsettled
        unsettled[self._network] -= 1
        if not unsettled[self._network]:
            del unsettled[self._network]
        if not waiting.active():
            return 0.0
        left = waiting.getTime() - self.factory.clock.seconds()
        waiting.cancel()
        return max(0.0, left)

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
        self.settled()
        super().connectionLost(reason)

    def _choose(self, first: int) -> bool:
        factory = self.factory
        if first == _TLS:
            inner = Factory.forProtocol(lambda: Guest(self))
            tls = TLSMemoryBIOFactory(factory.credentials, False, inner, factory.clock)
            # A box is one write: there is nothing to gather until the next turn.
            tls.protocol = TLSMemoryBIOProtocol
            transport: Any = self.transport
            self.handOver(tls.buildProtocol(transport.getPeer()))
            return True
        if first < 0x40:
            self.settled()
            self.handOver(StunStream(factory.answer, factory.clock))
            return True
        return False

    def _tooLate(self) -> None:
        transport: Any = self.transport
        self.factory.counters["nothing said in time"] += 1
        transport.abortConnection()


class EntranceFactory(Factory):
    """
    I let connections in, unless there are too many.

    @ivar counters: who was sent away, by reason.
    @ivar unsettled: connections that have not said what they want, by network.
    @ivar connections: those that are open, whatever they are for.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        credentials: ServerCredentials,
        registrar: Registrar,
        answer: Answer,
    ) -> None:
        """
        @param answer: answers STUN.
        """
        self.clock = clock
        self.credentials = credentials
        self.registrar = registrar
        self.answer = answer
        self.counters: Counter[str] = Counter()
        self.unsettled: Counter[str] = Counter()
        self.unsettledTotal = 0
        self.connections: set[Entrance] = set()
        self._limit = PrefixLimit(RATE, BURST, totalRate=1000.0)

    def buildProtocol(  # type: ignore[override]
        self, address: IAddress | None
    ) -> Entrance | None:
        """
        @return: L{None} to send a connection away.
        """
        assert isinstance(address, (IPv4Address, IPv6Address))
        network = prefixOf(address.host)
        if not self._limit.allows(address.host, self.clock.seconds()):
            self.counters["too many connections"] += 1
            return None
        if (
            self.unsettled[network] >= MAX_UNSETTLED
            or self.unsettledTotal >= MAX_UNSETTLED_TOTAL
        ):
            self.counters["too many that say nothing"] += 1
            return None
        return Entrance(self, network)

    def abortAll(self) -> None:
        """
        End all connections.
        """
        for each in list(self.connections):
            transport: Any = each.transport
            transport.abortConnection()
