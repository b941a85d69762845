"""
How frames leave by a connection that may take them more slowly than they come.

TCP loses nothing, so what is sent too fast has to be dropped before it: as a router
does, at the tail and no more than does not fit.  Who sends, QUIC mostly, notices one
loss and slows down a bit; had all been dropped until everything is gone that waits,
it would begin anew.  What has waited for long is of no use to anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

#: Bytes that the transport may hold before it asks for a pause, and about how many
#: it gets at a time.
CHUNK: Final = 64 << 10
#: Bytes that are read at a time, of who may send much.
READ: Final = 256 << 10
#: Seconds that the first frame may have waited for more than L{LEAST} bytes to wait.
PATIENCE: Final = 0.5
LEAST: Final = 64 << 10
#: Seconds after which all that waits is dropped, when nothing at all is taken.
STALE: Final = 5.0
#: Bytes that may wait for all connections of a server together, L{CHUNK} counted for
#: what each transport holds that has asked for a pause.
TOTAL: Final = 64 << 20
#: Seconds without anything taken after which a connection may be ended for others.
DEAD: Final = 10.0

#: Bytes that what waits has to fall by for anybody to be told.
FALL: Final = 1 << 20

_SEND_INDICATION: Final = b"\x00\x16"


class Budget:
    """
    I know how much waits in all outlets of a server.  When it is too much, the one
    goes without what waits for it that has not taken anything for the longest time.

    @ivar size: bytes that wait.
    @ivar onFreed: called with how many bytes what waits has fallen by, when those are
        many, wherever they have gone.
    """

    def __init__(self, most: int = TOTAL) -> None:
        self.most = most
        self.size = 0
        self.onFreed: Callable[[int], object] = lambda size: None
        # The most that has waited since somebody was told.
        self._peak = 0
        # Those that wait, the one that has taken something last at the end.
        self._waiting: dict[Outlet, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def moved(self, outlet: Outlet, size: int, waits: bool) -> None:
        """
        An outlet holds so much more, or less; it has taken something, or has come to
        wait.

        @param waits: whether it waits now.
        """
        self.freed(-size)
        self._waiting.pop(outlet, None)
        if waits:
            self._waiting[outlet] = None

    def grown(self, size: int, now: float) -> None:
        """
        So much more waits for an outlet.
        """
        self.freed(-size)
        if self.size > self.most:
            for outlet in list(self._waiting):
                outlet.shed(now)
                if self.size <= self.most:
                    break

    def freed(self, size: int) -> None:
        """
        So much less waits, or more if that is negative.
        """
        self.size -= size
        fall = self._peak - self.size
        if fall < 0:
            self._peak = self.size
        elif fall >= FALL:
            self._peak = self.size
            self.onFreed(fall)


@implementer(IPushProducer)
class Outlet:
    """
    I write frames of STUN and ChannelData to a connection, and keep what it does not
    take to a limit.  Requests and answers go before data, and are dropped last.

    @ivar size: bytes that wait.
    @ivar most: bytes that may wait.
    @ivar paused: whether the connection takes nothing now.
    """

    def __init__(
        self,
        transport: Any,
        write: Callable[[Sequence[bytes]], None],
        seconds: Callable[[], float],
        most: int,
        dropped: Callable[[int], None],
        budget: Budget | None = None,
    ) -> None:
        """
        @param transport: of the connection, perhaps within TLS.
        @param write: gives frames to it.
        @param seconds: tells the time, monotonic.
        @param dropped: told how many frames were dropped.
        """
        self.size = 0
        self.paused = False
        self._transport = transport
        self._descriptor = descriptorOf(transport)
        self._read: int | None = None
        self._give = write
        self._seconds = seconds
        self.most = most
        self._dropped = dropped
        self._budget = budget
        self._since = 0.0
        self._urgent: list[bytes] = []
        self._data: deque[tuple[float, bytes]] = deque()

    def open(self) -> None:
        """
        Be told when the connection takes no more, and when it does again.
        """
        self._transport.registerProducer(self, True)

    def readMuch(self) -> None:
        """
        Have the transport read more at a time from now on.
        """
        self._read = READ
        self._limit(READ)

    def send(self, frames: Sequence[bytes]) -> None:
        """
        Write them, or keep them, or drop those for which there is no room.
        """
        if not self.paused:
            self._write(frames)
            return
        now = self._seconds()
        if now - self._since > STALE:
            self._clear()
        most = self.most
        if self._data and now - self._data[0][0] > PATIENCE:
            most = min(most, LEAST)
        before, dropped = self.size, 0
        for frame in frames:
            data = frame[0] >= 0x40 or frame[:2] == _SEND_INDICATION
            if self.size + len(frame) > (most if data else self.most):
                dropped += 1
                continue
            self.size += len(frame)
            if data:
                self._data.append((now, frame))
            else:
                self._urgent.append(frame)
        if dropped:
            self._dropped(dropped)
        if self._budget is not None:
            self._budget.grown(self.size - before, now)

    def shed(self, now: float) -> None:
        """
        There is no room for what waits here; nor for the connection, if it has taken
        nothing for long.
        """
        self._clear()
        if now - self._since > DEAD:
            self.closed()
            self._transport.abortConnection()

    def leave(self) -> None:
        """
        Close the connection behind what was written; nobody wants to wait for what
        waits.
        """
        if self.paused:
            self._transport.abortConnection()
        else:
            self._transport.unregisterProducer()
            self._transport.loseConnection()

    def closed(self) -> None:
        """
        The connection is gone.
        """
        self._clear()
        if self.paused:
            self.paused = False
            self._moved(-CHUNK)
        self._give = _nowhere

    # --- IPushProducer

    def pauseProducing(self) -> None:
        """
        The connection takes no more.
        """
        self._since = self._seconds()
        if not self.paused:
            self.paused = True
            self._moved(CHUNK)

    def resumeProducing(self) -> None:
        """
        It does again.
        """
        if self.paused:
            self.paused = False
            self._moved(-CHUNK)
        while not self.paused and self.size:
            batch, self._urgent = self._urgent, []
            size = sum(map(len, batch))
            while self._data and size < CHUNK:
                frame = self._data.popleft()[1]
                size += len(frame)
                batch.append(frame)
            self.size -= size
            if self._budget is not None:
                self._budget.freed(size)
            self._write(batch)

    def stopProducing(self) -> None:
        """
        The connection is going away.
        """

    # --- inside

    def _write(self, frames: Sequence[bytes]) -> None:
        if self._read is None:
            self._give(frames)
            return
        # The transport has one number for two things.
        self._limit(CHUNK)
        self._give(frames)
        self._limit(self._read)

    def _limit(self, size: int) -> None:
        if self._descriptor is not None:
            self._descriptor.bufferSize = size

    def _clear(self) -> None:
        count = len(self._data) + len(self._urgent)
        if count:
            self._dropped(count)
        self._data.clear()
        self._urgent.clear()
        size, self.size = self.size, 0
        if self._budget is not None:
            self._budget.freed(size)

    def _moved(self, size: int) -> None:
        if self._budget is not None:
            self._budget.moved(self, size, self.paused)


def descriptorOf(transport: Any) -> FileDescriptor | None:
    """
    @return: the one of Twisted's below a transport, which may be within TLS.
    """
    while transport is not None and not isinstance(transport, FileDescriptor):
        transport = getattr(transport, "transport", None)
    return transport


def joined(frames: Iterable[bytes]) -> bytes:
    """
    @return: frames as a stream carries them, each padded to a multiple of four
        bytes (RFC 8656, 12.5).
    """
    pieces = []
    for each in frames:
        pieces.append(each)
        if len(each) & 3:
            pieces.append(_PADDING[len(each) & 3])
    return b"".join(pieces)


_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


def _nowhere(frames: Sequence[bytes]) -> None:
    pass
