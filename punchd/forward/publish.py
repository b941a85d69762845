"""
Both ends of a forward: the published program, and the place where its users
connect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.errors import InvalidOption, NoSuchService, ServiceFailed
from punchd.interfaces import IHome, INetwork

from .home import Home, forwarderOf
from .rules import Forward, Publication, checkPublications
from .tcp import Half, join
from .udp import reachProgram

#: Opens a stream to a service of a peer: L{punchd.session.stream.Stream}.
Open = Callable[[str, str], "Deferred[Any]"]


class Publisher:
    """
    I connect the streams that peers open to the programs that are published.

    @ivar publications: what is published, by name; may be changed.
    """

    _log = Logger()

    def __init__(
        self,
        network: INetwork,
        publications: Iterable[Publication],
        nameOf: Callable[[str], str] = str,
        home: IHome | None = None,
    ) -> None:
        """
        @param nameOf: what the user calls a peer, for the log.
        @param home: what forwarders get that publish.

        @raise InvalidOption: two publications have one name.
        """
        self._home = home or Home(network)
        self._nameOf = nameOf
        self._takers: dict[Publication, Callable[[str, Any], None]] = {}
        self.publications = checkPublications(publications)

    def __call__(self, peerId: str, service: str, stream: Any) -> None:
        """
        A peer that is allowed to opens a stream.

        @param stream: a L{punchd.session.stream.Stream} that waits to be
            accepted or refused.
        """
        publication = self.publications.get(service)
        if publication is None:
            self._log.info(
                "{peer} asks for {service}, which is not published",
                peer=self._nameOf(peerId),
                service=service,
            )
            stream.refuse(NoSuchService)
            return
        try:
            self._takerOf(publication)(peerId, stream)
        except Exception:
            self._log.failure("{rule} could not take a stream", rule=str(publication))
            stream.refuse(ServiceFailed)

    def _takerOf(self, publication: Publication) -> Callable[[str, Any], None]:
        taker = self._takers.get(publication)
        if taker is None:
            forwarder = publication.forwarder or forwarderOf(publication.endpoint)
            taker = forwarder.publish(publication, self._home)
            self._takers[publication] = taker
        return taker


class Reaching:
    """
    I connect streams to one published program.
    """

    _log = Logger()

    def __init__(
        self, publication: Publication, network: INetwork, datagrams: bool
    ) -> None:
        """
        @param datagrams: whether the program takes datagrams.
        """
        self._publication = publication
        self._network = network
        self._datagrams = datagrams

    def __call__(self, peerId: str, stream: Any) -> None:
        """
        A peer that is allowed to opens a stream.

        @see: L{punchd.interfaces.IForwarder.publish}.
        """
        publication, udp = self._publication, self._datagrams
        if udp != stream.datagrams:
            kind, wanted = ("datagrams", "udp") if udp else ("streams", "tcp")
            stream.refuse(
                ServiceFailed, f"The service takes {kind}: forward it with {wanted}."
            )
            return
        connecting: Deferred[Any]
        if udp:
            connecting = maybeDeferred(
                reachProgram, self._network, publication.endpoint
            )
        else:
            endpoint = clientFromString(self._network.reactor, publication.endpoint)
            connecting = maybeDeferred(endpoint.connect, _Programs())
        # Accepting fires no waiter: this one tells of a stream that is gone.
        stream.whenOpen().addErrback(lambda _: connecting.cancel())

        def connected(program: Any) -> None:
            if udp:
                stream.accept(program.association)
                return
            end = Half()
            stream.accept(end)
            join(end, program)

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError):
                return
            self._log.warn(
                "{publication}: {error}",
                publication=str(publication),
                error=failure.getErrorMessage(),
            )
            stream.refuse(ServiceFailed, _reasonFor(failure))

        connecting.addCallbacks(connected, failed)
        connecting.addErrback(self._bug, stream)

    def _bug(self, failure: Failure, stream: Any) -> None:
        self._log.failure("A stream could not be joined", failure)
        stream.abortConnection()


def _reasonFor(failure: Failure) -> str:
    """
    @return: a sentence for the peer, which need not know where the program runs.
    """
    if failure.check(ConnectionRefusedError):
        return "The program behind the service refused the connection."
    if failure.check(TimeoutError):
        return "The program behind the service did not answer in time."
    if failure.check(ConnectError):
        return "The program behind the service cannot be reached."
    return ServiceFailed.__doc__.strip() if ServiceFailed.__doc__ else ""


class Forwarder(Service):
    """
    I listen for users of one service of a peer.

    @ivar port: where I listen, while I do.
    """

    _log = Logger()

    def __init__(self, reactor: Any, rule: Forward, peerId: str, open: Open) -> None:
        """
        @param peerId: whom the rule's petname means.
        @param open: opens a stream; data may be written as soon as its result
            is there.
        """
        self.rule = rule
        self.port: IListeningPort | None = None
        self._peerId = peerId
        self._open = open
        self._endpoint = serverFromString(reactor, rule.endpoint)
        self._listening: Deferred[Any] | None = None
        self._users: dict[Half, Deferred[Any]] = {}

    # --- Service -------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise InvalidOption: the endpoint cannot be listened on.
        """
        faults: list[InvalidOption] = []
        starting = True

        def failed(failure: Failure) -> None:
            if starting:
                faults.append(self._fault(failure))
            elif not failure.check(CancelledError):
                self._log.error("{fault}", fault=str(self._fault(failure)))

        self._listening = maybeDeferred(self._endpoint.listen, _Users(self))
        self._listening.addCallbacks(self._listens, failed)
        starting = False
        if faults:
            self._listening = None
            raise faults[0]

    def startService(self) -> None:
        """
        Listen, if that was not done with privileges before.

        @raise InvalidOption: the endpoint cannot be listened on.
        """
        super().startService()
        if self._listening is None:
            self.privilegedStartService()

    def stopService(self) -> Deferred[None] | None:
        """
        Stop listening and break all connections.

        @return: fires when the port is closed.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        port, self.port = self.port, None
        for half in list(self._users):
            half.abort()
        if port is not None:
            return maybeDeferred(port.stopListening).addCallback(lambda _: None)
        if listening is not None:
            listening.cancel()
        return None

    def _listens(self, port: IListeningPort) -> None:
        self.port = port
        host = port.getHost()
        if isinstance(host, (IPv4Address, IPv6Address)):
            where: object = f"port {host.port} of {host.host}"
        else:
            where = host
        self._log.info("{rule} listens on {where}", rule=str(self.rule), where=where)

    def _fault(self, failure: Failure) -> InvalidOption:
        why: object = failure.value
        if isinstance(why, CannotListenError):
            why = why.socketError
        if isinstance(why, OSError) and why.strerror:
            why = why.strerror
        return InvalidOption(f"{self.rule}: cannot listen there: {why}.")

    # --- connections ---------------------------------------------------------

    def _connected(self, half: Half) -> None:
        opening = self._users[half] = maybeDeferred(
            self._open, self._peerId, self.rule.service
        )
        opening.addCallbacks(
            self._opened, self._failed, callbackArgs=(half,), errbackArgs=(half,)
        )
        opening.addErrback(self._bug, half)

    def _opened(self, stream: Any, half: Half) -> None:
        if half.lost is not None:
            stream.abortConnection()
            return
        # It says why it was refused; the end's loss breaks the user's side.
        stream.whenOpen().addCallbacks(lambda _: None, self._tell)
        end = Half()
        stream.attach(end)
        join(end, half)

    def _failed(self, failure: Failure, half: Half) -> None:
        self._tell(failure)
        half.abort()

    def _tell(self, failure: Failure) -> None:
        if not failure.check(CancelledError, ConnectionAborted, ConnectionDone):
            self._log.warn(
                "{rule}: {error}", rule=str(self.rule), error=str(failure.value)
            )

    def _bug(self, failure: Failure, half: Half) -> None:
        self._log.failure("A connection could not be joined", failure)
        half.abort()

    def _gone(self, half: Half) -> None:
        opening = self._users.pop(half, None)
        if opening is not None:
            opening.cancel()


class _Programs(Factory):
    """
    I make the halves of connections to published programs.
    """

    protocol = Half
    noisy = False


class _Users(Factory):
    """
    I make the halves of those who connect.
    """

    noisy = False

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def buildProtocol(self, addr: IAddress | None) -> Half:
        return _User(self._forwarder)


class _User(Half):
    """
    The connection of one user of a forward.
    """

    def __init__(self, forwarder: Forwarder) -> None:
        super().__init__(forwarder._gone)
        self._forwarder = forwarder

    def connectionMade(self) -> None:
        """
        Ask for a stream.
        """
        super().connectionMade()
        self._forwarder._connected(self)
