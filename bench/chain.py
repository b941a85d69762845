"""
A chain TCP - QUIC - QUIC - TCP, with as little as Twisted and qh3 need for one: no
paths, no credit, no checks.  What our forwards add is compared with what it adds.

    python -m bench.chain near TCP-PORT PEER-HOST PEER-PORT
    python -m bench.chain far UDP-PORT TCP-PORT

The far end prints C{ready} when it listens, the near one when it is connected.
"""

from __future__ import annotations

import ssl
import sys
import time
from functools import partial
from typing import Any

from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from qh3.quic.events import HandshakeCompleted, StreamDataReceived
from twisted.internet import reactor
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import (
    ClientFactory,
    DatagramProtocol,
    Factory,
    Protocol,
    connectionDone,
)
from twisted.python.failure import Failure

from punchd.identity import Identity

_any: Any = reactor


class User(Protocol):
    """
    A TCP connection, joined to a stream.
    """

    def __init__(self, quic: Quic, stream: int | None) -> None:
        self._quic = quic
        self._stream = stream
        self._early: list[bytes] = []

    def connectionMade(self) -> None:
        """
        Get a stream if there is none.
        """
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        if self._stream is None:
            connection = self._quic.connection
            assert connection is not None
            self._stream = connection.get_next_available_stream_id()
        self._quic.users[self._stream] = self
        for data in self._early:
            transport.write(data)

    def come(self, data: bytes) -> None:
        """
        Something came on the stream.
        """
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on.
        """
        connection = self._quic.connection
        assert connection is not None
        connection.send_stream_data(self._stream, data)
        self._quic.transmit()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The stream is left open: there are few.
        """
        self._quic.users.pop(self._stream or 0, None)


def _itself(user: User) -> User:
    return user


class Quic(DatagramProtocol):
    """
    A QUIC connection on a UDP port of its own.
    """

    def __init__(
        self, configuration: QuicConfiguration, peer: Any, program: int
    ) -> None:
        """
        @param peer: whom to connect to, L{None} to wait for that.
        @param program: the far end's TCP port.
        """
        self.connection: QuicConnection | None = None
        self.users: dict[int, User] = {}
        self.onConnected: Any = lambda: None
        self._configuration = configuration
        self._peer = peer
        self._program = program
        self._timer: IDelayedCall | None = None

    def startProtocol(self) -> None:
        """
        Connect, if it is us.
        """
        if self._peer is not None:
            self.connection = QuicConnection(configuration=self._configuration)
            self.connection.connect(self._peer, time.monotonic())
            self.transmit()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Feed QUIC, and see what it has to say.
        """
        if self.connection is None:
            self._peer = addr
            length = datagram[5]
            self.connection = QuicConnection(
                configuration=self._configuration,
                original_destination_connection_id=datagram[6 : 6 + length],
            )
        self.connection.receive_datagram(datagram, addr, time.monotonic())
        self._events(self.connection)
        self.transmit()

    def _events(self, connection: QuicConnection) -> None:
        while (event := connection.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self.onConnected()
            elif isinstance(event, StreamDataReceived):
                user = self.users.get(event.stream_id)
                if user is None:
                    user = self.users[event.stream_id] = User(self, event.stream_id)
                    factory = ClientFactory.forProtocol(partial(_itself, user))
                    factory.noisy = False
                    _any.connectTCP("127.0.0.1", self._program, factory)
                user.come(event.data)

    def transmit(self) -> None:
        """
        Send what QUIC wants to send, and mind its timer.
        """
        connection, transport = self.connection, self.transport
        assert connection is not None
        assert transport is not None
        for data, _ in connection.datagrams_to_send(time.monotonic()):
            transport.write(data, self._peer)
        at = connection.get_timer()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if at is not None:
            delay = max(0.0, at - time.monotonic())
            self._timer = _any.callLater(delay, self._reached)

    def _reached(self) -> None:
        assert self.connection is not None
        self.connection.handle_timer(time.monotonic())
        self._events(self.connection)
        self.transmit()


def near(port: int, host: str, peer: int) -> None:
    """
    The users' end.
    """
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["chain"], verify_mode=ssl.CERT_NONE
    )
    quic = Quic(configuration, (host, peer), 0)
    users = Factory.forProtocol(partial(User, quic, None))
    users.noisy = False

    def connected() -> None:
        _any.listenTCP(port, users, interface="127.0.0.1")
        print("ready", flush=True)

    quic.onConnected = connected
    _any.listenUDP(0, quic)


def far(port: int, program: int) -> None:
    """
    The program's end.
    """
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["chain"])
    identity = Identity.create()
    configuration.load_cert_chain(identity.certificatePEM(), identity.keyPEM())
    _any.listenUDP(port, Quic(configuration, None, program))
    print("ready", flush=True)


def main() -> None:
    """
    Run one end.
    """
    end, *words = sys.argv[1:]
    if end == "near" and len(words) == 3:
        near(int(words[0]), words[1], int(words[2]))
    elif end == "far" and len(words) == 2:
        far(int(words[0]), int(words[1]))
    else:
        raise SystemExit(__doc__)
    _any.run()


if __name__ == "__main__":
    main()
