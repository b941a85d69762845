"""
The DATAGRAM frames of a session (RFC 9221): each belongs to a stream, as in RFC
9297, section 2.1.

A frame begins with the number of its stream, of which QUIC's second lowest bit, the
direction, is left out: there are none on unidirectional streams.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from punchd.errors import DatagramTooLarge

from .pace import Pace
from .quic import MAX_DATAGRAM, QuicCore

if TYPE_CHECKING:
    from .stream import Stream

#: The longest payload, in bytes: any number below 2^30 leaves room for it.
MAX_PAYLOAD = MAX_DATAGRAM - 4

#: How many bytes wait here at most, and for how many seconds: whoever sends faster
#: than the path carries loses the oldest, for nobody waits for those.
MAX_QUEUED = 256 << 10
MAX_AGE = 1.0

#: How many are kept that have overtaken the head of their stream.
EARLY = 64


class Datagrams:
    """
    I pass on the datagrams of all streams of a session.

    @ivar sent: how many were handed to QUIC.
    @ivar received: how many reached their stream.
    @ivar dropped: how many did not get there, by reason.
    @ivar pace: how fast they go: QUIC sends them at once, however many.
    """

    def __init__(
        self,
        core: QuicCore,
        find: Callable[[int], Stream | None],
        clock: Callable[[], float],
    ) -> None:
        """
        @param find: gives the open stream of a number.
        @param clock: gives the time.
        """
        self.sent = 0
        self.received = 0
        self.dropped: Counter[str] = Counter()
        self.pace = Pace()
        self._core = core
        self._find = find
        self._clock = clock
        self._queue: deque[tuple[float, Stream, bytes]] = deque()
        self._size = 0
        self._waits = False
        self._early: deque[tuple[int, bytes]] = deque()

    # --- sending -------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """
        Whether there is anything to send.
        """
        return bool(self._queue)

    def send(self, stream: Stream, data: bytes) -> None:
        """
        Send a datagram once the path has room for it.

        @raise DatagramTooLarge: it has more than L{MAX_PAYLOAD} bytes.
        """
        if len(data) > MAX_PAYLOAD:
            raise DatagramTooLarge(
                f"A datagram has at most {MAX_PAYLOAD} bytes, not {len(data)}."
            )
        self._queue.append((self._clock(), stream, data))
        self._size += len(data)
        while self._size > MAX_QUEUED:
            self._pop()
            self.dropped["the queue is full"] += 1

    def fill(self) -> bool:
        """
        Hand over what QUIC should send now.

        @return: whether there was anything.
        """
        moved = self._waits = False
        now = self._core.now
        for _ in range(len(self._queue)):
            since, stream, data = self._queue[0]
            if since < now - MAX_AGE:
                self.dropped["too late"] += 1
            elif stream.disconnected:
                self.dropped["the stream is gone"] += 1
            elif stream.id is None:
                # It waits for its turn to be opened.
                self._queue.rotate(-1)
                continue
            elif not self.pace.allows(now):
                self._waits = True
                break
            else:
                self._core.sendDatagram(_pack(stream.id) + data)
                self.pace.sent(len(data))
                self.sent += 1
                moved = True
            self._pop()
        return moved

    def deadline(self) -> float | None:
        """
        @return: when L{fill} has something to do, if it is known.
        """
        return self.pace.due() if self._waits else None

    def _pop(self) -> None:
        self._size -= len(self._queue.popleft()[2])

    # --- receiving -----------------------------------------------------------

    def came(self, payload: bytes) -> None:
        """
        A DATAGRAM frame has come.
        """
        found = _unpack(payload)
        if found is None:
            self.dropped["malformed"] += 1
            return
        id, data = found
        stream = self._find(id)
        if stream is not None and stream.takesDatagrams:
            self._deliver(stream, data)
        else:
            self._early.append((id, data))
            if len(self._early) > EARLY:
                self._early.popleft()
                self.dropped["no stream"] += 1

    def ready(self, stream: Stream) -> None:
        """
        C{stream} takes datagrams from now on.
        """
        early, self._early = self._early, deque()
        for id, data in early:
            if id == stream.id:
                self._deliver(stream, data)
            else:
                self._early.append((id, data))

    def _deliver(self, stream: Stream, data: bytes) -> None:
        self.received += 1
        stream.datagramCame(data)


def _pack(id: int) -> bytes:
    number = id >> 2 << 1 | id & 1
    if number < 0x40:
        return bytes((number,))
    if number < 0x4000:
        return (number | 0x4000).to_bytes(2, "big")
    return (number | 0x8000_0000).to_bytes(4, "big")


def _unpack(payload: bytes) -> tuple[int, bytes] | None:
    if not payload:
        return None
    length = 1 << (payload[0] >> 6)
    if len(payload) < length:
        return None
    number = int.from_bytes(payload[:length], "big") & ((1 << (8 * length - 2)) - 1)
    return number >> 1 << 2 | number & 1, payload[length:]
