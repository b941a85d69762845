"""
The fast path of a relay: datagrams for which it was decided in advance where they
go (L{punchd.turn.ways}).

Such a datagram is read, looked up, and sent, and neither the relay nor its loop
hear of it.  What the kernel hands over as one batch leaves as one, without a copy
or an object for any datagram in it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from punchd.core import Burst
from punchd.turn.ways import Way

from .sending import SEGMENTS

if TYPE_CHECKING:
    from .carrying import Carrier

#: The number of a channel, and the size of the data.
HEAD: Final = Struct(">HH")
#: Bytes of the header of ChannelData.
HEADER: Final = 4
#: Kinds of batches whose views are remembered.
_KINDS: Final = 64

_views: dict[tuple[int, int, int], list[memoryview]] = {}


class Lane:
    """
    I am one way, and what has to be at hand to go it.

    @ivar way: what was decided.
    @ivar pending: what is sent with the next L{depart}.
    @ivar room: how many may be in there.
    @ivar prefix: what stands before data of C{size} bytes.
    """

    __slots__ = (
        "_control",
        "_port",
        "_remote",
        "head",
        "pending",
        "prefix",
        "room",
        "size",
        "way",
    )

    def __init__(self, way: Way, port: Carrier) -> None:
        """
        @param port: where datagrams leave.

        @raise OSError: they cannot.
        """
        self.way = way
        self.head = way.head
        self.pending: list[bytes] = []
        self.room = 0
        self.size = -1
        self.prefix = b""
        self._port = port
        self._remote = way.remote
        self._control = port.sender.controlFor(way.local, way.remote)

    def prefixFor(self, size: int) -> bytes:
        """
        @return: what stands before data of that size.
        """
        self.size = size
        self.prefix = self.head + size.to_bytes(2, "big")
        return self.prefix

    def boards(self, crowd: Any) -> bool:
        """
        @param crowd: a L{punchd.net.crowd.Crowd}.

        @return: whether one more may be pending.
        """
        if self.pending:
            return False
        self.room = self.way.room(crowd.now)
        if self.room <= 0:
            return False
        crowd.waiting.append(self)
        return True

    def carries(self, framed: bytes | memoryview, size: int, now: float) -> bool:
        """
        @param framed: what is to be sent.
        @param size: of the data in it.

        @return: whether that has been passed on.
        """
        way = self.way
        if way.room(now) <= 0:
            return False
        way.passed(1, size)
        if not self._port.sendPrepared(framed, self._control, self._remote):
            self._port.sendMany(Burst([bytes(framed)], way.local, self._remote))
        return True

    def depart(self) -> None:
        """
        Send what is pending.
        """
        pending = self.pending
        if not pending:
            return
        self.pending, self.room = [], 0
        count, size, port = len(pending), len(pending[0]), self._port
        if count > 1:
            size = sum(map(len, pending))
        self.way.passed(count, size - HEADER * count if self.head else size)
        if count > 1:
            port.sendRun(pending, self.way.local, self._control, self._remote)
        elif not port.sendPrepared(pending[0], self._control, self._remote):
            port.sendMany(Burst(pending, self.way.local, self._remote))

    def outward(
        self, data: memoryview, start: int, length: int, segment: int, now: float
    ) -> bool:
        """
        Pass on a batch of ChannelData without its headers, or with other ones.

        @param start: where it begins.
        @param length: of the batch, in bytes.
        @param segment: of each datagram in it but the last, which may be shorter.

        @return: whether that is done.
        """
        full, rest = divmod(length, segment)
        end = start + length - rest
        size = segment - HEADER
        number, told = HEAD.unpack_from(data, start)
        if told != size or not size or full > SEGMENTS:
            return False
        for at in range(start, start + HEADER):
            if bytes(data[at:end:segment]).count(data[at]) != full:
                return False
        if rest and (
            rest <= HEADER or HEAD.unpack_from(data, end) != (number, rest - HEADER)
        ):
            return False
        if not self.head:
            vectors: list[Any] = _viewsOf(data, start, segment, HEADER)[:full]
            if rest:
                vectors.append(data[end + HEADER : end + rest])
        else:
            # The size in the header stays.
            vectors = [self.head] * (2 * full)
            vectors[1::2] = _viewsOf(data, start, segment, 2)[:full]
            if rest:
                vectors += self.head, data[end + 2 : end + rest]
            size = segment
        count = full + (rest > 0)
        return self._batch(vectors, size, count, length - HEADER * count, now)

    def inward(
        self, data: memoryview, start: int, length: int, segment: int, now: float
    ) -> bool:
        """
        Pass on a batch as ChannelData.

        @see: L{outward}.
        """
        full, rest = divmod(length, segment)
        if full > SEGMENTS:
            return False
        vectors: list[Any] = [self.prefixFor(segment)] * (2 * full)
        vectors[1::2] = _viewsOf(data, start, segment, 0)[:full]
        if rest:
            vectors += (
                self.prefixFor(rest),
                data[start + length - rest : start + length],
            )
        count = full + (rest > 0)
        return self._batch(vectors, segment + HEADER, count, length, now)

    def _batch(
        self, vectors: list[Any], segment: int, count: int, size: int, now: float
    ) -> bool:
        self.depart()
        if self.way.room(now) < count:
            return False
        if not self._port.sendSegments(
            vectors, segment, segment * count, self._control, self._remote
        ):
            return False
        self.way.passed(count, size)
        return True


def _viewsOf(data: memoryview, start: int, segment: int, skip: int) -> list[memoryview]:
    """
    @return: as many segments as a batch may have, each without its first bytes.
    """
    key = start, segment, skip
    views = _views.get(key)
    if views is None:
        if len(_views) >= _KINDS:
            _views.clear()
        views = _views[key] = [
            data[at + skip : at + segment]
            for at in range(start, start + SEGMENTS * segment, segment)
        ]
    return views
