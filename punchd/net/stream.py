"""
Datagrams on a TCP connection: each behind its length in two bytes (RFC 4571), as
ICE over TCP has it (RFC 6544, section 3).

A stream that does not get rid of what it is given must not hoard it: what was
sent seconds ago is of no use to QUIC.  So nothing more is taken while the first of
what waits has waited for long, or while too much does; it is dropped and counted.
Bursts are taken: a loss at the beginning, when TCP is still slow, would slow QUIC
down for long.  Checks do not wait behind data.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.stun.message import isMessage

#: Bytes that may wait for room in the transport, however long they do, and however
#: short.
LEAST_WAITING: Final = 64 << 10
MOST_WAITING: Final = 2 << 20
#: Seconds that the first of them may have waited for more to be taken.
PATIENCE: Final = 0.5
#: Bytes that the transport may hold before it asks for a pause, and about how many it
#: gets at a time.
TRANSPORT_BUFFER: Final = 16 << 10
BATCH: Final = 32 << 10
#: Bytes that are read at a time.
READ: Final = 256 << 10
#: What two bytes can tell (RFC 4571, section 2).
LARGEST: Final = 0xFFFF

_HEAD = 2


def framed(datagrams: Iterable[bytes]) -> bytes:
    """
    @param datagrams: of L{LARGEST} bytes at the most.

    @return: the datagrams as a stream carries them.
    """
    parts: list[bytes] = []
    for datagram in datagrams:
        parts += (len(datagram).to_bytes(_HEAD, "big"), datagram)
    return b"".join(parts)


class Deframer:
    """
    I cut a stream into datagrams.  I keep at most one unfinished one; those of no
    bytes, which mean nothing here, are skipped.
    """

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def pending(self) -> int:
        """
        The bytes of the unfinished datagram that are here.
        """
        return len(self._buffer)

    def dataReceived(self, data: bytes) -> list[bytes]:
        """
        @return: the datagrams that C{data} has completed.
        """
        buffer = self._buffer + data if self._buffer else data
        found = []
        at, size = 0, len(buffer)
        while size - at >= _HEAD:
            end = at + _HEAD + (buffer[at] << 8 | buffer[at + 1])
            if end > size:
                break
            if end > at + _HEAD:
                found.append(buffer[at + _HEAD : end])
            at = end
        self._buffer = buffer[at:]
        return found


@implementer(IPushProducer)
class DatagramStream(Protocol):
    """
    I am one connection that carries datagrams.

    @ivar counters: C{dropped} datagrams, for which there was no room, C{sent}
        and C{received} ones.
    """

    def __init__(
        self,
        received: Callable[[list[bytes]], None],
        lost: Callable[[str], None],
        seconds: Callable[[], float],
    ) -> None:
        """
        @param received: called with the datagrams of each read.
        @param lost: called once, with some words for people.
        @param seconds: the time, monotonic.
        """
        self.counters: Counter[str] = Counter()
        self._received = received
        self._lost = lost
        self._seconds = seconds
        self._deframer = Deframer()
        self._paused = False
        self._urgent: list[bytes] = []
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._size = 0

    def connectionMade(self) -> None:
        """
        Send at once, and be told when the other side does not keep up.
        """
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.bufferSize = READ
        transport.registerProducer(self, True)

    def sendDatagrams(self, datagrams: Iterable[bytes]) -> None:
        """
        Send them, or as many as there is room for.
        """
        transport: Any = self.transport
        if transport is None:
            return
        if not self._paused:
            datagrams = list(datagrams)
            self.counters["sent"] += len(datagrams)
            # The transport has one number for two things.
            transport.bufferSize = TRANSPORT_BUFFER
            transport.write(framed(datagrams))
            transport.bufferSize = READ
            return
        now = self._seconds()
        first = self._waiting[0][0] if self._waiting else now
        most = MOST_WAITING if now - first < PATIENCE else LEAST_WAITING
        for datagram in datagrams:
            if self._size + len(datagram) > most:
                self.counters["dropped"] += 1
                continue
            self._size += len(datagram)
            if isMessage(datagram):
                self._urgent.append(datagram)
            else:
                self._waiting.append((now, datagram))

    @property
    def waiting(self) -> int:
        """
        The bytes that wait for room in the transport.
        """
        return self._size

    # --- IPushProducer

    def pauseProducing(self) -> None:
        """
        The transport has enough.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        The transport wants more.
        """
        self._paused = False
        while not self._paused and self._size:
            batch = self._urgent
            self._urgent = []
            size = sum(map(len, batch))
            while self._waiting and size < BATCH:
                datagram = self._waiting.popleft()[1]
                size += len(datagram)
                batch.append(datagram)
            self._size -= size
            self.sendDatagrams(batch)

    def stopProducing(self) -> None:
        """
        The connection is going away.
        """

    # --- Protocol

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on what is complete.
        """
        datagrams = self._deframer.dataReceived(data)
        if datagrams:
            self.counters["received"] += len(datagrams)
            self._received(datagrams)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the owner, once.
        """
        self.transport = None
        self._waiting.clear()
        self._urgent.clear()
        self._size = 0
        lost, self._lost = self._lost, _ignore
        self._received = _ignore
        lost(reason.getErrorMessage())

    def close(self) -> None:
        """
        End the connection, and tell nobody.
        """
        self._lost = self._received = _ignore
        transport: Any = self.transport
        if transport is not None:
            if self._size:
                # Nobody wants to wait for what waits.
                transport.abortConnection()
            else:
                transport.unregisterProducer()
                transport.loseConnection()


def _ignore(value: object) -> None:
    pass
