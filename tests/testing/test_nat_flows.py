"""
How long the flows of a NAT live, one by one.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint

from punchd.testing.router import Dependence, Lifetimes, Unsolicited
from tests.testing.helpers import Bench, Keeping, Sink

PUBLIC = ("198.51.100.10", 5000)


def testFlowFromOutsideIsRepliedFromInside() -> None:
    """A flow that began outside lives long once the inside has answered."""
    for answers in (True, False):
        bench = Bench(filtering=Dependence.ENDPOINT_INDEPENDENT)
        sink = Sink(bench.client, 5000)
        bench.seen(sink, Bench.FIRST)
        sink.answers = answers
        bench.other.send(PUBLIC)
        bench.run(1)
        bench.other.send(PUBLIC)
        bench.run(40)
        assert bool(bench.nat.mappings()) is answers


def testDetourOutlivesTheMapping() -> None:
    """A flow with a port of its own is not lost with the mapping it left."""
    bench = Bench(unsolicited=Unsolicited.CLAIM)
    sink = Sink(bench.client, 5000)
    # The flow to OTHER goes by the mapping, expires, and is taken by OTHER.
    assert bench.seen(sink, Bench.OTHER) == PUBLIC
    bench.run(20)
    assert bench.seen(sink, Bench.FIRST) == PUBLIC
    bench.run(11)
    bench.other.send(PUBLIC)
    bench.run()
    moved = bench.seen(sink, Bench.OTHER)
    assert moved != PUBLIC
    bench.run(20)
    assert bench.seen(sink, Bench.OTHER) == moved
    # Now the mapping expires and is made anew; the detour goes on.
    assert bench.seen(sink, Bench.SECOND) == PUBLIC
    created = bench.nat.created
    assert bench.seen(sink, Bench.OTHER) == moved
    assert bench.nat.created == created


def connected(bench: Bench) -> tuple[Any, Any]:
    """
    @return: both protocols of a TCP connection through the NAT.
    """
    server = Keeping()
    bench.server.reactor.listenTCP(80, server)  # type: ignore[arg-type]
    endpoint = TCP4ClientEndpoint(bench.client.reactor, "203.0.113.10", 80)
    client = bench.network.runUntil(endpoint.connect(Keeping()))
    bench.run()
    return client, server.made[0]


def testClosedConnectionIsForgottenSoon() -> None:
    """A TCP flow lives for days, and for minutes once it is closed."""
    bench = Bench()
    client, _ = connected(bench)
    bench.run(100_000)
    assert len(bench.nat.mappings("tcp")) == 1
    client.transport.loseConnection()
    bench.run(1)
    assert len(bench.nat.mappings("tcp")) == 1
    bench.run(120)
    assert bench.nat.mappings("tcp") == []


def testTcpIsRefreshedBothWays() -> None:
    """Which direction refreshes is a matter of UDP alone."""
    bench = Bench(lifetimes=Lifetimes((9, 9), (20, 20), False, False))
    client, server = connected(bench)
    for _ in range(5):
        server.transport.write(b"x")
        bench.run(15)
    assert client.data == b"xxxxx"


def testMappingsOfManyFlowsExpireTogether() -> None:
    """A NAT forgets what nobody uses, however much it was."""
    bench = Bench(mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT)
    for _ in range(200):
        Sink(bench.client).send(Bench.FIRST)
    bench.run()
    assert (bench.nat.flowCount(), bench.nat.created) == (200, 200)
    bench.run(31)
    assert (bench.nat.flowCount(), bench.nat.created) == (0, 200)
