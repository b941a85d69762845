"""
The two halves of a stream, values in and values out (RFC 9000, section 3).
"""

from __future__ import annotations

from collections import deque

from .credit import Growth, ReceiveCredit, SendCredit


class SendPart:
    """
    What the user wrote and QUIC has not got yet.

    @ivar size: how many bytes that is.
    @ivar credit: how much may be under way.
    @ivar ending: no more is written; the end follows the last byte.
    @ivar done: the end, or the news that nobody reads, went over.
    @ivar lost: bytes of the user were dropped because nobody reads them.
    """

    def __init__(self, growth: Growth) -> None:
        self.size = 0
        self.credit = SendCredit(growth)
        self.ending = False
        self.done = False
        self.lost = False
        self._chunks: deque[bytes | memoryview] = deque()

    def write(self, data: bytes) -> None:
        """
        Append what the user wrote.
        """
        if self.done:
            self.lost = True
        elif data:
            self._chunks.append(data)
            self.size += len(data)

    def replace(self, data: bytes) -> None:
        """
        Send C{data} and the end instead of all that was written.
        """
        self._chunks.clear()
        self.size = 0
        self.prepend(data)
        self.ending = True

    def prepend(self, data: bytes) -> None:
        """
        Put a head before everything else.
        """
        self._chunks.appendleft(data)
        self.size += len(data)

    def wants(self) -> bool:
        """
        @return: whether L{take} would give something.
        """
        if self.done:
            return False
        return self.credit.available > 0 if self.size else self.ending

    def take(self, limit: int) -> tuple[bytes, bool]:
        """
        @param limit: how many bytes at most, at least 1.

        @return: what to send next, and whether it is the last.
        """
        limit = min(limit, self.credit.available)
        parts: list[bytes | memoryview] = []
        while self._chunks and limit > 0:
            chunk = self._chunks.popleft()
            if len(chunk) > limit:
                # Views, lest the rest of a large write is copied for each piece.
                view = memoryview(chunk)
                self._chunks.appendleft(view[limit:])
                chunk = view[:limit]
            parts.append(chunk)
            limit -= len(chunk)
        first = parts[0] if len(parts) == 1 else None
        data = first if isinstance(first, bytes) else b"".join(parts)
        self.size -= len(data)
        self.credit.sent += len(data)
        end = self.ending and not self._chunks
        if end:
            self.done = True
        return data, end

    def drop(self) -> None:
        """
        Nobody reads any more.
        """
        self.lost = self.lost or self.size > 0
        self.done = True
        self.size = 0
        self._chunks.clear()


class ReceivePart:
    """
    What came in and the user has not taken yet.

    @ivar size: how many bytes that is.
    @ivar ended: the end has come in; it may be behind bytes not taken yet.
    @ivar length: how many bytes there are in all, L{None} while only the end tells.
    @ivar done: the user got everything, or gave up.
    @ivar discarding: the user wants no more; what comes is thrown away.
    """

    def __init__(self) -> None:
        self.size = 0
        self.credit = ReceiveCredit()
        self.ended = False
        self.length: int | None = None
        self.done = False
        self.discarding = False
        self._chunks: deque[bytes] = deque()

    def came(self, data: bytes, end: bool) -> bool:
        """
        Append what came in.

        @return: whether a peer within its rights can have sent it.
        """
        fair = self.credit.came(len(data))
        if data and not self.done:
            self._chunks.append(data)
            self.size += len(data)
        self.ended = self.ended or end or self.credit.received == self.length
        return fair

    def take(self) -> bytes | None:
        """
        @return: the next bytes for the user; they do not count as taken yet.
        """
        if not self._chunks:
            return None
        data = self._chunks.popleft()
        self.size -= len(data)
        return data

    def putBack(self, data: bytes) -> None:
        """
        Return what L{take} gave too much.
        """
        if data:
            self._chunks.appendleft(data)
            self.size += len(data)

    def drop(self) -> int:
        """
        Throw away what is there.

        @return: how many bytes that was.
        """
        count = self.size
        self._chunks.clear()
        self.size = 0
        return count
