"""
The fast path of a relay: datagrams for which it was decided in advance where they
go (L{punchd.turn.ways}).

Such a datagram is read, looked up, and sent, and neither the relay nor its loop
hear of it.  What the kernel hands over as one batch leaves as one, without a copy
or an object for any datagram in it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal

from punchd.core import Burst
from punchd.turn.ways import Way

from . import ancillary
from .gso import packedControls, packedName
from .sending import SEGMENTS

if TYPE_CHECKING:
    from .carrying import Carrier

#: The number of a channel, and the size of the data.
HEAD: Final = Struct(">HH")
#: Bytes of the header of ChannelData.
HEADER: Final = 4
#: As what memory is looked at, to see headers that are so many bytes off a multiple
#: of four from each other; and how many bytes that takes at a time.
_WORDS: Final[tuple[tuple[Literal["I", "H", "B"], int], ...]] = (
    *(("I", 4), ("B", 1), ("H", 2), ("B", 1)),
)


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
        "_name",
        "_port",
        "_remote",
        "_segment",
        "_told",
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
        self._name = packedName(port.family, way.remote)
        # The control messages of batches, and for which size of a segment they are.
        self._segment, self._told = 0, b""

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
        if not _alike(data, start, end, segment, full):
            return False
        if rest and (
            rest <= HEADER or HEAD.unpack_from(data, end) != (number, rest - HEADER)
        ):
            return False
        # The size in the header stays.
        skip = 2 if self.head else HEADER
        return self._batch(start, segment, full, rest, skip, self.head, self.head, now)

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
        head = self.prefix if segment == self.size else self.prefixFor(segment)
        last = self.head + rest.to_bytes(2, "big") if rest else b""
        return self._batch(start, segment, full, rest, 0, head, last, now)

    def _batch(
        self,
        start: int,
        segment: int,
        full: int,
        rest: int,
        skip: int,
        head: bytes,
        last: bytes,
        now: float,
    ) -> bool:
        """
        @see: L{punchd.net.gso.BatchSender.send}.
        """
        if self.pending:
            self.depart()
        port, way = self._port, self.way
        count = full + 1 if rest else full
        length = segment - skip + len(head)
        if (
            count > SEGMENTS
            or not port.segments(length, length * count)
            or way.room(now) < count
        ):
            return False
        if length != self._segment:
            told = [*self._control, ancillary.segmentControl(length)]
            self._segment, self._told = length, packedControls(told)
        if not port.batches.send(
            *(port.fileno(), start, segment, full, rest, skip, head, last),
            *(self._name, self._told),
        ):
            return False
        header = HEADER if skip else 0
        way.passed(count, full * segment + rest - count * header)
        return True


def _alike(data: memoryview, start: int, end: int, segment: int, count: int) -> bool:
    """
    @param start: on a border of four bytes.

    @return: whether all of the segments begin with the same header.
    """
    form, width = _WORDS[segment % HEADER]
    words = data if width == 1 else data.cast(form)
    for at in range(start, start + HEADER, width):
        found = words[at // width : end // width : segment // width]
        if found.tobytes() != data[at : at + width].tobytes() * count:
            return False
    return True
