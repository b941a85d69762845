"""
What one user of a forward of datagrams has: a stream, and datagrams beside it.

Datagrams that do not fit into a frame go on the stream, each as a DATAGRAM capsule
(RFC 9297, 3.5): type 0, its length, its payload.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from punchd.session.datagrams import MAX_PAYLOAD

#: The type of a DATAGRAM capsule; others are skipped.
DATAGRAM = 0

#: The longest payload of UDP.
MAX_UDP = 65535

#: Bytes of capsules that may wait on the stream.
MAX_WAITING = 256 << 10


class Association(Protocol):
    """
    I am the protocol of the stream.

    @ivar dropped: what did not get through, by reason.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        idle: float,
        deliver: Callable[[bytes], object],
        gone: Callable[[], object],
    ) -> None:
        """
        @param idle: seconds without a datagram after which it is over.
        @param deliver: called with each datagram of the peer.
        @param gone: called once, when it is over.
        """
        self.dropped: Counter[str] = Counter()
        self._clock = clock
        self._idle = idle
        self._deliver = deliver
        self._gone = gone
        self._used = clock.seconds()
        self._call: IDelayedCall | None = clock.callLater(idle, self._check)
        self._buffer = bytearray()
        self._paused = False
        self._over = False

    def send(self, data: bytes) -> None:
        """
        Send a datagram to the peer.
        """
        self._used = self._clock.seconds()
        if len(data) <= MAX_PAYLOAD:
            self.transport.sendDatagram(data)
        elif self._paused:
            self.dropped["the stream is full"] += 1
        else:
            self.transport.write(packCapsule(DATAGRAM, data))

    def end(self) -> None:
        """
        It is over.
        """
        if self._over:
            return
        self._over = True
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        if self.transport is not None:
            self.transport.loseConnection()
        self._gone()

    # --- IProtocol -----------------------------------------------------------

    def connectionMade(self) -> None:
        """
        Datagrams may come.
        """
        if self._over:
            self.transport.loseConnection()
            return
        self.transport.receiveDatagrams(self._came)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Take capsules.
        """
        self._buffer += data
        while True:
            found = cutCapsule(self._buffer)
            if found is None:
                return
            kind, value = found
            if kind < 0:
                self.transport.abortConnection()
                return
            if kind == DATAGRAM:
                self._came(value)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The peer has ended it, or the session is over.
        """
        self.end()

    # --- IPushProducer, of capsules ------------------------------------------

    def pauseProducing(self) -> None:
        """
        The stream has enough.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        It takes more.
        """
        self._paused = False

    def stopProducing(self) -> None:
        """
        It takes no more.
        """
        self._paused = True

    # --- inside --------------------------------------------------------------

    def _came(self, data: bytes) -> None:
        self._used = self._clock.seconds()
        if not self._over:
            self._deliver(data)

    def _check(self) -> None:
        left = self._used + self._idle - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._check)
        else:
            self._call = None
            self.end()


def packCapsule(kind: int, value: bytes) -> bytes:
    """
    @return: a capsule (RFC 9297, 3.2).
    """
    return _packInteger(kind) + _packInteger(len(value)) + value


def cutCapsule(buffer: bytearray) -> tuple[int, bytes] | None:
    """
    Take a capsule from the front of what came in so far.

    @return: its type and value; -1 as the type when it is too long; L{None} when
        some is missing.
    """
    at, kind = _integer(buffer, 0)
    at, length = _integer(buffer, at) if at else (0, 0)
    if not at:
        return None
    if length > MAX_UDP:
        return -1, b""
    if len(buffer) < at + length:
        return None
    value = bytes(buffer[at : at + length])
    del buffer[: at + length]
    return kind, value


def _packInteger(number: int) -> bytes:
    # RFC 9000, section 16.
    if number < 0x40:
        return bytes((number,))
    if number < 0x4000:
        return (number | 0x4000).to_bytes(2, "big")
    return (number | 0x8000_0000).to_bytes(4, "big")


def _integer(buffer: bytearray, at: int) -> tuple[int, int]:
    """
    @return: where the next field begins, 0 when some is missing, and the number.
    """
    if at >= len(buffer):
        return 0, 0
    end = at + (1 << (buffer[at] >> 6))
    if end > len(buffer):
        return 0, 0
    mask = (1 << (8 * (end - at) - 2)) - 1
    return end, int.from_bytes(buffer[at:end], "big") & mask
