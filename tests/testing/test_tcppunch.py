"""
The product's TCP ports, on simulated hosts behind simulated NATs.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.address import IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from punchd.core import Address, Datagram
from punchd.net.tcppunch import StreamPort, canPunch
from punchd.stun.attributes import Attribute
from punchd.stun.message import parse, success
from punchd.testing.host import Host
from punchd.testing.scenario import Scenario
from tests.testing.helpers import Keeping

SERVER = ("203.0.113.10", 3478)


class Owner:
    """
    I own one port, and keep what I am told.
    """

    def __init__(self, host: Host, family: int = 4) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.received: list[bytes] = []
        assert canPunch(host)
        [own] = [h for h, _ in host.localHosts() if (":" in h) == (family == 6)]
        self.port = StreamPort(host, self, self, own)

    def streamLocated(self, base: Address, server: Address, mapped: Any) -> None:
        self.told.append(("located", mapped))

    def streamMade(self, base: Address, remote: Address) -> None:
        self.told.append(("made", remote))

    def streamFailed(self, base: Address, remote: Address, reason: str) -> None:
        self.told.append(("failed", remote, reason))

    def streamLost(self, base: Address, remote: Address, reason: str) -> None:
        self.told.append(("lost", remote))

    def runsReceived(self, runs: Any) -> None:
        for payloads, _, _ in runs:
            self.received += payloads


class Located(Protocol):
    """
    I answer Binding requests.
    """

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        peer = transport.getPeer()
        mapped = (Attribute.XOR_MAPPED_ADDRESS, (peer.host, peer.port))
        transport.write(success(parse(data), mapped).serialize())


class Punching:
    """
    Two hosts with a port each, and where a server sees these.
    """

    def __init__(self, kindA: str, kindB: str, family: int = 4) -> None:
        self.scenario = made = Scenario(kindA, kindB)
        self.run = made.network.runUntil
        self.a, self.b = Owner(made.hostA, family), Owner(made.hostB, family)
        factory: Any = Factory.forProtocol(Located)
        made.rendezvous.reactor.listenTCP(SERVER[1], factory, interface="::")
        made.rendezvous.reactor.listenTCP(SERVER[1], factory)

    def located(self, owner: Owner, host: str = SERVER[0]) -> Address:
        """
        @return: where a server sees a port.
        """
        owner.port.locate((host, SERVER[1]))
        self.run(lambda: "located" in dict(owner.told))
        mapped: Address = dict(owner.told)["located"]
        return mapped

    def close(self) -> None:
        """
        Close both, and see that nothing is left.
        """
        for owner in (self.a, self.b):
            owner.port.close()
        self.scenario.network.advance(90.0)
        for host in (self.scenario.hostA, self.scenario.hostB):
            assert host.streams() == []
            assert host.boundStreams == []
        assert self.scenario.clock.failures == []


@pytest.mark.parametrize(
    ("kindA", "kindB", "family"),
    [
        ("udpblocked", "udpblocked", 4),
        ("udpblocked", "noinputfilter", 4),
        ("fullcone", "restricted", 4),
        ("ipv6only", "ipv6only", 6),
    ],
)
def testSimultaneous(kindA: str, kindB: str, family: int) -> None:
    """
    SYNs that meet half-way make one connection, which carries datagrams both ways.
    """
    punching = Punching(kindA, kindB, family)
    a, b = punching.a, punching.b
    server = SERVER[0] if family == 4 else "2001:db8::10"
    seenA, seenB = punching.located(a, server), punching.located(b, server)
    if family == 4:
        assert (seenA[0], seenB[0]) == ("198.51.100.10", "192.0.2.10")
    began = punching.scenario.clock.seconds()
    assert a.port.connect(seenB)
    assert b.port.connect(seenA)
    punching.run(lambda: ("made", seenB) in a.told and ("made", seenA) in b.told)
    assert punching.scenario.clock.seconds() - began < 0.06
    a.port.send([Datagram(b"one", a.port.base, seenB)])
    b.port.send([Datagram(b"two", b.port.base, seenA)])
    punching.run(lambda: bool(a.received and b.received))
    assert (a.received, b.received) == ([b"two"], [b"one"])
    punching.close()


@pytest.mark.parametrize(
    ("kind", "refused"), [("udpblocked", False), ("noinputfilter", True)]
)
def testTooEarly(kind: str, refused: bool) -> None:
    """
    A SYN that comes too early is dropped, and repeated a second later; or the router
    refuses it, and it can be sent again at once, for it takes nothing.
    """
    punching = Punching("portrestricted", kind)
    a, b = punching.a, punching.b
    seenA, seenB = punching.located(a), punching.located(b)
    assert a.port.connect(seenB)
    punching.scenario.network.advance(0.06)
    assert (("failed", seenB, "refused") in a.told) is refused
    assert b.port.connect(seenA)
    # It cannot be sent again as long as it is under way.
    assert a.port.connect(seenB) is refused
    punching.run(lambda: ("made", seenB) in a.told and ("made", seenA) in b.told)
    punching.close()


def testOutsiders() -> None:
    """
    Nobody but whom we connect to comes in by TCP, not even at a full cone.
    """
    punching = Punching("fullcone", "open")
    a, b = punching.a, punching.b
    seenA = punching.located(a)
    assert b.port.connect(seenA)
    punching.run(lambda: ("failed", seenA, "timeout") in b.told)
    assert punching.scenario.network.dropped["filtered"] > 0
    punching.close()


def testOnlyPort443() -> None:
    """
    Where nothing but TCP 443 may leave, no SYN gets to a peer.
    """
    punching = Punching("tcp443", "open")
    assert punching.a.port.connect(punching.b.port.base)
    punching.run(lambda: bool(punching.a.told))
    assert punching.a.told == [("failed", punching.b.port.base, "timeout")]
    assert punching.scenario.network.dropped["blocked"] > 0
    punching.close()


def testSharing() -> None:
    """
    A port is shared by those that both allow it, and by nobody else.
    """
    host = Scenario("open", "open").hostA
    first = host.sharedStream(4, 0)
    number = first.getsockname()[1]
    first.listen(5)
    second = host.sharedStream(4, number)
    with pytest.raises(CannotListenError, match="in use"):
        host.reactor.listenTCP(number, Keeping())  # type: ignore[arg-type]
    first.close()
    second.close()
    listening = host.reactor.listenTCP(number, Keeping())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="in use"):
        host.sharedStream(4, number)
    listening.stopListening()


def testAdoption() -> None:
    """
    A reactor adopts sockets of its own machine, of both families; a connection that
    nobody wants is closed.
    """
    scenario = Scenario("ipv6only", "ipv6only")
    host = scenario.hostA
    server, wanted = Keeping(), Keeping()
    scenario.rendezvous.reactor.listenTCP(80, server, interface="::")  # type: ignore[arg-type]
    seen: list[Any] = []

    class Unwanted(Factory):
        def buildProtocol(self, addr: Any) -> None:
            seen.append(addr)

    for factory in (wanted, Unwanted()):
        made = host.sharedStream(6, 0)
        made.connect_ex(("2001:db8::10", 80))
        scenario.network.advance(0.2)
        anyFactory: Any = factory
        host.reactor.adoptStreamConnection(made.fileno(), socket.AF_INET6, anyFactory)
        made.close()
    scenario.network.advance(0.2)
    assert seen == [IPv6Address("TCP", "2001:db8::10", 80)]
    kept: Any = wanted.made[0]
    assert kept.transport.getHost().host == host.localHosts()[0][0]
    kept.transport.write(b"here")
    scenario.network.advance(0.2)
    first, second = server.made
    assert (first.data, first.reason) == (b"here", None)  # type: ignore[attr-defined]
    assert second.reason is not None  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="simulated network"):
        host.reactor.adoptStreamPort(0, socket.AF_INET, anyFactory)
