"""
The server (RFC 1928).

What a user asks for means

    SERVICE.PEER.punch, any port    that service of that peer
    PEER.punch, PORT                the service that the endpoint names by PORT=SERVICE,
                                    else the service whose name is the number

PEER is a petname without dots, or a peer id.  Other names, and addresses, are refused.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.errors import InvalidOption, NoSuchService, NotAllowed, PeerUnavailable
from punchd.forward.tcp import Half, join
from punchd.interfaces import IHome

VERSION, NO_PASSWORD, CONNECT, NAME = 5, 0, 1, 3
DOMAIN = ".punch"

# RFC 1928, section 6.
GRANTED, FAILED, NOT_ALLOWED, UNREACHABLE, REFUSED = 0, 1, 2, 4, 5
BAD_COMMAND, BAD_ADDRESS = 7, 8
REPLIES = {
    NotAllowed: NOT_ALLOWED,
    NoSuchService: REFUSED,
    PeerUnavailable: UNREACHABLE,
}


class SocksServer(Service):
    """
    I listen.

    @ivar users: who is connected.
    """

    log = Logger()

    def __init__(
        self,
        rule: Any,
        home: IHome,
        port: int,
        interface: str,
        services: dict[int, str],
    ) -> None:
        self.rule = rule
        self.home = home
        self.users: set[User] = set()
        self._where = port, interface
        self._services = services
        self._port: Any = None

    def privilegedStartService(self) -> None:
        """
        Listen, or say why not.
        """
        port, interface = self._where
        factory = Factory.forProtocol(lambda: User(self))
        factory.noisy = False
        reactor = self.home.network.reactor
        try:
            self._port = reactor.listenTCP(port, factory, interface=interface)
        except CannotListenError as e:
            why = getattr(e.socketError, "strerror", None) or e.socketError
            raise InvalidOption(f"{self.rule}: cannot listen there: {why}.") from e

    def startService(self) -> None:
        """
        Listen, if that was not done with privileges before.
        """
        super().startService()
        if self._port is None:
            self.privilegedStartService()

    def stopService(self) -> Any:
        """
        Close everything.
        """
        super().stopService()
        for user in list(self.users):
            user.abort()
        port, self._port = self._port, None
        return port and maybeDeferred(port.stopListening)

    def targetOf(self, host: str, port: int) -> tuple[str, str] | None:
        """
        @return: the peer and the service that a name and a port mean, or L{None}.
        """
        if not host.lower().endswith(DOMAIN):
            return None
        service, dot, peer = host[: -len(DOMAIN)].rpartition(".")
        return peer, service if dot else self._services.get(port, str(port))


class User(Half):
    """
    The connection of somebody who asks for a peer.
    """

    def __init__(self, server: SocksServer) -> None:
        super().__init__(server.users.discard)
        self._server = server
        self._asked = b""
        self._read: Any = self._greeting
        self._opening: Deferred[Any] | None = None

    def connectionMade(self) -> None:
        """
        Wait for the greeting.
        """
        super().connectionMade()
        self._server.users.add(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Take what was asked for, and pass on what follows.
        """
        if self._read is None:
            super().dataReceived(data)
            return
        self._asked += data
        used = 1
        while self._read is not None and used:
            used = self._read(self._asked)
            self._asked = self._asked[used:]
        if self._read is None and self._asked:
            rest, self._asked = self._asked, b""
            super().dataReceived(rest)

    def readConnectionLost(self) -> None:
        """
        Who has asked for nothing gets nothing.
        """
        if self._read is not None:
            self.abort()
        super().readConnectionLost()

    def connectionLost(self, reason: Any = None) -> None:
        """
        Nobody needs the stream any more.
        """
        if self._opening is not None:
            self._opening.cancel()
        super().connectionLost(reason)

    def _greeting(self, data: bytes) -> int:
        if len(data) < 2 or len(data) < 2 + data[1]:
            return 0
        if data[0] != VERSION or NO_PASSWORD not in data[2 : 2 + data[1]]:
            self._end(bytes([VERSION, 0xFF]))
            return 0
        self.transport.write(bytes([VERSION, NO_PASSWORD]))
        self._read = self._request
        return 2 + data[1]

    def _request(self, data: bytes) -> int:
        if len(data) < 5:
            return 0
        _, command, _, kind, length = data[:5]
        if kind != NAME or command != CONNECT:
            self._reply(BAD_ADDRESS if command == CONNECT else BAD_COMMAND)
            return 0
        if len(data) < 7 + length:
            return 0
        self._read = None
        host = data[5 : 5 + length].decode("ascii", "replace")
        port = int.from_bytes(data[5 + length : 7 + length], "big")
        target = self._server.targetOf(host, port)
        if target is None:
            self._reply(NOT_ALLOWED)
        else:
            self._open(*target)
        return 7 + length

    def _open(self, peer: str, service: str) -> None:
        self._opening = opening = self._server.home.open(peer, service)
        opening.addCallback(lambda stream: stream.whenOpen())
        opening.addCallbacks(self._opened, self._failed, errbackArgs=(peer, service))

    def _opened(self, stream: Any) -> None:
        self._opening = None
        self._reply(GRANTED)
        end = Half()
        stream.attach(end)
        join(end, self)

    def _failed(self, failure: Failure, peer: str, service: str) -> None:
        self._opening = None
        if self.lost is None:
            self._server.log.info(
                "{rule}: {peer}/{service}: {error}",
                rule=str(self._server.rule),
                peer=peer,
                service=service,
                error=failure.getErrorMessage(),
            )
            self._reply(REPLIES.get(failure.type, FAILED))

    def _reply(self, code: int) -> None:
        reply = bytes([VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0])
        if code == GRANTED:
            self.transport.write(reply)
        else:
            self._end(reply)

    def _end(self, reply: bytes) -> None:
        self._read = None
        self.transport.write(reply)
        self.transport.loseConnection()
