"""
TCP through NATs.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionLost, ConnectionRefusedError, TimeoutError

from punchd.testing.host import Host
from punchd.testing.router import Lifetimes, Unsolicited
from punchd.testing.scenario import Scenario
from tests.testing.helpers import Bench, Keeping

PUBLIC = "198.51.100.10"


def connecting(host: Host, address: str, port: int, **options: Any) -> Any:
    """
    @return: a Deferred of a protocol.
    """
    endpoint = TCP4ClientEndpoint(host.reactor, address, port, **options)
    return endpoint.connect(Keeping())


def testServerSeesTheNat() -> None:
    """The source of a connection is the outside address."""
    bench = Bench()
    server = Keeping()
    bench.server.reactor.listenTCP(80, server)  # type: ignore[arg-type]
    client = bench.network.runUntil(connecting(bench.client, "203.0.113.10", 80))
    bench.run()
    made: Any = server.made[0]
    peer = made.transport.getPeer()
    assert (peer.host, peer.port) == (PUBLIC, client.transport.getHost().port)
    made.transport.write(b"down")
    client.transport.write(b"up")
    bench.run()
    assert (client.data, made.data) == (b"down", b"up")
    assert bench.nat.mappings("tcp") == [(("10.0.0.2", peer.port), (PUBLIC, peer.port))]


@pytest.mark.parametrize(
    ("unsolicited", "error", "seconds"),
    [
        (Unsolicited.DROP, TimeoutError, 5.0),
        (Unsolicited.REJECT, ConnectionRefusedError, 0.02),
        (Unsolicited.CLAIM, ConnectionRefusedError, 0.02),
    ],
)
def testUnsolicitedConnection(
    unsolicited: Unsolicited, error: type[Exception], seconds: float
) -> None:
    """A SYN from outside is dropped, or refused where the NAT does that."""
    bench = Bench(unsolicited=unsolicited)
    bench.client.reactor.listenTCP(80, Keeping())  # type: ignore[arg-type]
    with pytest.raises(error):
        bench.network.runUntil(connecting(bench.server, PUBLIC, 80, timeout=5))
    assert bench.network.clock.seconds() == pytest.approx(seconds)


def testForwardedConnection() -> None:
    """A forwarded port leads in."""
    bench = Bench()
    server = Keeping()
    bench.client.reactor.listenTCP(80, server)  # type: ignore[arg-type]
    bench.nat.addForward("tcp", (PUBLIC, 8080), ("10.0.0.2", 80))
    bench.network.runUntil(connecting(bench.server, PUBLIC, 8080))
    bench.run()
    assert len(server.made) == 1


def testLostMappingCutsTheConnection() -> None:
    """A NAT that forgets a connection cuts it; the server refuses the rest."""
    bench = Bench(lifetimes=Lifetimes(tcp=(10.0, 10.0)), mapping="address-dependent")
    server = Keeping()
    bench.server.reactor.listenTCP(80, server)  # type: ignore[arg-type]
    client = bench.network.runUntil(connecting(bench.client, "203.0.113.10", 80))
    bench.run(1)
    made: Any = server.made[0]
    bench.run(20)
    made.transport.write(b"x")
    bench.run(1)
    assert bench.network.dropped["no mapping"] > 0
    assert client.data == b""
    assert client.reason is None
    # The client's own segments open a mapping again, as Linux does.
    client.transport.write(b"y")
    bench.run(1)
    assert made.data == b"y"


def testPowerCutOfTheNat() -> None:
    """After a power cut another port may be used, which the server does not know."""
    scenario = Scenario("symmetric", "open")
    server = Keeping()
    scenario.rendezvous.reactor.listenTCP(80, server)  # type: ignore[arg-type]
    client = scenario.network.runUntil(connecting(scenario.hostA, "203.0.113.10", 80))
    nat: Any = scenario.sideA.routers[0]
    nat.reset()
    client.transport.write(b"x")
    scenario.network.advance(1)
    assert client.reason.check(ConnectionLost)


def testOnlyPort443() -> None:
    """Where nothing but TCP 443 may leave, that may."""
    scenario = Scenario("tcp443", "open")
    for port in (443, 3478):
        scenario.rendezvous.reactor.listenTCP(port, Keeping())  # type: ignore[arg-type]
    assert scenario.network.runUntil(connecting(scenario.hostA, "203.0.113.10", 443))
    with pytest.raises(TimeoutError):
        scenario.network.runUntil(
            connecting(scenario.hostA, "203.0.113.10", 3478, timeout=3)
        )
    assert set(scenario.network.dropped) == {"blocked"}


@pytest.mark.parametrize(
    ("kind", "opens"), [("portrestricted", True), ("symmetric", False)]
)
def testSimultaneousOpen(kind: str, opens: bool) -> None:
    """
    Two hosts that connect to each other's mapped ports at once meet, where the
    ports are those that they expect (RFC 9293, figure 7).
    """
    scenario = Scenario(kind, kind)
    attempts = [
        connecting(host, peer, port, bindAddress=("", own), timeout=4)
        for host, peer, port, own in (
            (scenario.hostA, "192.0.2.10", 6000, 5000),
            (scenario.hostB, PUBLIC, 5000, 6000),
        )
    ]
    if not opens:
        for attempt in attempts:
            with pytest.raises(TimeoutError):
                scenario.network.runUntil(attempt)
        return
    one, two = (scenario.network.runUntil(attempt) for attempt in attempts)
    assert scenario.network.clock.seconds() < 1.5
    one.transport.write(b"hello")
    two.transport.write(b"there")
    scenario.network.advance(0.1)
    assert (one.data, two.data) == (b"there", b"hello")
    assert scenario.network.dropped == Counter()
