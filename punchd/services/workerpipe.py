"""
What the processes of one rendezvous say to each other: records, over a pair of
sockets that keeps messages whole and in order.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from twisted.internet.interfaces import (
    ILoggingContext,
    IReactorFDSet,
    IReadWriteDescriptor,
)
from zope.interface import implementer

#: A message is begun anew behind so many bytes.
MESSAGE: Final = 32 << 10
#: No message is longer.
LARGEST: Final = 1 << 18
#: Messages that may wait for somebody who does not read.
QUEUE: Final = 16384
#: Messages that are read before others on the reactor have their turn.
READS: Final = 64

Record = Sequence[Any]


def pack(records: Iterable[Record]) -> Iterator[bytes]:
    """
    @return: messages with those records.
    """
    some: list[str] = []
    size = 0
    for record in records:
        text = json.dumps(record, separators=(",", ":"))
        some.append(text)
        size += len(text)
        if size >= MESSAGE:
            yield f"[{','.join(some)}]".encode("ascii")
            some, size = [], 0
    if some:
        yield f"[{','.join(some)}]".encode("ascii")


def unpack(message: bytes) -> list[Record]:
    """
    @return: the records in a message.
    """
    records: list[Record] = json.loads(message)
    return records


def withAddresses(event: dict[str, Any]) -> dict[str, Any]:
    """
    @return: the fields of an event, the lists of JSON as the addresses they were.
    """
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in event.items()
    }


def makePair() -> tuple[socket.socket, socket.socket]:
    """
    @return: two sockets for a L{Pipe} each.
    """
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in pair:
        each.setblocking(False)
    return pair


@implementer(IReadWriteDescriptor, ILoggingContext)
class Pipe:
    """
    I am one end.  What I am told to send is sent at once: it is there before any
    datagram that is sent next can have an effect.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        end: socket.socket,
        received: Callable[[bytes], None],
        lost: Callable[[], None],
        taken: Callable[[bytes, int], None] | None = None,
    ) -> None:
        """
        @param received: called with each message.
        @param lost: called once when the other end is gone, or does not read.
        @param taken: called instead with a message that has a descriptor, which is
            its to close; without, they are not taken.
        """
        self._reactor = reactor
        self._socket = end
        self._received = received
        self._lost = lost
        self._taken = taken
        self._queue: deque[bytes] = deque()
        self._closed = False
        reactor.addReader(self)

    def tell(self, *record: Any) -> None:
        """
        Send one record.
        """
        self.send(next(pack([record])))

    def send(self, message: bytes) -> None:
        """
        Send a message.
        """
        if self._closed:
            return
        if not self._queue:
            try:
                self._socket.send(message)
                return
            except BlockingIOError:
                self._reactor.addWriter(self)
            except OSError:
                self._gone()
                return
        self._queue.append(message)
        if len(self._queue) > QUEUE:
            self._gone()

    def sendWith(self, message: bytes, descriptor: int) -> bool:
        """
        Send a message with a descriptor, which stays open here.

        @return: whether it was sent; it does not wait for anybody.
        """
        if self._closed or self._queue:
            return False
        try:
            socket.send_fds(self._socket, [message], [descriptor])
        except OSError:
            return False
        return True

    def close(self) -> None:
        """
        Say and hear no more.
        """
        if not self._closed:
            self._closed = True
            self._queue.clear()
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._socket.close()

    def fileno(self) -> int:
        """
        @return: the descriptor, -1 once closed.
        """
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """
        @return: what the log calls us.
        """
        return type(self).__name__

    def connectionLost(self, reason: Any) -> None:
        """
        The reactor gave the descriptor up.
        """
        self._gone()

    def doRead(self) -> None:
        """
        Some messages have come.
        """
        for _ in range(READS):
            if self._closed:
                return
            descriptors: list[int] = []
            try:
                if self._taken is None:
                    message = self._socket.recv(LARGEST)
                else:
                    message, descriptors, *_ = socket.recv_fds(
                        self._socket, LARGEST, 1, socket.MSG_CMSG_CLOEXEC
                    )
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._gone()
                return
            if descriptors and self._taken is not None:
                self._taken(message, descriptors[0])
            else:
                self._received(message)

    def doWrite(self) -> None:
        """
        There is room again.
        """
        while self._queue:
            try:
                self._socket.send(self._queue[0])
            except BlockingIOError:
                return
            except OSError:
                self._gone()
                return
            self._queue.popleft()
        self._reactor.removeWriter(self)

    def _gone(self) -> None:
        if not self._closed:
            self.close()
            self._lost()
