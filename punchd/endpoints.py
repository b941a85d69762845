"""
Twisted endpoints that lead to peers.

    punch:PEER/NAME    a client endpoint: the service NAME of the peer PEER
    punch:NAME         a server endpoint: a service that peers may use

Both use the client that runs on the state folder where there is one, and else
start one in this process, which all endpoints of the process share.  One session
with a peer carries all connections to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectingCancelledError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import implementer

from punchd.errors import InvalidOption, PunchError, ServiceFailed
from punchd.forward.rules import checkName, parseTarget
from punchd.services.portal import Offering, Portal, portalFor
from punchd.session.address import PunchAddress
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL

#: How long a connection may take unless C{timeout} says more, in seconds.
TIMEOUT = 30.0


class PeerConnectError(ConnectError):
    """
    A service of a peer cannot be reached.

    @ivar reason: why: L{NotAllowed<punchd.errors.NotAllowed>},
        L{NoSuchService<punchd.errors.NoSuchService>},
        L{PeerUnavailable<punchd.errors.PeerUnavailable>} and others.
    """

    def __init__(self, reason: PunchError) -> None:
        super().__init__(string=str(reason))
        self.reason = reason

    def __str__(self) -> str:
        return str(self.reason)


@implementer(IStreamClientEndpoint)
class PunchClientEndpoint:
    """
    A service of a peer.
    """

    def __init__(
        self,
        reactor: Any,
        peer: str,
        service: str,
        *,
        state: str | None = None,
        rendezvous: Sequence[str] = (),
        timeout: float = TIMEOUT,
        portal: Portal | None = None,
    ) -> None:
        """
        @param reactor: the reactor.
        @param peer: a petname or a peer id.
        @param service: the name under which the peer publishes it.
        @param state: the state folder; the platform's own unless given.
        @param rendezvous: URLs for a client in this process; those of the client
            that ran last unless given.
        @param timeout: how long to try, in seconds.
        @param portal: what to use instead of C{state} and C{rendezvous}.

        @raise InvalidOption: the name or an URL is none.
        """
        parseTarget(f"{peer}/{service}")
        self._reactor = reactor
        self._peer = peer
        self._service = service
        self._state = state
        self._urls = [RendezvousURL.parse(url) for url in rendezvous]
        self._timeout = timeout
        self._portal = portal

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._peer}/{self._service}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Open a connection to the service.

        @return: fires with the protocol once the peer has let us in; fails with
            L{PeerConnectError}, L{TimeoutError} or L{ConnectingCancelledError}.
        """
        connecting = Deferred.fromCoroutine(self._connect(protocolFactory))
        late = False

        def tooLate() -> None:
            nonlocal late
            late = True
            connecting.cancel()

        call = self._reactor.callLater(self._timeout, tooLate)

        def ended(result: Any) -> Any:
            if call.active():
                call.cancel()
            if not isinstance(result, Failure):
                return result
            if late:
                raise TimeoutError(string=f"{self._peer} did not answer in time")
            if result.check(CancelledError):
                address = PunchAddress(self._peer, self._service)
                raise ConnectingCancelledError(address)
            if isinstance(result.value, PunchError):
                raise PeerConnectError(result.value) from result.value
            return result

        return connecting.addBoth(ended)

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        portal = self._portal
        if portal is None:
            portal = portalFor(self._reactor, self._state, self._urls)
        peerId = portal.folder.resolve(self._peer)
        stream = await portal.open(peerId, self._service)
        try:
            await stream.whenOpen()
            protocol = _build(factory, stream)
        except BaseException:
            stream.abortConnection()
            raise
        if protocol is None:
            stream.abortConnection()
            raise ServiceFailed("The factory made no protocol for the connection.")
        stream.attach(protocol)
        return protocol


@implementer(IStreamServerEndpoint)
class PunchServerEndpoint:
    """
    A service for peers.
    """

    def __init__(
        self,
        reactor: Any,
        service: str,
        *,
        allow: Sequence[str] = (),
        state: str | None = None,
        rendezvous: Sequence[str] = (),
        portal: Portal | None = None,
    ) -> None:
        """
        @param reactor: the reactor.
        @param service: the name of the service.
        @param allow: petnames or ids of the peers that may use it, beside those
            that the running client allows it.
        @param state: the state folder; the platform's own unless given.
        @param rendezvous: URLs for a client in this process; those of the client
            that ran last unless given.
        @param portal: what to use instead of C{state} and C{rendezvous}.

        @raise InvalidOption: the name or an URL is none.
        """
        checkName(service)
        self._reactor = reactor
        self._service = service
        self._allow = list(allow)
        self._state = state
        self._urls = [RendezvousURL.parse(url) for url in rendezvous]
        self._portal = portal

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._service}>"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Offer the service.

        @return: fires with the port once it is offered; fails with
            L{CannotListenError}.
        """
        listening = Deferred.fromCoroutine(self._listen(protocolFactory))

        def failed(failure: Failure) -> Failure:
            if not isinstance(failure.value, PunchError):
                return failure
            error: Any = failure.value
            raise CannotListenError("punch", self._service, error) from error

        return listening.addErrback(failed)

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        portal = self._portal
        if portal is None:
            portal = portalFor(self._reactor, self._state, self._urls)
        # What is wrong by now fails at once, as with other endpoints.
        portal.check()
        allow = [portal.folder.resolve(peer) for peer in self._allow]
        port = PunchPort(portal, self._service, allow, factory)
        port.startListening()
        await port.whenListening()
        return port


@implementer(IListeningPort)
class PunchPort:
    """
    A service that is offered.
    """

    log = Logger()

    def __init__(
        self,
        portal: Portal,
        service: str,
        allow: Sequence[str],
        factory: IProtocolFactory,
    ) -> None:
        self._portal = portal
        self._service = service
        self._allow = allow
        self._factory = factory
        self._offering: Offering | None = None

    def startListening(self) -> None:
        """
        Offer the service.
        """
        if self._offering is None:
            self._factory.doStart()
            self._offering = self._portal.serve(self._service, self._allow, self._take)

    async def whenListening(self) -> None:
        """
        Wait until it is offered.
        """
        assert self._offering is not None
        try:
            await self._offering.ready
        except BaseException:
            self.stopListening()
            raise

    def stopListening(self) -> Deferred[None]:
        """
        Offer it no more; connections that there are go on.
        """
        offering, self._offering = self._offering, None
        if offering is not None:
            offering.stop()
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> PunchAddress:
        """
        @return: who we are, and the name of the service.
        """
        ownId = self._portal.folder.identity().peerId
        return PunchAddress(ownId, self._service)

    def _take(self, peerId: str, service: str, stream: Stream) -> None:
        try:
            protocol = _build(self._factory, stream)
        except Exception:
            self.log.failure("No protocol for {peer}", peer=peerId)
            protocol = None
        if protocol is None:
            stream.refuse(ServiceFailed)
        else:
            stream.accept(protocol)


def _build(factory: IProtocolFactory, stream: Stream) -> IProtocol | None:
    """
    @return: the factory's protocol for a stream that will be its transport.
    """
    protocol = factory.buildProtocol(stream.getPeer())
    prefix = getattr(protocol, "logPrefix", None)
    if prefix is not None:
        stream.logContext = {ILogContext: {"system": prefix(), "isError": 0}}
    return protocol


# --- the strings -------------------------------------------------------------


def clientFromArguments(
    reactor: IReactorTime,
    target: str,
    state: str | None = None,
    rendezvous: str | None = None,
    timeout: str | float = TIMEOUT,
) -> PunchClientEndpoint:
    """
    @return: the endpoint of C{punch:PEER/NAME:state=DIR:rendezvous=URL:timeout=S}.

    @raise ValueError: it is no such string.
    """
    try:
        peer, service = parseTarget(target)
        return PunchClientEndpoint(
            reactor,
            peer,
            service,
            state=state,
            rendezvous=_split(rendezvous),
            timeout=_seconds(timeout),
        )
    except PunchError as e:
        raise ValueError(f"punch:{target}: {e}") from e


def serverFromArguments(
    reactor: IReactorTime,
    service: str,
    state: str | None = None,
    rendezvous: str | None = None,
    allow: str | None = None,
) -> PunchServerEndpoint:
    """
    @return: the endpoint of
        C{punch:NAME:allow=PEER,PEER:state=DIR:rendezvous=URL}.

    @raise ValueError: it is no such string.
    """
    try:
        return PunchServerEndpoint(
            reactor,
            service,
            allow=_split(allow, ","),
            state=state,
            rendezvous=_split(rendezvous),
        )
    except PunchError as e:
        raise ValueError(f"punch:{service}: {e}") from e


def _split(text: str | None, by: str | None = None) -> list[str]:
    return [word for word in (text or "").split(by) if word]


def _seconds(text: str | float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise InvalidOption(f"timeout={text}: expected a number of seconds.")
    return seconds
