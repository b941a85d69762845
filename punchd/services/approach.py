"""
How a client gets a TLS connection to its rendezvous.

The ports of the URL are tried in their order, each with a head start of 300 ms
before the next one, and then through the proxy, if there is one; the first
complete TLS handshake wins.  A firewall that swallows packets to one port
therefore costs 300 ms, not a time-out.  The way that was the last to win is
tried first.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.errors import (
    CertificateRejected,
    FingerprintMismatch,
    ProxyFailed,
    PunchError,
    RendezvousUnreachable,
)
from punchd.net.congestion import UnpacedReactor
from punchd.net.proxy import ProxiedEndpoint, Proxy, reasonOf
from punchd.net.reaching import endpointTo, withTLS
from punchd.net.tls import SIGNALING, ClientCredentials
from punchd.net.ways import HTTPS
from punchd.signaling.url import RendezvousURL

#: Seconds before the next port is tried as well.
HEAD_START: Final = 0.3
#: Seconds for the connection and the handshake, on all ports.
PATIENCE: Final = 10.0
#: Seconds after which the ways that have no connection are tried once more beside what
#: is under way: where nothing passed for a while, TCP waits ever longer before it asks
#: again.  Who is connected waits: a rendezvous to which thousands return at once has
#: no time for each of them twice.
AGAIN: Final = 2.0


@implementer(IHandshakeListener)
class Handshake(Protocol):
    """
    I wait for the handshake of one connection and then make way for the
    protocol that is going to use it.

    @ivar done: fires with me after the handshake, or fails.
    """

    def __init__(self) -> None:
        self.done: Deferred[Handshake] = Deferred(self._cancelled)
        self._successor: Any = None
        self._early: list[bytes] = []

    def handshakeCompleted(self) -> None:
        """
        The other side is who it should be; does it speak our language?
        """
        transport: Any = self.transport
        if transport.negotiatedProtocol != SIGNALING:
            self._fail(
                Failure(RendezvousUnreachable("What answers there is no rendezvous."))
            )
            transport.abortConnection()
        elif not self.done.called:
            self.done.callback(self)

    def getAddress(self) -> Any:
        """
        @return: where the other end is.
        """
        transport: Any = self.transport
        return transport.getPeer()

    def handOver(self, protocol: Any) -> None:
        """
        C{protocol} has the connection from now on.
        """
        self._successor = protocol
        protocol.makeConnection(self.transport)
        early, self._early = self._early, []
        for data in early:
            protocol.dataReceived(data)

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on, or keep for the successor.
        """
        if self._successor is None:
            self._early.append(data)
        else:
            self._successor.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass on, or fail.
        """
        if self._successor is None:
            self._fail(reason)
        else:
            self._successor.connectionLost(reason)

    def abort(self) -> None:
        """
        Nobody wants the connection.
        """
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def _fail(self, reason: Failure) -> None:
        if not self.done.called:
            self.done.errback(reason)

    def _cancelled(self, done: Deferred[Handshake]) -> None:
        self.abort()


class Way(NamedTuple):
    """
    @ivar proxied: whether through the proxy.
    """

    port: int
    proxied: bool = False


class Approach:
    """
    I make one attempt to reach a rendezvous, by all ways.

    @ivar way: the one that has won.
    """

    def __init__(
        self,
        reactor: Any,
        url: RendezvousURL,
        credentials: ClientCredentials,
        proxy: Proxy | None = None,
        first: Way | None = None,
    ) -> None:
        """
        @param first: the way to try first.
        """
        self.way: Way | None = None
        self._reactor = reactor
        self._url = url
        self._credentials = credentials
        self._proxy = proxy
        inner: Any = Factory.forProtocol(Handshake)
        inner.noisy = False
        self._factory = withTLS(reactor, credentials, inner)
        self._ways = [Way(port) for port in url.ports]
        if proxy is not None:
            # What proxies let through, if anything, is the port of HTTPS.
            ports = sorted(url.ports, key=lambda port: port != HTTPS)
            self._ways += [Way(port, True) for port in ports]
        if first in self._ways:
            self._ways.remove(first)
            self._ways.insert(0, first)
        self._all = list(self._ways)
        self._running: dict[tuple[Way, float], Deferred[Any]] = {}
        self._connected: set[Way] = set()
        self._failures: dict[Way, Failure] = {}
        self._stopped = False
        self._next: IDelayedCall | None = None
        self._result: Deferred[Handshake] = Deferred(lambda _: self._stop())

    def begin(self) -> Deferred[Handshake]:
        """
        @return: fires with the handshake that won, or fails with
            L{RendezvousUnreachable}, L{FingerprintMismatch} or
            L{CertificateRejected}.
        """
        self._tryNext()
        limited = self._result.addTimeout(PATIENCE, self._reactor)
        return limited.addErrback(self._explain)

    def _tryNext(self) -> None:
        if self._next is not None:
            if self._next.active():
                self._next.cancel()
            self._next = None
        if not self._ways:
            return
        way = self._ways.pop(0)
        if self._ways:
            self._next = self._reactor.callLater(HEAD_START, self._tryNext)
        else:
            self._next = self._reactor.callLater(AGAIN, self._tryAgain)
        connecting: Deferred[Any] = self._endpoint(way).connect(self._factory)
        attempt = (way, self._reactor.seconds())
        self._running[attempt] = connecting
        connecting.addCallback(self._handshake, way)
        connecting.addCallbacks(
            self._won, self._lost, callbackArgs=(attempt,), errbackArgs=(attempt,)
        )

    def _handshake(self, tls: Any, way: Way) -> Deferred[Handshake]:
        self._connected.add(way)
        done: Deferred[Handshake] = tls.wrappedProtocol.done
        return done

    def _tryAgain(self) -> None:
        self._ways = [way for way in self._all if way not in self._connected]
        if self._ways:
            self._tryNext()
        else:
            self._next = self._reactor.callLater(AGAIN, self._tryAgain)

    def _endpoint(self, way: Way) -> IStreamClientEndpoint:
        host = self._url.host
        if self._proxy is not None and way.proxied:
            return ProxiedEndpoint(self._reactor, self._proxy, host, way.port)
        return endpointTo(UnpacedReactor(self._reactor), host, way.port, PATIENCE)

    def _won(self, handshake: Handshake, attempt: tuple[Way, float]) -> None:
        self._running.pop(attempt, None)
        if self._stopped:
            handshake.abort()
            return
        self.way, _ = attempt
        self._stop()
        self._result.callback(handshake)

    def _lost(self, failure: Failure, attempt: tuple[Way, float]) -> None:
        self._running.pop(attempt, None)
        if self._stopped:
            return
        self._connected.discard(attempt[0])
        self._failures[attempt[0]] = failure
        if self._ways:
            self._tryNext()
        elif not self._running:
            self._stop()
            self._result.errback(failure)

    def _stop(self) -> None:
        """
        Give up what is under way.
        """
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        running, self._running = self._running, {}
        for attempt in running.values():
            attempt.cancel()

    def _explain(self, failure: Failure) -> Failure:
        """
        @return: one failure for those of all ports, the most telling one.
        """
        if failure.check(CancelledError):
            return failure
        causes = [
            self._translate(each.value)
            for each in self._failures.values()
            if each.value is not None
        ]
        proxied = [str(each) for each in causes if isinstance(each, ProxyFailed)]
        causes = [each for each in causes if not isinstance(each, ProxyFailed)]
        for wanted in (FingerprintMismatch, CertificateRejected, PunchError):
            for each in causes:
                if isinstance(each, wanted):
                    return Failure(each)
        if failure.check(TimeoutError) or not causes:
            why = "no answer"
        else:
            why = "; ".join(sorted(set(map(_reason, causes))))
        ports = " and ".join(map(str, self._url.ports))
        sentences = [
            f"The rendezvous at {self._url.host}, TCP port {ports}, "
            f"cannot be reached: {why}.",
            *sorted(set(proxied)),
        ]
        return Failure(RendezvousUnreachable(" ".join(sentences)))

    def _translate(self, error: BaseException) -> BaseException:
        """
        @return: the exception, with what OpenSSL says about certificates put
            into a sentence of ours.
        """
        if isinstance(error, SSL.Error) and "certificate verify failed" in str(error):
            return self._credentials.mismatch or CertificateRejected()
        return error


def _reason(error: BaseException) -> str:
    if isinstance(error, SSL.Error):
        return "no TLS 1.3"
    if isinstance(error, (DNSLookupError, TimeoutError, ConnectError)):
        return reasonOf(error)
    return "the connection was closed during the handshake"
