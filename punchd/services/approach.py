"""
How a client gets a TLS connection to its rendezvous.

The ports of the URL are tried in their order, each with a head start of 300 ms
before the next one; the first complete TLS handshake wins.  A firewall that
swallows packets to one port therefore costs 300 ms, not a time-out.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.errors import (
    CertificateRejected,
    FingerprintMismatch,
    PunchError,
    RendezvousUnreachable,
)
from punchd.net.tls import SIGNALING, ClientCredentials
from punchd.signaling.url import RendezvousURL

#: Seconds before the next port is tried as well.
HEAD_START: Final = 0.3
#: Seconds for the connection and the handshake, on all ports.
PATIENCE: Final = 10.0


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


class Approach:
    """
    I make one attempt to reach a rendezvous, on all its ports.
    """

    def __init__(
        self, reactor: Any, url: RendezvousURL, credentials: ClientCredentials
    ) -> None:
        self._reactor = reactor
        self._url = url
        self._credentials = credentials
        self._factory = TLSMemoryBIOFactory(
            credentials, True, Factory.forProtocol(Handshake), reactor
        )
        self._factory.wrappedFactory.noisy = False
        # A box is one write: there is nothing to gather until the next turn.
        self._factory.protocol = TLSMemoryBIOProtocol
        self._ports = list(url.ports)
        self._running: dict[int, Deferred[Any]] = {}
        self._failures: dict[int, Failure] = {}
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
        if not self._ports:
            return
        port = self._ports.pop(0)
        if self._ports:
            self._next = self._reactor.callLater(HEAD_START, self._tryNext)
        connecting: Deferred[Any] = self._endpoint(port).connect(self._factory)
        self._running[port] = connecting
        connecting.addCallback(lambda tls: tls.wrappedProtocol.done)
        connecting.addCallbacks(
            self._won, self._lost, callbackArgs=(port,), errbackArgs=(port,)
        )

    def _endpoint(self, port: int) -> IStreamClientEndpoint:
        host = self._url.host
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            return HostnameEndpoint(self._reactor, host, port, timeout=PATIENCE)
        kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
        return kind(self._reactor, host, port, timeout=int(PATIENCE))

    def _won(self, handshake: Handshake, port: int) -> None:
        self._running.pop(port, None)
        if self._stopped:
            handshake.abort()
            return
        self._stop()
        self._result.callback(handshake)

    def _lost(self, failure: Failure, port: int) -> None:
        self._running.pop(port, None)
        if self._stopped:
            return
        self._failures[port] = failure
        if self._ports:
            self._tryNext()
        elif not self._running:
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
        for wanted in (FingerprintMismatch, CertificateRejected, PunchError):
            for each in causes:
                if isinstance(each, wanted):
                    return Failure(each)
        if failure.check(TimeoutError) or not self._failures:
            why = "no answer"
        else:
            why = "; ".join(sorted(set(map(_reason, causes))))
        ports = " and ".join(map(str, self._url.ports))
        return Failure(
            RendezvousUnreachable(
                f"The rendezvous at {self._url.host}, TCP port {ports}, "
                f"cannot be reached: {why}."
            )
        )

    def _translate(self, error: BaseException) -> BaseException:
        """
        @return: the exception, with what OpenSSL says about certificates put
            into a sentence of ours.
        """
        if isinstance(error, SSL.Error) and "certificate verify failed" in str(error):
            return self._credentials.mismatch or CertificateRejected()
        return error


def _reason(error: BaseException) -> str:
    if isinstance(error, DNSLookupError):
        return "the name is not known"
    if isinstance(error, (TimeoutError, ConnectTimeout)):
        return "no answer"
    if isinstance(error, ConnectError):
        text = type(error).__doc__ or ""
        return text.strip().rstrip(".").lower() or "the connection failed"
    if isinstance(error, SSL.Error):
        return "no TLS 1.3"
    return "the connection was closed during the handshake"
