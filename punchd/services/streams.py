"""
The TCP and TLS connections of clients of STUN and TURN.

A connection is the whole of a 5-tuple: its allocation ends with it.  What is
relayed to it waits for the client no longer than a bounded buffer lasts; then
it is dropped, as it would be on the way by UDP.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from typing import Protocol as Shape

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from punchd.core import Address, Burst, Datagram
from punchd.errors import MalformedMessage
from punchd.net.outlet import Budget, Outlet, joined
from punchd.stun.address import canonicalHost
from punchd.stun.stream import MAXIMUM_FRAME, FrameSplitter, pad
from punchd.turn.transport import overStream

#: Seconds that a connection without an allocation may go without a whole frame,
#: and how often one with an allocation is looked at.
SILENCE: Final = 60.0
#: The largest frame, in bytes, of who has no allocation.
EARLY_FRAME: Final = 2048
#: Bytes that the kernel may hold of what it has not sent yet.
UNSENT: Final = 64 << 10
#: Bytes that may wait for a client before the rest is dropped, without and with an
#: allocation.  Who sends through us doubles what is under way until something is lost,
#: and begins to crawl if that is soon.
ANSWERS: Final = 16 << 10
WAITING: Final = 2 << 20


class Server(Shape):
    """
    What is behind the connections.
    """

    def framesReceived(
        self, frames: Sequence[bytes], local: Address, remote: Address
    ) -> None:
        """
        Answer, by L{Streams.send}.

        @raise MalformedMessage: the client does not speak STUN properly.
        """

    def holds(self, local: Address, remote: Address) -> bool:
        """
        @return: whether there is an allocation.
        """

    def disconnected(self, local: Address, remote: Address) -> None:
        """
        End the allocation, if there is one.
        """


class Streams:
    """
    I know all such connections, and am to them what a UDP port is to clients
    over UDP.

    @ivar counters: connections that were ended and frames that were dropped,
        by reason.
    @ivar budget: what waits for all of them.
    """

    def __init__(self, server: Server, clock: IReactorTime) -> None:
        self.counters: Counter[str] = Counter()
        self.server = server
        self.clock = clock
        self.budget = Budget()
        self._streams: dict[tuple[Address, Address], StunStream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def opened(self, stream: StunStream) -> None:
        """
        A connection is there.
        """
        self._streams[stream.local, stream.remote] = stream

    def closed(self, stream: StunStream) -> None:
        """
        A connection is gone.
        """
        key = (stream.local, stream.remote)
        if self._streams.get(key) is stream:
            del self._streams[key]
            self.server.disconnected(*key)

    def send(self, datagram: Datagram) -> None:
        """
        Write to the connection that a datagram names.
        """
        self.sendMany((datagram,))

    def sendMany(self, datagrams: Sequence[Datagram]) -> None:
        """
        Write to several connections, to each at once.
        """
        if isinstance(datagrams, Burst):
            self._sendFrames((datagrams.local, datagrams.remote), datagrams.payloads)
            return
        runs: dict[tuple[Address | None, Address], list[bytes]] = {}
        for each in datagrams:
            runs.setdefault((each.local, each.remote), []).append(each.data)
        for key, frames in runs.items():
            self._sendFrames(key, frames)

    def _sendFrames(self, key: Any, frames: Sequence[bytes]) -> None:
        stream = self._streams.get(key)
        if stream is None:
            self.counters["no connection"] += len(frames)
        else:
            stream.sendFrames(frames)


class StunStream(Protocol):
    """
    I am one such connection, over TCP or over TLS over TCP.

    @ivar local: the address that it came to, with the mark of its transport.
    @ivar remote: where it comes from.
    """

    local: Address
    remote: Address

    def __init__(
        self,
        streams: Streams,
        patience: float,
        count: Callable[[bool], None],
        together: bool = False,
    ) -> None:
        """
        @param patience: the seconds until the first frame has to be here.
        @param count: told whether this is one of those connections that have
            proven nothing.
        @param together: whether the client takes several frames in a record of TLS.
        """
        self._streams = streams
        self._patience = patience
        self._count = count
        self._splitter = FrameSplitter(EARLY_FRAME)
        self._silence: IDelayedCall | None = None
        self._holds = False
        self._secure = False
        self._together = together
        self._outlet: Outlet | None = None
        self._arrived: list[bytes] = []
        # What is to be written once all that was read has been dealt with.
        self._gathered: list[bytes] | None = None

    def connectionMade(self) -> None:
        """
        Wait for a frame.
        """
        transport: Any = self.transport
        self._secure = ISSLTransport.providedBy(transport)
        self.local = overStream(addressOf(transport.getHost()), self._secure)
        self.remote = addressOf(transport.getPeer())
        transport.setTcpNoDelay(True)
        _keepLittleUnsent(transport)
        self._silence = self._streams.clock.callLater(self._patience, self._silent)
        self._outlet = Outlet(
            transport,
            self._write,
            self._streams.clock.seconds,
            ANSWERS,
            self._dropped,
            self._streams.budget,
        )
        self._outlet.open()
        self._streams.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Cut it up.
        """
        try:
            self._arrived += self._splitter.dataReceived(data)
        except MalformedMessage:
            self._end("malformed")
            return
        if not self._secure:
            self.allReceived()

    def allReceived(self) -> None:
        """
        Have each frame dealt with, and answer all in one.
        """
        frames, self._arrived = self._arrived, []
        if not frames:
            return
        gathered = self._gathered = []
        try:
            self._streams.server.framesReceived(frames, self.local, self.remote)
        except MalformedMessage:
            self._gathered = None
            self._end("malformed")
            return
        self._gathered = None
        if gathered:
            self.sendFrames(gathered)
        if not self._holds and self._silence is not None:
            self._silence.reset(SILENCE)
        self._look()

    def sendFrames(self, frames: Sequence[bytes]) -> None:
        """
        Write frames, or drop them if the client does not read.
        """
        if self._gathered is not None:
            self._gathered += frames
        elif self._outlet is not None:
            self._outlet.send(frames)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The allocation goes with the connection.
        """
        silence, self._silence = self._silence, None
        if silence is not None and silence.active():
            silence.cancel()
        if self._splitter.pending:
            self._streams.counters["truncated"] += 1
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.closed()
        self._streams.closed(self)

    # --- inside

    def _write(self, frames: Sequence[bytes]) -> None:
        transport: Any = self.transport
        if self._secure and not self._together:
            # Some clients, coturn's among them, look for one frame in a record of
            # TLS.  The records leave together all the same.
            for each in frames:
                transport.write(pad(each))
        else:
            transport.write(joined(frames))

    def _dropped(self, count: int) -> None:
        self._streams.counters["dropped: not read"] += count

    def _look(self) -> None:
        """
        Is there an allocation?  Who has one has proven who it is.
        """
        holds = self._streams.server.holds(self.local, self.remote)
        if holds != self._holds:
            self._holds = holds
            self._splitter.maximum = MAXIMUM_FRAME if holds else EARLY_FRAME
            self._count(not holds)
            if self._outlet is not None:
                self._outlet.most = WAITING if holds else ANSWERS
                if holds:
                    self._outlet.readMuch()

    def _silent(self) -> None:
        self._silence = None
        held = self._holds
        self._look()
        if held:
            # An allocation has a time of its own; what was one leaves a while
            # to say something else.
            self._silence = self._streams.clock.callLater(SILENCE, self._silent)
        else:
            self._end("silent")

    def _end(self, reason: str) -> None:
        self._streams.counters[reason] += 1
        transport: Any = self.transport
        transport.abortConnection()


def addressOf(address: Any) -> Address:
    """
    @return: one of Twisted's addresses, as we write it.
    """
    return canonicalHost(address.host), address.port


def _keepLittleUnsent(transport: Any) -> None:
    """
    What waits in the kernel of a client that does not read is memory, and what
    waits for one that reads slowly is late.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        with suppress(OSError, AttributeError):
            transport.socket.setsockopt(socket.IPPROTO_TCP, option, UNSENT)
