"""
Tests for L{punchd.net.relay}, with a real TURN server in the simulator.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from punchd.core import Address
from punchd.errors import RelayRefused
from punchd.net.relay import Relay
from punchd.testing.pair import Pair
from punchd.testing.scenario import Scenario

#: Where the relayed addresses of all peers are.
PEER = "203.0.113.10"


@pytest.fixture
def pair() -> Generator[Pair, None, None]:
    """
    Two clients that know their relay and have not used it.
    """
    made = Pair(Scenario("open", "open", 1))
    made.ready()
    yield made
    made.stop()
    assert made.clock.getDelayedCalls() == []


def relayOf(pair: Pair) -> Relay:
    """
    @return: that of C{a}.
    """
    relay = pair.a.context.relay
    assert relay is not None
    return relay


def why(pair: Pair, waiting: Deferred[Address]) -> RelayRefused:
    """
    @return: the refusal.
    """
    with pytest.raises(RelayRefused) as caught:
        pair.network.runUntil(waiting, 60.0)
    return caught.value


def permissions(pair: Pair) -> list[float]:
    """
    Let 20 minutes pass.

    @return: when CreatePermission requests left.
    """
    capture = pair.network.capture(
        "sent",
        matches=lambda r: (
            r.where == "hostA"
            and r.protocol == "udp"
            and r.payload[:2] in (b"\0\x08", b"\0\x09")
        ),
    )
    pair.network.advance(1200.0)
    return [record.time for record in capture.stop()]


def test_oneAllocation(pair: Pair) -> None:
    """
    All who ask get one address, after one round trip, and so do later ones.
    """
    relay = relayOf(pair)
    began = pair.clock.seconds()
    waiting = [relay.whenAllocated() for _ in range(3)]
    found = {pair.network.runUntil(each, 5.0) for each in waiting}
    assert pair.clock.seconds() - began == pytest.approx(0.05)
    assert found == {relay.relayed} == {pair.a.gathering.relayed}
    assert pair.network.runUntil(relay.whenAllocated(), 0.0) == relay.relayed


def test_cancelled(pair: Pair) -> None:
    """
    Who gives up waiting does not take the allocation from the others.
    """
    relay = relayOf(pair)
    impatient, patient = relay.whenAllocated(), relay.whenAllocated()
    impatient.addErrback(lambda _: None)
    impatient.cancel()
    assert pair.network.runUntil(patient, 5.0) == relay.relayed


def test_refused(pair: Pair) -> None:
    """
    Without credentials, or with wrong ones, there is no relay, and the reason
    is told; with good ones there is.
    """
    relay = relayOf(pair)
    good = relay.chances.credentials
    assert good is not None
    relay.chances.credentials = None
    assert "offers no relay" in str(why(pair, relay.whenAllocated()))
    relay.chances.credentials = replace(good, password="wrong")
    assert why(pair, relay.whenAllocated()).code == 401
    relay.chances.credentials = replace(good, nonce=b"stale")
    pair.network.runUntil(relay.whenAllocated(), 5.0)


def test_released(pair: Pair) -> None:
    """
    A release gives the address back and tells who waits.
    """
    relay = relayOf(pair)
    waiting = relay.whenAllocated()
    relay.release()
    assert "stops" in str(why(pair, waiting))
    pair.network.runUntil(relay.whenAllocated(), 5.0)
    relay.release()
    assert relay.relayed is None
    assert pair.a.gathering.relayed is None
    assert not pair.a.socket.isRelay(("203.0.113.10", 3478))


def test_users(pair: Pair) -> None:
    """
    A host is let in as long as anybody wants it, and no longer.
    """
    relay = relayOf(pair)
    one, other = object(), object()
    pair.network.runUntil(relay.whenAllocated(), 5.0)
    assert not relay.wishes
    for user in (one, other):
        relay.permit(user, [PEER, "192.168.1.1", "127.0.0.1"])
    assert relay.wishes
    assert permissions(pair)
    relay.forget(one)
    assert permissions(pair)
    relay.forget(other)
    assert not relay.wishes
    pair.network.advance(1.0)
    assert permissions(pair) == []
    relay.forget(other)


def test_privateHosts(pair: Pair) -> None:
    """
    No relay is asked to reach private networks.
    """
    relay = relayOf(pair)
    pair.network.runUntil(relay.whenAllocated(), 5.0)
    relay.permit(self := object(), ["192.168.1.1", "10.0.0.1", "fe80::1"])
    assert permissions(pair) == []
    relay.forget(self)


def test_check(pair: Pair) -> None:
    """
    A relay that was started anew is noticed when it is asked; a new address
    is fetched if somebody uses it, and told.
    """
    relay = relayOf(pair)
    relay.check()
    first = pair.network.runUntil(relay.whenAllocated(), 5.0)
    relay.check()
    pair.network.advance(1.0)
    assert relay.relayed == first
    relay.permit("somebody", [PEER])
    pair.network.kill(pair.scenario.rendezvous)
    pair.rendezvous = pair.startRendezvous()
    pair.network.advance(10.0)
    assert relay.relayed not in (None, first)
    assert pair.a.gathering.relayed == relay.relayed
    assert not pair.a.socket.isRelay(first)


def test_unreachable(pair: Pair) -> None:
    """
    A relay that does not answer is given up after a while.
    """
    relay = relayOf(pair)
    pair.network.kill(pair.scenario.rendezvous, silently=True)
    assert not why(pair, relay.whenAllocated()).code
    pair.scenario.rendezvous.powerOn()
    pair.rendezvous = pair.startRendezvous()
