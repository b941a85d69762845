"""
Ways through an HTTP proxy, by CONNECT (RFC 9110, 9.3.6).

A proxy is a URL, C{http://[USER:PASSWORD@]HOST:PORT}, from C{--proxy} or from
the environment's C{https_proxy}.  Its password is in no text that is logged.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.errors import InvalidOption, ProxyFailed

from .reaching import endpointTo

#: Seconds for the proxy to be reached, and to reach the other end; less than an
#: attempt may take, so that it can say why it failed.
PATIENCE: Final = 8.0
#: The longest head of an answer that is read, in bytes.
MAX_HEAD: Final = 16384

_log = Logger()

_EXPECTED = "expected http://[USER:PASSWORD@]HOST:PORT"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?\r?\n")


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    @ivar host: a name or an address.
    @ivar credentials: user name and password, or L{None}.
    """

    host: str
    port: int
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, option: str = "--proxy") -> Proxy:
        """
        @param option: what the user knows it by.

        @raise InvalidOption: it does not have the form above; the password is
            not repeated.
        """

        def wrong(why: str) -> InvalidOption:
            said = re.sub(r"^(\w+://)?.*@", r"\1...@", text)
            return InvalidOption(f"{option}={said}: {why}; {_EXPECTED}.")

        if "://" not in text:
            # Curl and others take it for http, too.
            text = f"http://{text}"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise wrong("that is not a URL with a port") from None
        if parts.scheme != "http":
            raise wrong("only proxies that are spoken to over http are known")
        if not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise wrong("that does not name a proxy")
        if not port:
            raise wrong("there is no port")
        credentials = None
        if parts.username is not None:
            credentials = (unquote(parts.username), unquote(parts.password or ""))
            if ":" in credentials[0] or not "".join(credentials).isprintable():
                raise wrong("such a user name or password cannot be sent")
        return cls(parts.hostname, port, credentials)

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    def head(self, host: str, port: int) -> bytes:
        """
        @return: the request for a connection to there.
        """
        target = f"{_bracketed(host)}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.credentials is not None:
            joined = ":".join(self.credentials).encode("utf-8")
            basic = base64.b64encode(joined).decode("ascii")
            lines.append(f"Proxy-Authorization: Basic {basic}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


#: Gives the proxy that may lead to a host, if any.
ProxyFor = Callable[[str], Proxy | None]


def noProxy(host: str) -> None:
    """
    @return: L{None}, whatever the host.
    """


def proxyChooser(option: Proxy | None, environment: Mapping[str, str]) -> ProxyFor:
    """
    @param option: what the user says, for all hosts; L{None} to go by the
        environment.

    @return: gives the proxy for a host.
    """
    told: set[str] = set()

    def choose(host: str) -> Proxy | None:
        if option is not None:
            return option
        try:
            return fromEnvironment(environment, host)
        except InvalidOption as e:
            # It was set for other programs, too, which may understand it.
            if str(e) not in told:
                told.add(str(e))
                _log.warn("The proxy is not used: {why}", why=str(e))
            return None

    return choose


def fromEnvironment(environment: Mapping[str, str], host: str) -> Proxy | None:
    """
    @param environment: C{https_proxy} or C{HTTPS_PROXY}, with the exceptions in
        C{no_proxy} or C{NO_PROXY}: suffixes of names, addresses and networks,
        separated by commas, or C{*}.
    @param host: where it is to lead.

    @return: the proxy, or L{None} without one for that host.

    @raise InvalidOption: the variable has no such form.
    """
    for name in ("https_proxy", "HTTPS_PROXY"):
        if name in environment:
            text = environment[name].strip()
            if not text or _excepted(environment, host):
                return None
            return Proxy.parse(text, name)
    return None


def _excepted(environment: Mapping[str, str], host: str) -> bool:
    listed = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for each in listed.replace(",", " ").split():
        if each == "*":
            return True
        each = each.lower().lstrip(".")
        if address is None:
            if host.lower() == each or host.lower().endswith(f".{each}"):
                return True
            continue
        try:
            if address in ipaddress.ip_network(each.strip("[]"), strict=False):
                return True
        except ValueError:
            continue
    return False


class _Asking(Protocol):
    """
    I ask for a connection, and stand before the protocol that gets it.
    """

    def __init__(self, proxy: Proxy, host: str, port: int, factory: Any) -> None:
        self.done: Deferred[IProtocol] = Deferred(lambda _: self._abort())
        self._proxy = proxy
        self._target = host, port
        self._factory = factory
        self._successor: Any = None
        self._buffer = b""

    def connectionMade(self) -> None:
        """
        Ask.
        """
        transport: Any = self.transport
        transport.write(self._proxy.head(*self._target))

    def dataReceived(self, data: bytes) -> None:
        """
        Read the answer, then pass everything on.
        """
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not b"HTTP/1.".startswith(head[:7]):
            self._fail(f"What answers at {self._proxy} is no HTTP proxy.")
        elif end:
            self._buffer = b""
            self._answered(head + end, rest)
        elif len(self._buffer) > MAX_HEAD:
            self._fail(f"The answer of the proxy at {self._proxy} does not end.")

    def _answered(self, head: bytes, rest: bytes) -> None:
        status = _STATUS.match(head)
        if status is None:
            self._fail(f"What answers at {self._proxy} is no HTTP proxy.")
            return
        code = int(status[1])
        if code < 200:
            self.dataReceived(rest)
        elif code < 300:
            self._handOver(rest)
        elif code == 407:
            asks = self._proxy.credentials is None
            what = "asks for" if asks else "does not accept the"
            self._fail(
                f"The proxy at {self._proxy} {what} user name and password (407)."
            )
        else:
            host, port = self._target
            why = (status[2] or b"").decode("ascii", "replace")[:80]
            why = "".join(c if c.isprintable() else "?" for c in why)
            self._fail(
                f"The proxy at {self._proxy} does not connect to "
                f"{_bracketed(host)}:{port} ({code} {why}".rstrip()
                + ")."
            )

    def _handOver(self, rest: bytes) -> None:
        transport: Any = self.transport
        successor = self._factory.buildProtocol(transport.getPeer())
        if successor is None:
            self._fail("The connection is not wanted any more.")
            return
        self._successor = successor
        successor.makeConnection(transport)
        if rest:
            successor.dataReceived(rest)
        if not self.done.called:
            self.done.callback(successor)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass on, or fail.
        """
        if self._successor is not None:
            self._successor.connectionLost(reason)
        else:
            self._fail(f"The proxy at {self._proxy} closed the connection.")

    def _fail(self, text: str) -> None:
        self._abort()
        if not self.done.called:
            self.done.errback(ProxyFailed(text))

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


@implementer(IStreamClientEndpoint)
class ProxiedEndpoint:
    """
    I connect to somewhere through a proxy.
    """

    def __init__(self, reactor: Any, proxy: Proxy, host: str, port: int) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._target = host, port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: fires with a protocol of the factory when the other end is
            reached; fails with L{ProxyFailed}.
        """
        proxy = self._proxy
        factory = Factory.forProtocol(
            lambda: _Asking(proxy, *self._target, protocolFactory)
        )
        factory.noisy = False
        endpoint = endpointTo(self._reactor, proxy.host, proxy.port, PATIENCE)

        def failed(failure: Failure) -> Failure:
            if failure.check(CancelledError, ProxyFailed):
                return failure
            why = reasonOf(failure.value)
            return Failure(
                ProxyFailed(f"The proxy at {proxy} cannot be reached: {why}.")
            )

        def late(result: Any, seconds: float) -> Any:
            if isinstance(result, Failure) and result.check(ProxyFailed):
                return result
            raise ProxyFailed(f"The proxy at {proxy} does not answer.")

        connecting: Deferred[Any] = endpoint.connect(factory)
        connecting.addCallback(lambda asking: asking.done)
        connecting.addTimeout(PATIENCE, self._reactor, onTimeoutCancel=late)
        return connecting.addErrback(failed)


def reasonOf(error: BaseException | None) -> str:
    """
    @return: why a connection was not made, in some words.
    """
    if isinstance(error, DNSLookupError):
        return "the name is not known"
    if isinstance(error, (DeferredTimeout, TimeoutError)):
        return "no answer"
    if isinstance(error, ConnectError):
        if type(error).__name__ == "TimeoutError":
            return "no answer"
        text = type(error).__doc__ or ""
        return text.strip().rstrip(".").lower() or "the connection failed"
    return "the connection failed"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
