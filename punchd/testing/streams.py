"""
Simulated stream sockets, as far as Twisted's TCP transports use them.

Twisted's own L{twisted.internet.tcp} runs above them, so that buffering,
producers, half-close and the reasons for a lost connection are the real ones.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from errno import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EALREADY,
    EINPROGRESS,
    EISCONN,
    ENETUNREACH,
    ENOTCONN,
    EPIPE,
    EWOULDBLOCK,
)
from os import strerror
from typing import TYPE_CHECKING, Any

from punchd.net.congestion import RTO_MAX_MS

from .packet import Flags, Packet, Segment
from .transmission import Transmission

if TYPE_CHECKING:
    from .reactor import HostReactor

#: Linux's, whatever it is that we run on.
USER_TIMEOUT = 18

#: How long the kernel tries to finish a connection that the program has closed.
ORPHAN_SECONDS = 60.0


def problem(number: int) -> OSError:
    """
    @return: the exception that a real socket would raise.
    """
    return OSError(number, strerror(number))


class StreamSocket(Transmission):
    """
    A TCP socket of a simulated host.

    @ivar reader: who wants to know when there is something to read.
    @ivar writer: who wants to know when there is room to write.
    """

    _count = 0

    def __init__(self, reactor: HostReactor, family: int) -> None:
        super().__init__(reactor.machine)
        self.family = family
        self.reactor: HostReactor | None = reactor
        self.reader: Any = None
        self.writer: Any = None
        self.bound = False
        self.reuse = False
        self.shared = False
        self._handles = 1
        self._parent: StreamSocket | None = None
        self._backlog = 0
        self._accepted: deque[StreamSocket] = deque()
        self._linger = True
        self._options: dict[tuple[int, int], Any] = {}
        self._scheduled = False
        self._closed = False
        StreamSocket._count += 1
        # No file has a negative number; nobody may use it as one.
        self._number = -1 - StreamSocket._count

    def __repr__(self) -> str:
        return f"<StreamSocket {self.local} > {self.remote} {self.state}>"

    # --- the methods of socket.socket ---------------------------------------

    def fileno(self) -> int:
        """
        @return: a number that is no file descriptor.
        """
        return self._number

    def duplicate(self) -> StreamSocket:
        """
        @return: this, as C{socket.fromfd} would have it: it has to be closed once
            more.
        """
        self._handles += 1
        return self

    def setblocking(self, flag: object) -> None:
        """
        Do nothing: it never blocks.
        """

    def _form(self, address: tuple[str, int]) -> tuple[Any, ...]:
        return address if self.family == 4 else (*address, 0, 0)

    def getsockname(self) -> tuple[Any, ...]:
        """
        @return: our address, with four elements for IPv6.
        """
        wildcard = "0.0.0.0" if self.family == 4 else "::"
        return self._form((self.local[0] or wildcard, self.local[1]))

    def getpeername(self) -> tuple[Any, ...]:
        """
        @return: the other side's address, with four elements for IPv6.
        """
        if not self.remote[1]:
            raise problem(ENOTCONN)
        return self._form(self.remote)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """
        Note an option; SO_REUSEADDR, SO_REUSEPORT, SO_LINGER and Linux's
        TCP_USER_TIMEOUT and TCP_RTO_MAX_MS have a meaning.
        """
        self._options[level, option] = value
        if level == socket.SOL_SOCKET:
            if option == socket.SO_REUSEADDR:
                self.reuse = bool(value)
            elif option == socket.SO_REUSEPORT:
                self.shared = bool(value)
            elif option == socket.SO_LINGER:
                self._linger = struct.unpack("ii", value)[0] == 0
        elif (level, option) == (socket.IPPROTO_TCP, USER_TIMEOUT):
            self.userTimeout = value / 1000
        elif (level, option) == (socket.IPPROTO_TCP, RTO_MAX_MS):
            self._roundTrip.longest = value / 1000

    def getsockopt(self, level: int, option: int) -> Any:
        """
        @return: the option, and with SO_ERROR the error, which is over then.
        """
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            error, self.error = self.error, 0
            return error
        return self._options.get((level, option), 0)

    def bind(self, address: tuple[Any, ...]) -> None:
        """
        Take a local address.
        """
        host = "" if address[0] in ("", "0.0.0.0", "::") else str(address[0])
        machine = self.machine
        if host and not machine.owns(host):
            raise problem(EADDRNOTAVAIL)
        port = int(address[1]) or machine.freePort("tcp", self.family)
        if not machine.mayBindStream(self, host, port):
            raise problem(EADDRINUSE)
        self.local = (host, port)
        self.bound = True
        machine.boundStreams.append(self)

    def listen(self, backlog: int) -> None:
        """
        Accept connections.
        """
        if not self.machine.mayListen(self):
            raise problem(EADDRINUSE)
        self._backlog = backlog
        self.state = "listen"

    def accept(self) -> tuple[StreamSocket, tuple[Any, ...]]:
        """
        @return: the next connection and where it is from.
        """
        if not self._accepted:
            raise problem(EWOULDBLOCK)
        child = self._accepted.popleft()
        return child, child.getpeername()

    def connect_ex(self, address: tuple[Any, ...]) -> int:
        """
        Begin to connect.

        @return: an errno, or 0.
        """
        if self.state == "established":
            return EISCONN
        if self.state != "closed":
            return EALREADY
        machine = self.machine
        remote = (str(address[0]), int(address[1]))
        host = self.local[0] or machine.sourceFor(remote[0])
        if host is None or (":" in host) != (":" in remote[0]):
            return ENETUNREACH
        port = self.local[1] or machine.freePort("tcp", self.family)
        if not machine.rememberStream(self, (host, port), remote):
            return EADDRNOTAVAIL
        self.start((host, port), remote, "syn-sent")
        return EINPROGRESS

    def recv(self, size: int) -> bytes:
        """
        @return: some of what has arrived; nothing at the end.
        """
        received = self.received
        if received:
            data = bytes(received[:size])
            del received[:size]
            self.taken()
            return data
        if self.error:
            error, self.error = self.error, 0
            raise problem(error)
        if self.ended or self.state == "closed":
            return b""
        raise problem(EWOULDBLOCK)

    def send(self, data: bytes | memoryview) -> int:
        """
        @return: how many octets were taken to be sent.
        """
        if self.error:
            error, self.error = self.error, 0
            raise problem(error)
        if self.finished or self.state == "closed":
            raise problem(EPIPE)
        room = self.room()
        if self.state != "established" or room <= 0:
            raise problem(EWOULDBLOCK)
        some = bytes(data[:room])
        self.outgoing += some
        self._pump()
        return len(some)

    def shutdown(self, how: int) -> None:
        """
        Send no more.
        """
        if self.state != "established":
            raise problem(ENOTCONN)
        if how != socket.SHUT_RD:
            self.finish()

    def close(self) -> None:
        """
        Leave the rest to the kernel, unless there is a duplicate.
        """
        self._handles -= 1
        if self._closed or self._handles > 0:
            return
        self._closed = True
        self.reader = self.writer = self.reactor = None
        if self.state == "listen":
            self.state = "closed"
            self.machine.forgetStream(self)
            for child in self._accepted:
                child.reset()
        elif self.state != "established" or self.received or not self._linger:
            self.reset()
        else:
            self.finish()
            self.clock.callLaterFor(None, ORPHAN_SECONDS, self._abandon)

    def _abandon(self) -> None:
        if self.state != "closed":
            self.reset()

    # --- connections that come ----------------------------------------------

    def opening(self, packet: Packet) -> None:
        """
        A SYN has come to this listening socket.
        """
        assert self.reactor is not None
        child = StreamSocket(self.reactor, self.family)
        child._parent = self
        child._roundTrip.longest = self._roundTrip.longest
        child.userTimeout = self.userTimeout
        segment: Segment = packet.payload
        self.machine.rememberStream(child, packet.destination, packet.source)
        child.answered(segment)
        child.start(packet.destination, packet.source, "syn-received")

    def established(self) -> None:
        """
        Hand a connection that has come to the one who listens.
        """
        parent, self._parent = self._parent, None
        if parent is None:
            return
        if parent.state != "listen" or len(parent._accepted) >= parent._backlog:
            self.reset()
        else:
            parent._accepted.append(self)
            parent.woken()

    def segmentReceived(self, segment: Segment) -> None:
        """
        Refuse data that nobody will read; else as any connection.
        """
        if self._closed and segment.data and not segment.flags & Flags.RST:
            self.reset()
        else:
            super().segmentReceived(segment)

    # --- readiness ----------------------------------------------------------

    def readable(self) -> bool:
        """
        @return: whether reading would give something, be it an end.
        """
        if self.state == "listen":
            return bool(self._accepted)
        return bool(
            self.received
            or self.error
            or self.ended
            or (self.state == "closed" and self.remote[1])
        )

    def writable(self) -> bool:
        """
        @return: whether writing would do something, be it fail.
        """
        if self.state == "established":
            return self.room() > 0
        return bool(self.error or (self.state == "closed" and self.remote[1]))

    def woken(self) -> None:
        """
        Have the descriptors called that are ready.
        """
        if self._scheduled:
            return
        if (self.reader is not None and self.readable()) or (
            self.writer is not None and self.writable()
        ):
            self._scheduled = True
            self.clock.schedule(0, self._poll, ())

    def _poll(self) -> None:
        self._scheduled = False
        reader = self.reader
        if reader is not None and self.reactor and self.readable():
            self.reactor.runDescriptor(reader, True)
        writer = self.writer
        if writer is not None and self.reactor and self.writable():
            self.reactor.runDescriptor(writer, False)
        self.woken()
