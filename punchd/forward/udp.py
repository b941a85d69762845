"""
Forwards of datagrams: every source address on the one side is a user with a socket of
its own on the other.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHostnameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.errors import InvalidOption, ServiceFailed
from punchd.interfaces import IDatagramPort, IDatagramReceiver, INetwork

from .association import Association
from .places import Place, parseListening, parseTarget
from .rules import LOOPBACK, Forward

#: Users of one forward at a time; the one that was silent for longest makes room.
MAX_USERS = 64

#: Datagrams of a user that wait until the peer is reached.
MAX_EARLY = 16

#: Seconds for which a user is not heard after the peer could not be reached.
PAUSE = 1.0


def familyOf(host: str) -> int:
    """
    @return: 4 or 6.
    """
    return 6 if ":" in host else 4


@implementer(IDatagramReceiver)
class DatagramForwarder(Service):
    """
    I take the datagrams of users of one service of a peer.

    @ivar port: my socket, while there is one.
    @ivar dropped: what did not get through, by reason.
    """

    _log = Logger()

    def __init__(
        self,
        network: INetwork,
        rule: Forward,
        peerId: str,
        open: Callable[..., Deferred[Any]],
    ) -> None:
        """
        @param peerId: whom the rule's petname means.
        @param open: opens a stream for datagrams.
        """
        self.rule = rule
        self.port: IDatagramPort | None = None
        self.dropped: Counter[str] = Counter()
        self._network = network
        self._place = parseListening(rule.endpoint)
        self._peerId = peerId
        self._open = open
        self._users: OrderedDict[Address, _User] = OrderedDict()

    # --- Service -------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Open the socket.

        @raise InvalidOption: the address cannot be had.
        """
        host = self._place.host or LOOPBACK
        try:
            port: IDatagramPort = self._network.listenDatagram(
                self, familyOf(host), host, self._place.port
            )
        except CannotListenError as e:
            why = getattr(e.socketError, "strerror", None) or e.socketError
            raise InvalidOption(f"{self.rule}: cannot listen there: {why}.") from e
        self.port = port
        bound = port.getHost()
        self._log.info(
            "{rule} listens on UDP port {port} of {host}",
            rule=str(self.rule),
            host=bound[0],
            port=bound[1],
        )

    def startService(self) -> None:
        """
        Open the socket, if that was not done with privileges before.
        """
        super().startService()
        if self.port is None:
            self.privilegedStartService()

    def stopService(self) -> None:
        """
        Close the socket and end what users have.
        """
        super().stopService()
        for user in list(self._users.values()):
            user.end()
        port, self.port = self.port, None
        if port is not None:
            port.close()

    # --- IDatagramReceiver ---------------------------------------------------

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        A user sends something.
        """
        user = self._users.get(remote)
        if user is None:
            if len(self._users) >= MAX_USERS:
                next(iter(self._users.values())).end()
            user = self._users[remote] = _User(self, local, remote)
            user.open(self._open, self._peerId, self.rule.service)
        else:
            self._users.move_to_end(remote)
        user.send(data)

    # --- for the users -------------------------------------------------------

    def associate(
        self, deliver: Callable[[bytes], object], gone: Callable[[], object]
    ) -> Association:
        """
        @return: what a user has.
        """
        clock = self._network.reactor
        return Association(clock, self._place.idle, deliver, gone)

    def reply(self, data: bytes, local: Address, remote: Address) -> None:
        """
        The peer answers a user.
        """
        if self.port is not None:
            self.port.send(Datagram(data, local, remote))

    def gone(self, remote: Address, user: _User) -> None:
        """
        What a user had is over.
        """
        if self._users.get(remote) is user:
            del self._users[remote]

    def failed(self, failure: Failure, remote: Address, user: _User) -> IDelayedCall:
        """
        The peer cannot be reached, or does not let us in.

        @return: the end of the pause in which the user is not heard.
        """
        if not failure.check(CancelledError, ConnectionAborted, ConnectionDone):
            self._log.warn(
                "{rule}: {error}", rule=str(self.rule), error=str(failure.value)
            )
        clock: IReactorTime = self._network.reactor
        return clock.callLater(PAUSE, self.gone, remote, user)


class _User:
    """
    Who sends from one address.
    """

    def __init__(
        self, forwarder: DatagramForwarder, local: Address, remote: Address
    ) -> None:
        self._forwarder = forwarder
        self._local = local
        self._remote = remote
        self._early: deque[bytes] | None = deque()
        self._opening: Deferred[Any] | None = None
        self._association = forwarder.associate(self._deliver, self._gone)
        self._pause: IDelayedCall | None = None

    def open(
        self, open: Callable[..., Deferred[Any]], peerId: str, service: str
    ) -> None:
        """
        Ask for a stream.
        """
        self._opening = maybeDeferred(open, peerId, service, datagrams=True)
        self._opening.addCallbacks(self._opened, self._fail)

    def send(self, data: bytes) -> None:
        """
        To the peer, as soon as it is reached.
        """
        early = self._early
        if self._pause is not None:
            self._forwarder.dropped["the peer is not reached"] += 1
        elif early is None:
            self._association.send(data)
        elif len(early) >= MAX_EARLY:
            self._forwarder.dropped["too early"] += 1
        else:
            early.append(data)

    def end(self) -> None:
        """
        It is over.
        """
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self._association.end()

    def _opened(self, stream: Any) -> None:
        self._opening = None
        stream.whenOpen().addErrback(self._fail)
        stream.attach(self._association)
        early, self._early = self._early or deque(), None
        for data in early:
            self._association.send(data)

    def _fail(self, failure: Failure) -> None:
        self._opening = None
        if self._pause is None:
            self._pause = self._forwarder.failed(failure, self._remote, self)
            self._association.end()

    def _deliver(self, data: bytes) -> None:
        self._forwarder.reply(data, self._local, self._remote)

    def _gone(self) -> None:
        if self._pause is None:
            self._forwarder.gone(self._remote, self)


@implementer(IDatagramReceiver)
class DatagramProgram:
    """
    I am the socket of one user at a published program.

    @ivar dropped: what did not get through, by reason.
    """

    def __init__(self, network: INetwork, target: Address, idle: float) -> None:
        """
        @raise CannotListenError: there is no such socket.
        """
        self.dropped: Counter[str] = Counter()
        self._target = target
        self.association = Association(network.reactor, idle, self._send, self._gone)
        try:
            self._port: IDatagramPort = network.listenDatagram(
                self, familyOf(target[0]), "", 0
            )
        except CannotListenError:
            self.association.end()
            raise

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        The program, or somebody who guesses, sends something.
        """
        if remote != self._target:
            self.dropped["not the program"] += 1
        elif self.association.transport is not None:
            self.association.send(data)

    def _send(self, data: bytes) -> None:
        self._port.send(Datagram(data, None, self._target))

    def _gone(self) -> None:
        port = getattr(self, "_port", None)
        if port is not None:
            port.close()


def reachProgram(network: INetwork, endpoint: str) -> Deferred[DatagramProgram]:
    """
    @param endpoint: where the program takes datagrams.

    @return: a socket for one user of it; fails with C{CannotListenError}, or with
        L{ServiceFailed} when the program's host has no address.
    """
    place = parseTarget(endpoint)

    def found(host: str) -> DatagramProgram:
        return DatagramProgram(network, (host, place.port), place.idle)

    return _resolve(network.reactor, place).addCallback(found)


def _resolve(reactor: Any, place: Place) -> Deferred[str]:
    waiting: Deferred[str] = Deferred()
    try:
        ipaddress.ip_address(place.host)
    except ValueError:
        resolver: IHostnameResolver = reactor.nameResolver
        resolver.resolveHostName(_Resolution(waiting, place.host), place.host)
    else:
        waiting.callback(place.host)
    return waiting


@implementer(IResolutionReceiver)
class _Resolution:
    """
    I take the first address of a name.
    """

    def __init__(self, waiting: Deferred[str], name: str) -> None:
        self._waiting = waiting
        self._name = name

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """
        It begins.
        """

    def addressResolved(self, address: Any) -> None:
        """
        The name has this address.
        """
        if not self._waiting.called:
            self._waiting.callback(address.host)

    def resolutionComplete(self) -> None:
        """
        That was all.
        """
        if not self._waiting.called:
            self._waiting.errback(ServiceFailed(f"{self._name} has no address."))
