"""
The relay is reached by UDP again when UDP works again.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from punchd.net.carriage import HANDOVER
from punchd.net.relay import Relay
from punchd.net.relaytimes import LOOK, SELDOM, STEADY, Return
from punchd.testing.pair import Pair

from .test_ways import held, ready

#: What leaves a host for the rendezvous by itself: Allocate.
ALLOCATE = b"\0\3"


def _overTCP(pair: Pair, relay: Relay) -> Any:
    """
    Have the relay reached by TCP.

    @return: the client's router.
    """
    router: Any = pair.scenario.sideA.routers[0]
    router.blockUdp = True
    relay.chances.networkChanged()
    relay.permit("somebody", ["192.0.2.130"])
    pair.network.runUntil(relay.whenAllocated(), 5.0)
    assert relay.way is not None
    assert relay.way.transport == "tcp"
    return router


def _sent(pair: Pair) -> Any:
    """
    @return: a capture of the client's Allocate requests by UDP.
    """
    return pair.network.capture(
        "sent",
        matches=lambda r: (
            r.where == "hostA" and r.protocol == "udp" and r.payload[:2] == ALLOCATE
        ),
    )


def test_returns() -> None:
    """
    It takes the time that UDP needs to be heard and to be looked for; the former
    address is kept for a while, and then given back.
    """
    with ready("portrestricted") as (pair, relay):
        router = _overTCP(pair, relay)
        first = relay.relayed
        pair.network.advance(60.0)
        asked = _sent(pair)
        router.blockUdp = False
        for _ in range(40):
            pair.network.advance(1.0)
            if relay.relayed != first:
                break
        assert relay.way is not None
        assert relay.way.transport == "udp"
        assert relay.relayed not in (None, first)
        assert pair.a.gathering.relayed == relay.relayed
        assert len(list(asked.stop())) == 1
        assert relay.former.carriage is not None
        assert relay.former.carriage.relayed == first
        assert pair.a.socket.isRelay(first)
        assert held(pair) == 2
        pair.network.advance(2 * HANDOVER + 1.0)
        assert relay.former.carriage is None
        assert not pair.a.socket.isRelay(first)
        assert held(pair) == 1


def test_quietWhereUDPIsBlocked() -> None:
    """
    As long as nothing is heard over UDP nobody asks for an address by it.
    """
    with ready("portrestricted") as (pair, relay):
        _overTCP(pair, relay)
        pair.network.advance(10.0)
        asked = _sent(pair)
        pair.network.advance(1800.0)
        assert list(asked.stop()) == []
        assert relay.way is not None
        assert relay.way.transport == "tcp"


def test_relayDoesNotAnswer() -> None:
    """
    Where the rendezvous answers over UDP but no address comes of it, it is tried
    more and more seldom, and what there is stays.
    """
    with ready("portrestricted") as (pair, relay):
        router = _overTCP(pair, relay)
        first = relay.relayed
        router.refuses = lambda packet, out: (
            packet.protocol == "udp" and packet.payload[:2] == ALLOCATE
        )
        router.blockUdp = False
        asked = _sent(pair)
        pair.network.advance(3600.0)
        times = sorted({round(r.time, -2) for r in asked.stop()})
        assert 4 <= len(times) <= 12
        assert relay.relayed == first


def test_userPrefersTCP() -> None:
    """
    Nobody leaves a way that comes before that over UDP.
    """
    with ready("portrestricted") as (pair, relay):
        relay.ways = sorted(relay.ways, key=lambda way: way.transport == "udp")
        relay.permit("somebody", ["192.0.2.130"])
        first = pair.network.runUntil(relay.whenAllocated(), 5.0)
        assert relay.way is not None
        assert relay.way.transport == "tcp"
        pair.network.advance(300.0)
        assert relay.relayed == first


def test_formerIsLost() -> None:
    """
    When the connection of the former address ends before its time, it is given up;
    so is everything when the client stops in between.
    """
    with ready("portrestricted") as (pair, relay):
        router = _overTCP(pair, relay)
        router.blockUdp = False
        while relay.former.carriage is None:
            pair.network.advance(0.2)
        relay.former.carriage.attempt.lost("the test wants it")
        assert relay.former.carriage is None
        assert relay.way is not None
        assert relay.way.transport == "udp"
        pair.network.advance(1.0)
        assert held(pair) == 1


def test_backOff() -> None:
    """
    When UDP does not last, the next look is later each time; once it has lasted,
    the next one is soon again.
    """

    class Nobody:
        attempts: tuple[()] = ()

        def begin(self) -> None:
            made.append(clock.seconds())

        def stop(self, end: object) -> None:
            pass

    clock = Clock()
    made: list[float] = []
    make: Any = Nobody
    returning = Return(clock, clock.seconds, make)
    waits: list[float] = []
    for _ in range(9):
        began = clock.seconds()
        returning.begin()
        while len(made) <= len(waits):
            clock.advance(1.0)
        waits.append(made[-1] - began)
    assert waits == [min(SELDOM, LOOK * 2**n) for n in range(9)]
    clock.advance(STEADY)
    returning.begin()
    clock.advance(LOOK)
    assert len(made) == 10
    returning.begin()
    returning.stop(lambda attempt: None)
    assert clock.getDelayedCalls() == []
