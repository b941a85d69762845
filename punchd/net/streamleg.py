"""
A connection to a relay, over TCP or TLS (RFC 8656, 2.1).
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IHandshakeListener,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.core import Address, Burst, Datagram
from punchd.errors import MalformedMessage, PunchError
from punchd.interfaces import IRelayLeg, IRelayReceiver
from punchd.stun.stream import FrameSplitter

from .outlet import Outlet, joined
from .proxy import reasonOf

#: Bytes that may wait for a connection to take them.
BUFFER: Final = 2 << 20
#: Bytes that the kernel takes before it has sent what it has.
UNSENT: Final = 128 * 1024
#: Seconds that the kernel waits for an acknowledgement before it gives up.
DEAD: Final = 20


@implementer(IRelayLeg)
class StreamLeg:
    """
    I am a connection.

    @ivar counters: what was dropped, by reason.
    """

    def __init__(
        self,
        server: Address,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        secure: Any = None,
    ) -> None:
        """
        @param secure: makes a factory of protocols one that speaks TLS, L{None}
            for plain TCP.
        """
        self.server = server
        self.clock = clock
        self.counters: Counter[str] = Counter()
        self._endpoint = endpoint
        self._secure = secure
        self._receiver: IRelayReceiver | None = None
        self._connecting: Deferred[Any] | None = None
        self._stream: _Stream | None = None

    def open(self, receiver: IRelayReceiver) -> None:
        """
        @see: L{IRelayLeg.open}.
        """
        self._receiver = receiver
        factory: Any = Factory.forProtocol(lambda: _Stream(self, bool(self._secure)))
        factory.noisy = False
        if self._secure is not None:
            factory = self._secure(factory)
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addErrback(self._unreachable)

    def _unreachable(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            error = failure.value
            known = isinstance(error, PunchError)
            self.streamLost(str(error).rstrip(".") if known else reasonOf(error))

    def streamReady(self, stream: _Stream) -> None:
        """
        The connection is made, and secured.
        """
        if self._receiver is None:
            stream.abort()
        else:
            self._stream = stream
            self._receiver.ready()

    def streamLost(self, reason: str) -> None:
        """
        The connection is gone, or was not to be had.
        """
        self._stream = None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(reason)

    def framesReceived(self, frames: list[bytes]) -> None:
        """
        The server has sent these.
        """
        if self._receiver is not None:
            self._receiver.framesReceived(frames)

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        @see: L{IRelayLeg.send}.
        """
        if self._stream is None:
            self.counters["not connected"] += len(datagrams)
            return
        if isinstance(datagrams, Burst):
            self._stream.send(datagrams.payloads)
        else:
            self._stream.send([each.data for each in datagrams])

    def close(self) -> None:
        """
        @see: L{IRelayLeg.close}.
        """
        self._receiver = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.leave()
        elif self._connecting is not None:
            self._connecting.cancel()

    def stillOurs(self, hosts: set[str]) -> bool:
        """
        @see: L{IRelayLeg.stillOurs}.
        """
        return self._stream is None or self._stream.localHost() in hosts


@implementer(IHandshakeListener)
class _Stream(Protocol):
    """
    I carry STUN and ChannelData (RFC 8656, 2.1 and 12.5).
    """

    def __init__(self, leg: StreamLeg, secure: bool) -> None:
        self._leg = leg
        self._secure = secure
        self._splitter = FrameSplitter()
        self._arrived: list[bytes] = []
        self._outlet: Outlet | None = None

    def connectionMade(self) -> None:
        """
        Have the kernel send at once and hold little.
        """
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        below = (
            getattr(transport, "transport", transport) if self._secure else transport
        )
        handle = below.getHandle()
        for name, value in (("TCP_NOTSENT_LOWAT", UNSENT), ("TCP_USER_TIMEOUT", DEAD)):
            option = getattr(socket, name, None)
            if option is not None:
                value = value * 1000 if name == "TCP_USER_TIMEOUT" else value
                handle.setsockopt(socket.IPPROTO_TCP, option, value)
        self._outlet = self.outlet(transport)
        self._outlet.open()
        self._outlet.readMuch()
        if not self._secure:
            self._leg.streamReady(self)

    def outlet(self, transport: Any) -> Outlet:
        """
        @return: what leads to that transport.
        """

        def write(frames: Sequence[bytes]) -> None:
            transport.write(joined(frames))

        def dropped(count: int) -> None:
            self._leg.counters["no room"] += count

        return Outlet(transport, write, self._leg.clock.seconds, BUFFER, dropped)

    def handshakeCompleted(self) -> None:
        """
        The server is who it should be.
        """
        self._leg.streamReady(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Cut it up.
        """
        try:
            self._arrived += self._splitter.dataReceived(data)
        except MalformedMessage:
            self._leg.streamLost("what answers there is no relay")
            self.abort()
            return
        if not self._secure:
            self.allReceived()

    def allReceived(self) -> None:
        """
        Pass on together what came together.
        """
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._leg.framesReceived(arrived)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Say so.
        """
        if self._outlet is not None:
            self._outlet.closed()
        self._leg.streamLost(_why(reason.value))

    def localHost(self) -> str:
        """
        @return: where the connection begins.
        """
        transport: Any = self.transport
        host: str = transport.getHost().host
        return host

    def leave(self) -> None:
        """
        Close the connection behind what was written.
        """
        if self._outlet is not None:
            self._outlet.leave()

    def abort(self) -> None:
        """
        Close the connection at once.
        """
        transport: Any = self.transport
        transport.abortConnection()

    def send(self, frames: Sequence[bytes]) -> None:
        """
        Send these, or keep them until the connection takes more, or drop data
        for which there is no room.
        """
        if self._outlet is not None:
            self._outlet.send(frames)


def _why(error: BaseException | None) -> str:
    if isinstance(error, SSL.Error):
        if "certificate verify failed" in str(error):
            return "its certificate is not to be trusted"
        return "there is no TLS"
    return "the connection was closed"
