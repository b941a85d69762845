"""
Hosts, their UDP sockets, and the network around them.
"""

from __future__ import annotations

from collections import Counter

import pytest
from twisted.internet.error import CannotListenError
from zope.interface.verify import verifyClass, verifyObject

from punchd.interfaces import IDatagramPort, IDatagramReceiver, INetwork
from punchd.testing.datagrams import DatagramPort
from punchd.testing.host import EPOCH, Host
from punchd.testing.link import Link
from punchd.testing.network import Network
from tests.testing.helpers import Sink

A, B, SIX = "198.51.100.1", "198.51.100.2", "2001:db8::1"


@pytest.fixture
def network() -> Network:
    """
    Two hosts on the internet, 10 ms apart.
    """
    network = Network(1, Link(0.01))
    network.addHost("one", A, SIX)
    network.addHost("two", B, "2001:db8::2")
    return network


def testInterfaces(network: Network) -> None:
    """A host is a network of punchd, and its sockets are datagram ports."""
    assert verifyClass(INetwork, Host)
    assert verifyClass(IDatagramPort, DatagramPort)
    assert verifyObject(INetwork, network.hosts["one"])
    sink = Sink(network.hosts["one"])
    assert verifyObject(IDatagramPort, sink.port)
    assert verifyObject(IDatagramReceiver, sink)


def testDatagram(network: Network) -> None:
    """The receiver learns the address that was asked, not the wildcard."""
    one, two = Sink(network.hosts["one"], 1000), Sink(network.hosts["two"], 2000)
    assert two.port.getHost() == ("0.0.0.0", 2000)
    one.send((B, 2000), b"hello")
    network.advance(1)
    assert two.received == [(b"hello", (B, 2000), (A, 1000))]
    assert network.sent == network.received == Counter({((A, 1000), (B, 2000)): 1})


def testDatagramIPv6(network: Network) -> None:
    """IPv6 has sockets of its own on the same port."""
    one = Sink(network.hosts["one"], 1000, 6)
    two, four = Sink(network.hosts["two"], 2000, 6), Sink(network.hosts["two"], 2000)
    one.send(("2001:db8::2", 2000))
    one.send((B, 2000))
    network.advance(1)
    assert two.received == [(b"x", ("2001:db8::2", 2000), (SIX, 1000))]
    assert four.received == []
    assert one.port.counters == Counter({"unreachable": 1})


def testSourceMayBeChosen(network: Network) -> None:
    """A wildcard socket sends from the address it is told."""
    host = network.addHost("many", "198.51.100.7", "198.51.100.8")
    many, two = Sink(host, 1000), Sink(network.hosts["two"], 2000)
    many.answers = True
    two.send(("198.51.100.8", 1000))
    many.send((B, 2000))
    network.advance(1)
    assert two.sources == [("198.51.100.7", 1000), ("198.51.100.8", 1000)]


@pytest.mark.parametrize(
    ("first", "second", "collide"),
    [
        (("", 5000), ("", 5000), True),
        (("", 5000), (A, 5000), True),
        ((A, 5000), ("", 5000), True),
        ((A, 5000), (A, 5000), True),
        ((A, 5000), ("127.0.0.1", 5000), False),
        ((A, 5000), (A, 5001), False),
        (("", 5000), ("0.0.0.0", 5000), True),
    ],
)
def testCollision(
    network: Network, first: tuple[str, int], second: tuple[str, int], collide: bool
) -> None:
    """A port that is taken cannot be bound."""
    host = network.hosts["one"]
    sink = Sink(host, first[1], address=first[0])
    if collide:
        with pytest.raises(CannotListenError):
            Sink(host, second[1], address=second[0])
        sink.port.close()
    assert Sink(host, second[1], address=second[0]).port.getHost()[1] == second[1]


def testBindToForeignAddress(network: Network) -> None:
    """Only an own address can be bound."""
    with pytest.raises(CannotListenError):
        Sink(network.hosts["one"], address=B)
    with pytest.raises(CannotListenError):
        Sink(network.hosts["one"], family=4, address=SIX)


def testEphemeralPortsDiffer(network: Network) -> None:
    """Port 0 is any free port."""
    ports = {Sink(network.hosts["one"]).port.getHost()[1] for _ in range(500)}
    assert len(ports) == 500
    assert min(ports) >= 32768


def testOnePortOnTwoAddresses(network: Network) -> None:
    """Each address has its own sockets; a host reaches itself by all."""
    local = Sink(network.hosts["two"], 2000, address="127.0.0.1")
    public = Sink(network.hosts["two"], 2000, address=B)
    one = Sink(network.hosts["two"], 1000)
    one.send(("127.0.0.1", 2000))
    one.send((B, 2000))
    network.advance(1)
    assert (local.sources, public.sources) == ([("127.0.0.1", 1000)], [(B, 1000)])


def testClosedSocket(network: Network) -> None:
    """Nothing is delivered to a closed socket, nothing is sent by it."""
    one, two = Sink(network.hosts["one"]), Sink(network.hosts["two"], 2000)
    one.send((B, 2000))
    two.port.close()
    two.port.close()
    two.send((A, 1))
    network.advance(1)
    assert two.received == []
    assert two.port.counters == Counter({"closed": 1})
    assert network.dropped == Counter({"closed port": 1})


def testTtl(network: Network) -> None:
    """A packet needs a TTL greater than the routers on its way."""
    assert network.internet.hops == 2
    one, two = Sink(network.hosts["one"]), Sink(network.hosts["two"], 2000)
    for ttl in (1, 2, 3, None):
        one.send((B, 2000), b"%d" % (ttl or 0), ttl)
    network.advance(1)
    assert two.data == [b"3", b"0"]
    assert network.dropped == Counter({"ttl": 2})


def testNoRoute(network: Network) -> None:
    """An address that nobody has, and one that is not routed, lead nowhere."""
    one = Sink(network.hosts["one"])
    one.send(("192.0.2.99", 1))
    one.send(("10.0.0.1", 1))
    network.advance(1)
    assert network.dropped == Counter({"no route": 2})


def testLocalHosts(network: Network) -> None:
    """A host knows its addresses, the preferred one first."""
    assert network.hosts["one"].localHosts() == [(A, "eth0"), (SIX, "eth0")]


def testAddressesComeAndGo(network: Network) -> None:
    """A host that moves keeps its sockets and gets another address."""
    host, two = network.hosts["one"], Sink(network.hosts["two"], 2000)
    one = Sink(host, 1000)
    one.send((B, 2000))
    host.detach(A)
    one.send((B, 2000))
    assert one.port.counters == Counter({"unreachable": 1})
    host.attach(network.internet, "192.0.2.5")
    one.send((B, 2000))
    two.send((A, 1000))
    network.advance(1)
    assert two.sources == [(A, 1000), ("192.0.2.5", 1000)]
    assert network.dropped == Counter({"no route": 1})
    assert host.localHosts() == [(SIX, "eth0"), ("192.0.2.5", "eth0")]


def testAddressIsTaken(network: Network) -> None:
    """Two nodes cannot have one address, nor two hosts one name."""
    with pytest.raises(ValueError, match="is taken"):
        network.addHost("three", A)
    with pytest.raises(ValueError, match="there is a host"):
        network.addHost("one", "192.0.2.1")


def testWallClock(network: Network) -> None:
    """Each host has its own idea of the date."""
    one, two = network.hosts["one"], network.hosts["two"]
    two.clockError = 90.0
    network.advance(5)
    assert one.wallClock() == EPOCH + 5
    assert two.wallClock() == EPOCH + 95
    assert one.reactor.seconds() == 5


def testEntropy() -> None:
    """Random octets follow from the seed and the name of the host."""

    def draw(seed: int) -> list[bytes]:
        network = Network(seed)
        hosts = [network.addHost(n, a) for n, a in (("one", A), ("two", B))]
        return [host.entropy(16) for host in hosts]

    assert draw(1) == draw(1)
    assert len({*draw(1), *draw(2)}) == 4
    assert [len(octets) for octets in draw(1)] == [16, 16]


def testCapture(network: Network) -> None:
    """A capture sees what it was asked for, from when it was made."""
    one, two = Sink(network.hosts["one"], 1000), Sink(network.hosts["two"], 2000)
    one.send((B, 2000), b"before")
    capture = network.capture(
        "sent", "public", "received", matches=lambda record: record.size > 30
    )
    one.send((B, 2000), b"hello")
    one.send((B, 2000), b"")
    network.advance(1)
    assert capture.stop() is capture.records
    one.send((B, 2000), b"after")
    network.advance(1)
    assert [(r.time, r.point, r.where, r.payload, r.ttl) for r in capture.records] == [
        (0.0, "sent", "one", b"hello", 64),
        (0.0, "public", "internet", b"hello", 62),
        (0.01, "received", "two", b"before", 62),
        (0.01, "received", "two", b"hello", 62),
    ]
    assert len(two.received) == 4


def testDropsAreCaptured(network: Network) -> None:
    """A dropped packet is recorded with the reason."""
    capture = network.capture("dropped")
    Sink(network.hosts["one"], 1000).send((B, 9))
    network.advance(1)
    record = capture.records[0]
    assert (record.where, record.reason) == ("two", "closed port")


def testCrash(network: Network) -> None:
    """The timers of a killed program never fire; its sockets are free."""
    host = network.hosts["one"]
    ran: list[str] = []
    reactor = host.reactor
    sink = Sink(host, 1000)
    reactor.callLater(1, ran.append, "old")
    network.kill(host)
    assert reactor.getDelayedCalls() == []
    reactor.callLater(1, ran.append, "dead")
    host.reactor.callLater(1, ran.append, "new")
    sink.send((B, 2000))
    again = Sink(host, 1000)
    Sink(network.hosts["two"]).send((A, 1000))
    network.advance(2)
    assert ran == ["new"]
    assert (len(sink.received), len(again.received)) == (0, 1)


def testPowerOff(network: Network) -> None:
    """A machine without power is silent, until it is switched on."""
    host, two = network.hosts["one"], Sink(network.hosts["two"])
    network.kill(host, silently=True)
    two.send((A, 1000))
    network.advance(1)
    assert network.dropped == Counter({"down": 1})
    host.powerOn()
    sink = Sink(host, 1000)
    two.send((A, 1000))
    network.advance(1)
    assert len(sink.received) == 1
