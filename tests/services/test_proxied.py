"""
A client to whom nothing is open but an HTTP proxy.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from punchd.net.proxy import Proxy
from punchd.testing.pair import Pair
from punchd.testing.scenario import Scenario
from tests.services.meeting import Client, Meeting
from tests.services.test_approach import refusalOf

PROXY = "203.0.113.77"


class Connecting(Protocol):
    """
    A proxy: it connects to where it is asked to, if that is port 443.
    """

    def __init__(self, reactor: Any, password: bytes | None) -> None:
        self._reactor = reactor
        self._password = password
        self._other: Any = None

    def dataReceived(self, data: bytes) -> None:
        """
        Answer the request, then pass everything on.
        """
        transport: Any = self.transport
        if self._other is not None:
            self._other.transport.write(data)
        elif self._password is not None and self._password not in data:
            transport.write(b"HTTP/1.1 407 Who\r\n\r\n")
        else:
            host, port = data.split()[1].decode().split(":")
            if port != "443":
                transport.write(b"HTTP/1.1 403 No\r\n\r\n")
                return
            endpoint = TCP4ClientEndpoint(self._reactor, host, int(port))
            factory: Any = Factory.forProtocol(Protocol)
            factory.noisy = False
            endpoint.connect(factory).addCallbacks(
                self._reached, lambda _: transport.write(b"HTTP/1.1 502 No\r\n\r\n")
            )

    def _reached(self, other: Any) -> None:
        transport: Any = self.transport
        self._other = other
        other.dataReceived = transport.write
        other.connectionLost = lambda reason: transport.loseConnection()
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")

    def connectionLost(self, reason: Any = None) -> None:
        """
        End the other connection.
        """
        if self._other is not None:
            self._other.transport.loseConnection()


def startProxy(network: Any, password: bytes | None = None) -> Proxy:
    """
    Start a proxy in the simulator.

    @param password: what a request has to contain.
    """
    host = network.addHost("proxy", PROXY)
    factory: Any = Factory.forProtocol(lambda: Connecting(host.reactor, password))
    factory.noisy = False
    host.reactor.listenTCP(3128, factory)
    return Proxy(PROXY, 3128)


def join(meeting: Meeting, proxy: Proxy) -> Client:
    """
    @return: a client behind nothing but the proxy.
    """
    return meeting.addClient(1, kind="proxyonly", proxy=proxy)


def test_registered(meeting: Meeting) -> None:
    """
    The two ports have their head starts, then the proxy leads to 443; that way is
    the first the next time.
    """
    alice = join(meeting, startProxy(meeting.network))
    meeting.network.runUntil(alice.link.whenRegistered())
    assert meeting.network.clock.seconds() == pytest.approx(0.6 + 0.35, abs=0.01)
    registration = alice.link.registration
    assert registration is not None
    assert registration.reached is not None
    assert (registration.reached.port, registration.reached.proxied) == (443, True)
    meeting.network.runUntil(meeting.rendezvous.stopService())
    meeting.network.advance(0.5)
    meeting.rendezvous.startService()
    meeting.network.runUntil(alice.link.whenRegistered(), 30.0)
    assert alice.link.registration is not None
    assert alice.link.registration.reached == registration.reached


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        (Proxy(PROXY, 3128), f"The proxy at {PROXY}:3128 asks for user name and"),
        (
            Proxy(PROXY, 3128, ("me", "sesame")),
            f"The proxy at {PROXY}:3128 does not accept the user name and password",
        ),
        (
            Proxy(PROXY, 3129),
            f"The proxy at {PROXY}:3129 cannot be reached: no answer.",
        ),
    ],
)
def test_failures(meeting: Meeting, proxy: Proxy, why: str) -> None:
    """
    What is wrong with the proxy is said behind what the ports say, and how to get
    past it is not.
    """
    startProxy(meeting.network, b"Basic b3BlbjpzZXNhbWU=")
    sentence = refusalOf(meeting, join(meeting, proxy))
    assert "TCP port 3478 and 443, cannot be reached: no answer." in sentence
    assert why in sentence
    assert "sesame" not in sentence


def test_session() -> None:
    """
    A session runs over the relay, through the proxy.
    """
    scenario = Scenario("proxyonly", "portrestricted", 1)
    proxy = startProxy(scenario.network)
    pair = Pair(scenario, proxyFor=lambda host: proxy)
    for client in (pair.a, pair.b):
        pair.network.runUntil(client.whenRegistered(), 10.0)
    pair.network.advance(2.0)
    began = pair.clock.seconds()
    stream, collector = pair.open()
    stream.write(bytes(1_000_000))
    pair.network.runUntil(collector.whenReceived(1_000_000), 30.0)
    assert pair.clock.seconds() - began < 5.0
    (session,) = pair.a.status()["sessions"]
    assert (session["path"]["kind"], session["path"]["transport"]) == ("relayed", "tls")
    way = pair.a.context.relay.way if pair.a.context.relay is not None else None
    assert way is not None
    assert way.proxied
    pair.stop()
