"""
Tests for L{punchd.net.proxy}, with a proxy in the simulator.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from punchd.errors import InvalidOption, ProxyFailed
from punchd.net.proxy import (
    PATIENCE,
    ProxiedEndpoint,
    Proxy,
    fromEnvironment,
    proxyChooser,
)
from punchd.testing.link import Link
from punchd.testing.network import Network

PROXY, SERVER = "203.0.113.1", "203.0.113.2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://10.0.0.1:3128", Proxy("10.0.0.1", 3128)),
        ("http://proxy.example:8080/", Proxy("proxy.example", 8080)),
        ("proxy.example:8080", Proxy("proxy.example", 8080)),
        ("http://[2001:db8::1]:80", Proxy("2001:db8::1", 80)),
        ("http://me:p%40ss@h:1", Proxy("h", 1, ("me", "p@ss"))),
        ("http://me@h:1", Proxy("h", 1, ("me", ""))),
    ],
)
def test_parse(text: str, expected: Proxy) -> None:
    """
    What a proxy may look like.
    """
    assert Proxy.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://h:1",
        "socks5://me:secret@h:1",
        "http://h",
        "http://h:0",
        "http://h:99999",
        "http://:1",
        "http://me:secret@h",
        "http://me:sec/ret@h:x",
        "http://h:1/path",
        "http://me%3Ayou:secret@h:1",
        "http://me:secret%0a@h:1",
        "me:secret@h",
        "http://[me:secret@h:1",
    ],
)
def test_wrong(text: str) -> None:
    """
    What it may not: a sentence that names the option and what was expected, and
    not the password.
    """
    with pytest.raises(InvalidOption) as caught:
        Proxy.parse(text)
    sentence = str(caught.value)
    assert sentence.startswith("--proxy=")
    assert sentence.endswith("expected http://[USER:PASSWORD@]HOST:PORT.")
    assert "sec" not in sentence


@pytest.mark.parametrize(
    ("environment", "host", "expected"),
    [
        ({}, "a.example", None),
        ({"https_proxy": "http://p:1"}, "a.example", "p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "a.example", "p:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://p:1"}, "a.example", None),
        ({"http_proxy": "http://p:1"}, "a.example", None),
        ({"https_proxy": "p:1", "no_proxy": "*"}, "a.example", None),
        ({"https_proxy": "p:1", "no_proxy": "b.example"}, "a.example", "p:1"),
        ({"https_proxy": "p:1", "no_proxy": "x, .example"}, "a.example", None),
        ({"https_proxy": "p:1", "NO_PROXY": "A.EXAMPLE"}, "a.example", None),
        ({"https_proxy": "p:1", "no_proxy": "ample"}, "a.example", "p:1"),
        ({"https_proxy": "p:1", "no_proxy": "10.0.0.0/8"}, "10.1.2.3", None),
        ({"https_proxy": "p:1", "no_proxy": "10.0.0.0/8,x"}, "11.1.2.3", "p:1"),
        ({"https_proxy": "p:1", "no_proxy": "[2001:db8::1]"}, "2001:db8::1", None),
    ],
)
def test_environment(
    environment: dict[str, str], host: str, expected: str | None
) -> None:
    """
    The variables that other programs go by.
    """
    found = fromEnvironment(environment, host)
    assert (None if found is None else str(found)) == expected


def test_chooser() -> None:
    """
    The option is for all hosts; a variable that makes no sense counts for nothing.
    """
    environment = {"https_proxy": "http://p:1", "no_proxy": "h"}
    assert str(proxyChooser(None, environment)("other")) == "p:1"
    assert proxyChooser(None, environment)("h") is None
    assert str(proxyChooser(Proxy("q", 2), environment)("h")) == "q:2"
    assert proxyChooser(None, {"https_proxy": "ftp://p"})("h") is None


class Fake(Protocol):
    """
    A proxy that says what it is told to say.
    """

    def __init__(self, say: Callable[[bytes], bytes | None]) -> None:
        self._say = say
        self._heard = b""

    def dataReceived(self, data: bytes) -> None:
        """
        Answer the request; C{None} closes the connection.
        """
        self._heard += data
        transport: Any = self.transport
        if b"\r\n\r\n" in self._heard:
            said = self._say(self._heard)
            self._heard = b""
            if said is None:
                transport.loseConnection()
            else:
                transport.write(said)


class Inner(Protocol):
    """
    What speaks through the proxy.
    """

    received = b""
    lost = False

    def dataReceived(self, data: bytes) -> None:
        """
        Remember it.
        """
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        """
        Remember that.
        """
        self.lost = True


class World:
    """
    A client and a proxy.
    """

    def __init__(self, say: Callable[[bytes], bytes | None]) -> None:
        self.network = Network(1, Link(0.025))
        self.client = self.network.addHost("client", "198.51.100.1")
        host = self.network.addHost("proxy", PROXY)
        factory: Any = Factory.forProtocol(lambda: Fake(say))
        factory.noisy = False
        host.reactor.listenTCP(3128, factory)

    def connect(self, proxy: Proxy = Proxy(PROXY, 3128)) -> Deferred[Any]:  # noqa: B008
        """
        Connect to the server through the proxy.
        """
        factory: Any = Factory.forProtocol(Inner)
        factory.noisy = False
        endpoint = ProxiedEndpoint(self.client.reactor, proxy, SERVER, 443)
        return endpoint.connect(factory)

    def why(self, proxy: Proxy = Proxy(PROXY, 3128)) -> str:  # noqa: B008
        """
        @return: why that fails.
        """
        with pytest.raises(ProxyFailed) as caught:
            self.network.runUntil(self.connect(proxy), 2 * PATIENCE)
        self.network.advance(1.0)
        return str(caught.value)


def test_connected() -> None:
    """
    The request is what RFC 9110 says; what comes behind the answer is for the
    protocol, and so is what comes later, and the end.
    """
    heard: list[bytes] = []

    def say(data: bytes) -> bytes | None:
        heard.append(data)
        if data.startswith(b"bye"):
            return None
        return b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nearly"

    world = World(say)
    proxy = Proxy(PROXY, 3128, ("me", "secret"))
    inner = world.network.runUntil(world.connect(proxy), 5.0)
    lines = heard[0].split(b"\r\n")
    assert lines[:2] == [
        b"CONNECT 203.0.113.2:443 HTTP/1.1",
        b"Host: 203.0.113.2:443",
    ]
    basic = base64.b64encode(b"me:secret")
    assert lines[2:] == [b"Proxy-Authorization: Basic " + basic, b"", b""]
    assert inner.received == b"early"
    inner.transport.write(b"bye\r\n\r\n")
    world.network.advance(1.0)
    assert inner.lost
    assert world.client.reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "asks for user name and password (407)."),
        (
            b"HTTP/1.0 403 Filtered\r\n\r\n<html>",
            "does not connect to 203.0.113.2:443 (403 Filtered).",
        ),
        (b"HTTP/1.1 502\r\n\r\n", "does not connect to 203.0.113.2:443 (502)."),
        (b"SSH-2.0-OpenSSH\r\n", "is no HTTP proxy."),
        (b"HTTP/1.1 huh\r\n\r\n", "is no HTTP proxy."),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 3000, "does not end."),
        (b"HTTP/1.1 200 OK\r\n", "does not answer."),
        (None, "closed the connection."),
    ],
)
def test_failures(answer: bytes | None, why: str) -> None:
    """
    What a proxy may do wrong, each in a sentence.
    """
    world = World(lambda data: answer)
    said = world.why()
    assert "at 203.0.113.1:3128" in said
    assert said.endswith(why)
    assert world.client.reactor.getDelayedCalls() == []


def test_wrongPassword() -> None:
    """
    A password that is not taken is not told.
    """
    said = World(lambda data: b"HTTP/1.1 407 Go away\r\n\r\n").why(
        Proxy(PROXY, 3128, ("me", "secret"))
    )
    assert "does not accept the user name and password (407)" in said
    assert "secret" not in said
    assert "secret" not in repr(Proxy(PROXY, 3128, ("me", "secret")))


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        (Proxy(PROXY, 1), "cannot be reached: connection was refused"),
        (Proxy("203.0.113.99", 3128), "cannot be reached: no answer."),
        (Proxy("no.example", 3128), "cannot be reached: the name is not known."),
    ],
)
def test_unreachable(proxy: Proxy, why: str) -> None:
    """
    A proxy that is not there.
    """
    assert why in World(lambda data: None).why(proxy)


def test_cancelled() -> None:
    """
    Who does not want the connection any more leaves nothing behind.
    """
    world = World(lambda data: b"")
    connecting = world.connect()
    world.network.advance(0.2)
    failures: list[Any] = []
    connecting.addErrback(failures.append)
    connecting.cancel()
    world.network.advance(1.0)
    (failure,) = failures
    assert failure.check(CancelledError)
    assert world.client.reactor.getDelayedCalls() == []
