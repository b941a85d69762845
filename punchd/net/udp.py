"""
A UDP socket of the kernel.

Twisted's own UDP port makes one system call and one small read for each
datagram, and can tell neither to which address of ours a datagram came nor let
us choose where one leaves from.  This one

  - reads into one buffer, with UDP_GRO many datagrams of a flow at a time, and
    hands a batch over in one call to who takes batches;
  - sends runs of datagrams of one size, source and destination with one call
    (UDP_SEGMENT, "GSO");
  - knows and chooses the local address (IP_PKTINFO, IPV6_PKTINFO) and the hop
    limit of each datagram;
  - swallows what the network has to complain about, and counts it.

All of this falls back to plain calls where the kernel lacks it.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    ILoggingContext,
    IReactorFDSet,
    IReadWriteDescriptor,
)
from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import (
    IBatchReceiver,
    IDatagramPort,
    IDatagramReceiver,
    IRunReceiver,
)

from . import ancillary, receiving
from .receiving import FEWER, SLOTS
from .sending import SEGMENTS, Sender

#: System calls, and datagrams, that one readiness may take before others on the
#: reactor have their turn.
READS = 32
BATCH = 512

#: Datagrams that wait for room in the kernel's send buffer.
QUEUE = 1024

RECEIVE_BUFFER = 4 << 20
SEND_BUFFER = 2 << 20

#: (data, local, remote)
Received = tuple[bytes, Address, Address]
#: (payloads, local, remote)
Run = tuple[list[bytes], Address, Address]

_CACHED = 1024
_WILDCARDS = ("", "0.0.0.0", "::")

# Of those who have none of their own yet: never changed.
_NO_LOCALS: dict[bytes, Address] = {}
_NO_QUEUE: deque[Datagram] = deque()


@implementer(IDatagramPort, IReadWriteDescriptor, ILoggingContext)
class UDPPort:
    """
    I am an open UDP socket on a reactor.

    @ivar family: 4 or 6.
    @ivar counters: what went wrong, by name: C{send E...}, C{receive E...} for
        system errors, C{send bad address}, C{send overflow} for datagrams that
        waited too long, C{receive overflow} for those that the kernel had no
        room for, C{segmenting E...} for runs that it refused.
    @ivar sender: the way out; it tells whether it is still C{segmenting}.
    @ivar coalescing: whether the kernel may give several datagrams at a time.
    """

    _log = Logger()

    # A relay has thousands of them: no dictionaries, and nothing made in advance.
    __slots__ = (
        "__weakref__",
        "_batches",
        "_closed",
        "_host",
        "_locals",
        "_queue",
        "_reactor",
        "_receiver",
        "_runs",
        "_slots",
        "_socket",
        "coalescing",
        "counters",
        "family",
        "sender",
    )

    # What it reads is copied within one call, so one serves all sockets.
    _reader = receiving.reader()

    def __init__(
        self,
        reactor: IReactorFDSet,
        receiver: IDatagramReceiver,
        family: int,
        host: str = "",
        port: int = 0,
        *,
        offload: bool = True,
        shared: bool = False,
        existing: socket.socket | None = None,
    ) -> None:
        """
        @param family: 4 or 6.
        @param host: the address to bind, C{""} for the wildcard; for IPv6 with
            C{%} and an interface, when link-local addresses are to be reached.
        @param port: the port to bind, 0 for any.
        @param offload: whether to use GSO and GRO where the kernel has them.
        @param shared: whether another port of ours is bound to that address,
            which has agreed to that (L{share}).
        @param existing: a socket that another process has opened and bound.

        @raise CannotListenError: the address is taken or is not ours, or the
            host has no such family.
        """
        self.family = family
        self.counters: Counter[str] = Counter()
        self._reactor = reactor
        self._receiver: Any = receiver
        self._batches = IBatchReceiver.providedBy(receiver)
        self._runs = IRunReceiver.providedBy(receiver)
        try:
            self._socket = existing or self._open(family, host, port, shared)
        except (OSError, OverflowError) as e:
            raise CannotListenError(host, port, e) from e
        bound = self._socket.getsockname()
        self._host: Address = (sys.intern(bound[0]), bound[1])
        self._slots = SLOTS
        self.sender = Sender(
            self._socket,
            family,
            self.counters,
            offload=offload,
            choosesSource=bound[0] in _WILDCARDS,
        )
        self.coalescing = offload and ancillary.coalesce(self._socket)
        self._locals = _NO_LOCALS
        self._queue = _NO_QUEUE
        self._closed = False
        reactor.addReader(self)

    @staticmethod
    def _open(family: int, host: str, port: int, shared: bool) -> socket.socket:
        addressFamily = ancillary.addressFamily(family)
        sock = socket.socket(addressFamily, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if family == 6:
                # 0.0.0.0 and :: shall be bound to one port beside each other.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            ancillary.enlarge(sock, RECEIVE_BUFFER, SEND_BUFFER)
            ancillary.countOverflow(sock)
            host, _, scope = host.partition("%")
            if host:
                # A name would be looked up, and block.
                socket.inet_pton(addressFamily, host)
            if scope:
                ancillary.useInterface(sock, host, scope)
            if host in _WILDCARDS:
                ancillary.askForDestination(sock, family)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((host or ("0.0.0.0" if family == 4 else "::"), port))
        except BaseException:
            sock.close()
            raise
        return sock

    # --- IDatagramPort -------------------------------------------------------

    def getHost(self) -> Address:
        """
        @return: the bound (host, port).
        """
        return self._host

    def send(self, datagram: Datagram) -> None:
        """
        Send one datagram, or count why not.
        """
        if self._queue or (not self._closed and not self.sender.sendOne(datagram)):
            self._enqueue((datagram,))

    def sendMany(self, datagrams: Sequence[Datagram]) -> None:
        """
        Send several, in order.
        """
        if self._queue:
            self._enqueue(datagrams)
        elif not self._closed:
            done = self.sender.transmit(datagrams)
            if done < len(datagrams):
                self._enqueue(datagrams[done:])

    def close(self) -> None:
        """
        Close the socket at once; what waits to be sent is dropped.
        """
        if self._closed:
            return
        self._closed = True
        self._queue = _NO_QUEUE
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()

    def share(self) -> None:
        """
        Let another port of this process be bound to my address.

        @raise OSError: the system does not know that.
        """
        self.setOption(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def setOption(self, level: int, option: int, value: int | bytes) -> None:
        """
        Set an option of the socket.

        @raise OSError: the system does not know it.
        """
        self._socket.setsockopt(level, option, value)

    # --- IReadWriteDescriptor ------------------------------------------------

    def fileno(self) -> int:
        """
        @return: the descriptor, -1 once closed.
        """
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """
        @return: what the log calls us.
        """
        return f"{type(self).__name__} {self._host[0]} {self._host[1]}"

    def connectionLost(self, reason: Any) -> None:
        """
        The reactor gave the descriptor up.
        """
        self.close()

    def doRead(self) -> None:
        """
        Read a bounded batch and deliver it.
        """
        runs = self.read()
        if runs:
            self._deliver(runs)

    def read(self) -> list[Run]:
        """
        @return: a bounded batch of what has come.
        """
        runs: list[Run] = []
        reader, home = self._reader, self._host
        count, left = 0, READS
        last: list[bytes] = []
        lastLocal = lastRemote = home
        while left > 0 and count < BATCH:
            slots = min(self._slots, left, reader.slots)
            try:
                found = reader.read(self._socket, self.family, slots)
            except BlockingIOError:
                if not runs:
                    self._idle()
                break
            except OSError as e:
                # An ICMP error for what was sent before; reading goes on.
                self.counters["receive " + ancillary.errorName(e)] += 1
                self._idle()
                left -= 1
                continue
            if reader.overflow:
                self.counters["receive overflow"] = reader.overflow
            coalesced = False
            for data, segment, value, remote in found:
                local = home
                if value:
                    local = self._locals.get(value) or self._localOf(value)
                if remote != lastRemote or local is not lastLocal or not last:
                    last = []
                    runs.append((last, local, remote))
                    lastLocal, lastRemote = local, remote
                size = len(data)
                if size <= segment:
                    last.append(data)
                    count += 1
                    continue
                coalesced = True
                last += [data[at : at + segment] for at in range(0, size, segment)]
                count += -(-size // segment)
            left -= len(found)
            self._slots = FEWER if coalesced else SLOTS
            if len(found) < slots:
                break
        return runs

    def doWrite(self) -> None:
        """
        There is room again for what waits.
        """
        queue = self._queue
        while queue:
            some = list(islice(queue, SEGMENTS))
            done = self.sender.transmit(some)
            for _ in range(done):
                queue.popleft()
            if done < len(some):
                return
        self._reactor.removeWriter(self)

    # --- receiving -----------------------------------------------------------

    def _idle(self) -> None:
        """
        There was nothing to read, or an error.
        """

    def _deliver(self, runs: list[Run]) -> None:
        try:
            if self._runs:
                self._receiver.runsReceived(runs)
                return
            if self._batches:
                self._receiver.datagramsReceived(flattened(runs))
                return
        except Exception:
            self._log.failure("A receiver of datagrams failed")
            return
        for data, local, remote in flattened(runs):
            if self._closed:
                return
            try:
                self._receiver.datagramReceived(data, local, remote)
            except Exception:
                self._log.failure("A receiver of datagrams failed")

    def _localOf(self, value: bytes) -> Address:
        if self._locals is _NO_LOCALS or len(self._locals) >= _CACHED:
            self._locals = {}
        host = ancillary.destination(self.family, value)
        local = self._locals[value] = (host, self._host[1])
        return local

    # --- sending -------------------------------------------------------------

    def _enqueue(self, datagrams: Sequence[Datagram]) -> None:
        if self._queue is _NO_QUEUE:
            self._queue = deque()
        queue = self._queue
        if not queue:
            self._reactor.addWriter(self)
        queue.extend(datagrams)
        while len(queue) > QUEUE:
            queue.popleft()
            self.counters["send overflow"] += 1


def flattened(runs: list[Run]) -> list[Received]:
    """
    @return: the datagrams of the runs, one by one.
    """
    return [
        (data, local, remote) for payloads, local, remote in runs for data in payloads
    ]
