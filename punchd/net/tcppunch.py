"""
TCP hole punching: one local port from which everything is tried.

The port listens, asks servers where they see it, and connects to each address at
which the peer may be; all of that with SO_REUSEADDR and SO_REUSEPORT, so that NATs
see one port.  When both sides connect at a time, the two SYNs meet half-way: each
opens the NAT of its sender, and the kernels make one connection of both
(simultaneous open; RFC 9293, section 3.5, RFC 5382, section 5.2).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from punchd.core import Address, Burst, Datagram, Entropy
from punchd.errors import MalformedMessage
from punchd.interfaces import INetwork
from punchd.stun.address import canonicalHost
from punchd.stun.attributes import Attribute
from punchd.stun.message import TRANSACTION_ID, MessageClass, Method, parse, request
from punchd.stun.stream import FrameSplitter

from .connecting import Connecting, tune
from .stream import DatagramStream
from .udp import Run

#: Connections to peers of one port, half-open ones included.
MOST: Final = 64
_ANSWER: Final = 2048


class StreamListener(Protocol):
    """
    Who is told what becomes of the connections of a port.
    """

    def streamLocated(
        self, base: Address, server: Address, mapped: Address | None
    ) -> None:
        """
        A server sees the port at C{mapped}, or does not answer.
        """

    def streamMade(self, base: Address, remote: Address) -> None:
        """
        There is a connection.
        """

    def streamFailed(self, base: Address, remote: Address, reason: str) -> None:
        """
        An attempt to connect has failed.

        @param reason: C{refused}, C{timeout}, or the name of another error.
        """

    def streamLost(self, base: Address, remote: Address, reason: str) -> None:
        """
        A connection that was made is no more.
        """


def canPunch(network: INetwork) -> bool:
    """
    @return: whether the machine can do this.
    """
    reusable = hasattr(socket, "SO_REUSEPORT")
    return reusable and hasattr(network.reactor, "adoptStreamConnection")


class _Locator(TwistedProtocol):
    """
    I ask a server where it sees us, and stay: the mapping lives as long as I do.
    """

    def __init__(
        self, entropy: Entropy, located: Callable[[Address | None], None]
    ) -> None:
        self._transaction = entropy(TRANSACTION_ID)
        self._located = located
        self._splitter = FrameSplitter(_ANSWER)

    def connectionMade(self) -> None:
        """
        Ask.
        """
        asked = request(Method.BINDING, self._transaction)
        transport: Any = self.transport
        transport.write(asked.serialize(fingerprint=True))

    def dataReceived(self, data: bytes) -> None:
        """
        An answer, perhaps.
        """
        try:
            for frame in self._splitter.dataReceived(data):
                self._frameReceived(frame)
        except MalformedMessage:
            transport: Any = self.transport
            transport.abortConnection()

    def _frameReceived(self, frame: bytes) -> None:
        message = parse(frame)
        if (
            message.messageClass is MessageClass.SUCCESS
            and message.transactionId == self._transaction
        ):
            self._tell(message.get(Attribute.XOR_MAPPED_ADDRESS))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        There will be no answer.
        """
        self._tell(None)

    def _tell(self, mapped: Address | None) -> None:
        located, self._located = self._located, lambda _: None
        located(mapped)


class TCPPunch(Factory):
    """
    I make what was prepared; my name is what the log says.
    """

    noisy = False

    def __init__(self, make: Callable[[Address], TwistedProtocol | None]) -> None:
        self._make = make

    def buildProtocol(self, address: IAddress | None) -> Any:
        found: Any = address
        return self._make((canonicalHost(found.host), found.port))


class StreamPort:
    """
    I am one local port.

    @ivar family: 4 or 6.
    @ivar base: our address, as candidates name it.
    @ivar dropped: how many datagrams of connections that ended found no room.
    """

    def __init__(
        self,
        network: INetwork,
        receiver: Any,
        listener: StreamListener,
        host: str,
    ) -> None:
        """
        @param receiver: an L{IRunReceiver<punchd.interfaces>}.
        @param host: our host, for C{base}; the port is bound to the wildcard.

        @raise CannotListenError: there is no port to be had.
        """
        self.family = 6 if ":" in host else 4
        self._network = network
        self._reactor: Any = network.reactor
        self._entropy: Entropy = network.entropy
        self._receiver = receiver
        self._listener = listener
        self._connecting: dict[Address, Connecting] = {}
        self._locators: list[Any] = []
        self._streams: dict[Address, DatagramStream] = {}
        self._expected: set[str] = set()
        self._closed = False
        self.dropped = 0
        try:
            bound = network.sharedStream(self.family, 0)
        except OSError as e:
            raise CannotListenError(host, 0, e) from e
        try:
            self.base: Address = (host, bound.getsockname()[1])
            bound.listen(8)
            self._listening = self._reactor.adoptStreamPort(
                bound.fileno(), bound.family, TCPPunch(self._accept)
            )
        except OSError as e:
            raise CannotListenError(host, 0, e) from e
        finally:
            bound.close()

    @property
    def remotes(self) -> Sequence[Address]:
        """
        To whom there are connections.
        """
        return list(self._streams)

    # --- servers

    def locate(self, server: Address) -> None:
        """
        Ask a server where it sees this port; C{streamLocated} is called.
        """

        def located(mapped: Address | None) -> None:
            if not self._closed:
                self._listener.streamLocated(self.base, server, mapped)

        def made(connecting: Connecting) -> None:
            self._locators.remove(connecting)
            protocol = _Locator(self._entropy, located)
            self._adopt(connecting, lambda _: protocol)
            self._locators.append(protocol)

        def failed(connecting: Connecting, reason: str) -> None:
            self._locators.remove(connecting)
            located(None)

        try:
            self._locators.append(self._connect(server, made, failed))
        except OSError:
            self._reactor.callLater(0, located, None)

    def _connect(self, remote: Address, made: Any, failed: Any) -> Connecting:
        bound = self._network.sharedStream(self.family, self.base[1])
        return Connecting(self._reactor, bound, remote, made, failed)

    def _adopt(
        self,
        connecting: Connecting,
        make: Callable[[Address], TwistedProtocol | None],
    ) -> None:
        made = connecting.socket
        self._reactor.adoptStreamConnection(made.fileno(), made.family, TCPPunch(make))
        # The reactor works with a copy of the descriptor.
        made.close()

    # --- peers

    def expect(self, host: str) -> None:
        """
        Let this host in.
        """
        self._expected.add(host)

    def connect(self, remote: Address) -> bool:
        """
        Connect to where the peer may be; the listener is told what comes of it.

        @return: whether an attempt begins: none is going on, and there is no
            connection already.
        """
        known = len(self._connecting) + len(self._streams)
        if self._closed or known >= MOST:
            return False
        if remote in self._connecting or remote in self._streams:
            return False

        def made(connecting: Connecting) -> None:
            del self._connecting[remote]
            self._adopt(connecting, lambda _: self._stream(remote, connecting.socket))

        def failed(connecting: Connecting, reason: str) -> None:
            del self._connecting[remote]
            self._listener.streamFailed(self.base, remote, reason)

        self.expect(remote[0])
        try:
            self._connecting[remote] = self._connect(remote, made, failed)
        except OSError:
            return False
        return True

    def _accept(self, remote: Address) -> DatagramStream | None:
        if self._closed or remote[0] not in self._expected:
            return None
        if remote in self._streams or len(self._streams) >= MOST:
            return None
        return self._stream(remote, None)

    def _stream(self, remote: Address, made: socket.socket | None) -> DatagramStream:
        def received(datagrams: list[bytes]) -> None:
            run: Run = (datagrams, self.base, remote)
            self._receiver.runsReceived([run])

        def lost(reason: str) -> None:
            self.dropped += stream.counters["dropped"]
            if self._streams.pop(remote, None) is not None:
                self._listener.streamLost(self.base, remote, reason)

        stream = self._streams[remote] = DatagramStream(
            received, lost, self._reactor.seconds
        )
        # Once it has its transport.
        self._reactor.callLater(0, self._made, remote, stream)
        return stream

    def _made(self, remote: Address, stream: DatagramStream) -> None:
        if self._streams.get(remote) is not stream:
            return
        transport: Any = stream.transport
        tune(transport.getHandle())
        self._listener.streamMade(self.base, remote)

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        Send what goes to those to whom there is a connection; drop the rest.
        """
        if isinstance(datagrams, Burst):
            stream = self._streams.get(datagrams.remote)
            if stream is not None:
                stream.sendDatagrams(datagrams.payloads)
            return
        runs: dict[Address, list[bytes]] = {}
        for datagram in datagrams:
            runs.setdefault(datagram.remote, []).append(datagram.data)
        for remote, payloads in runs.items():
            stream = self._streams.get(remote)
            if stream is not None:
                stream.sendDatagrams(payloads)

    def settle(self) -> None:
        """
        What is connected is enough: stop listening and trying.
        """
        connecting, self._connecting = self._connecting, {}
        for each in connecting.values():
            each.stop()
        locators, self._locators = self._locators, []
        for locator in locators:
            if isinstance(locator, Connecting):
                locator.stop()
            elif locator.transport is not None:
                locator.transport.loseConnection()
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.stopListening()

    def close(self) -> None:
        """
        Close everything; nobody is told.
        """
        self._closed = True
        self.settle()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self.dropped += stream.counters["dropped"]
            stream.close()
