"""
PCP, where it differs from NAT-PMP.
"""

from __future__ import annotations

import pytest

from punchd.portmap.events import Available, Failed, Lost, Mapped, Released
from punchd.portmap.pcp import PCP, packInside
from tests.portmap.dialects import (
    GATEWAY,
    NONCE,
    OUTSIDE,
    SpeaksNATPMP,
    SpeaksPCP,
)


def testFallback() -> None:
    """A gateway that knows NAT-PMP only says so: nothing to wait for."""
    gate = SpeaksPCP()
    gate.core.probe(0.0)
    gate.receive(bytes((0, 128, 0, 1)) + bytes(4), 0.1)
    (failed,) = gate.events()
    assert failed == Failed("the router does not speak this version", 1)
    assert gate.core.deadline() is None


def testVersionOfTheServerUnknown() -> None:
    """A version that is neither is no answer."""
    gate = SpeaksPCP()
    gate.core.probe(0.0)
    gate.receive(bytes((3, 128, 0, 1)) + bytes(20), 0.1)
    assert gate.events() == []
    assert gate.core.garbage == {"another version": 1}


def testServerWithoutAnnounce() -> None:
    """A server that does not know ANNOUNCE is a server."""
    gate = SpeaksPCP()
    gate.core.probe(0.0)
    gate.receive(gate.answer(code=4), 0.1)
    assert gate.events() == [Available()]


def testUnsolicitedAnnounce() -> None:
    """ANNOUNCE of the server's own accord is ignored."""
    gate = SpeaksPCP()
    gate.receive(gate.answer(), 0.1)
    assert gate.events() == []


@pytest.mark.parametrize("odd", [{"nonce": bytes(12)}, {"protocol": 6}, {"inside": 1}])
def testAnotherMapping(odd: dict[str, object]) -> None:
    """Nonce, protocol and port must be ours (RFC 6887, 11.4)."""
    gate = SpeaksPCP()
    gate.core.map(0.0)
    gate.receive(gate.granted(**odd), 0.1)  # type: ignore[arg-type]
    assert gate.events() == []
    assert gate.core.garbage == {"response for another mapping": 1}


def testFastClock() -> None:
    """A gateway whose clock runs away was started anew, too (RFC 6887, 8.5)."""
    gate = SpeaksPCP()
    gate.core.map(0.0)
    gate.receive(gate.granted(), 0.0)
    gate.core.timeReached(600.0)
    gate.receive(gate.answer(epoch=9000), 600.0)
    assert gate.core.deadline() == 600.0


def testPinhole() -> None:
    """For IPv6 the mapping is the address itself, the same nonce renews it."""
    base = ("2001:db8:a:1::2", 40000)
    core = PCP("fe80::1", base, lambda count: NONCE[:count])
    core.map(0.0)
    (request,) = core.takeDatagrams()
    assert request.remote == ("fe80::1", GATEWAY[1])
    assert request.data[8:24] == packInside(base[0])
    assert request.data[24:36] == NONCE
    assert request.data[44:60] == bytes(16)
    answer = bytes((2, 129, 0, 0)) + (120).to_bytes(4, "big") + bytes(16)
    data = answer + request.data[24:44] + packInside(base[0])
    core.datagramReceived(data, base, request.remote, 0.1)
    assert core.takeEvents() == [Mapped(base, 120.0)]
    assert core.deadline() == pytest.approx(60.1)


def _renewing() -> SpeaksPCP:
    """
    One that has asked for its mapping to be renewed.
    """
    gate = SpeaksPCP()
    gate.core.map(0.0)
    gate.receive(gate.granted(lifetime=1000), 0.0)
    gate.core.timeReached(500.0)
    gate.sent()
    gate.events()
    return gate


def testCannotBeEnded() -> None:
    """A gateway that denies us the end of what is ours is asked for a short life."""
    gate = _renewing()
    gate.core.release(500.0)
    assert gate.sent() == [gate.release]
    gate.receive(gate.granted(code=2, lifetime=0), 500.1)
    assert gate.events() == []
    (short,) = gate.sent()
    assert short[:4] == gate.map[:4] and short[4:8] == (1).to_bytes(4, "big")
    assert short[8:] == gate.map[8:]
    gate.receive(gate.granted(lifetime=120), 500.2)
    assert gate.events() == [Released()]
    assert gate.core.address is None and gate.core.deadline() is None


def testCannotBeShortened() -> None:
    """One that denies us that, too, is left."""
    gate = _renewing()
    gate.core.release(500.0)
    for _ in range(2):
        assert gate.events() == []
        gate.receive(gate.granted(code=2, lifetime=0), 500.1)
    assert gate.events() == [Released()]


def testLateGrant() -> None:
    """What was granted before is no answer to the request to end it."""
    gate = _renewing()
    gate.core.release(500.0)
    gate.receive(gate.granted(), 500.1)
    assert gate.events() == []
    assert gate.core.garbage == {"late response": 1}
    gate.receive(gate.granted(lifetime=0), 500.2)
    assert gate.events() == [Released()]


@pytest.mark.parametrize("code", [0, 8])
def testCannotBeRenewed(code: int) -> None:
    """A gateway without resources to renew a mapping ends it, and makes it anew."""
    gate = _renewing()
    for now in (500.1, 1000.5):
        gate.receive(gate.granted(code=8, lifetime=30), now)
        assert gate.sent() == [gate.release]
        assert gate.core.address == OUTSIDE
        gate.receive(gate.granted(code=code, lifetime=0), now + 0.1)
        assert gate.sent() == [gate.again]
        gate.receive(gate.granted(lifetime=1000), now + 0.2)
        assert gate.events() == [Mapped(OUTSIDE, 1000.0)]
        for _ in range(2):
            gate.core.timeReached(now + 0.2 + 500)
        assert gate.sent() == [gate.again]


def testCannotBeMadeAnew() -> None:
    """One that has none for that either has taken the mapping away."""
    gate = _renewing()
    gate.receive(gate.granted(code=8), 500.1)
    gate.receive(gate.granted(lifetime=0), 500.2)
    gate.receive(gate.granted(code=8), 500.3)
    assert gate.events() == [Lost("the router has no resources left")]
    assert gate.core.deadline() is None


def testReplacedByNobody() -> None:
    """One that falls silent at that is asked until the lease is over."""
    gate = _renewing()
    gate.receive(gate.granted(code=8), 500.1)
    while (deadline := gate.core.deadline()) is not None:
        assert deadline <= 1000.0
        gate.core.timeReached(deadline)
    assert gate.events() == [Lost("the router did not renew the mapping")]


def testNATPMPAddressFirst() -> None:
    """NAT-PMP asks for the address before the mapping, unless it is known."""
    gate = SpeaksNATPMP()
    gate.core.map(0.0)
    assert gate.sent() == [gate.probe]
    gate.receive(gate.answer(), 0.1)
    assert gate.sent() == [gate.map]
    assert gate.events() == []


def testNATPMPAddressChanged() -> None:
    """A new address outside is found when the gateway is asked again."""
    gate = SpeaksNATPMP()
    gate.core.map(0.0)
    gate.receive(gate.answer(), 0.0)
    gate.receive(gate.granted(), 0.0)
    gate.core.timeReached(600.0)
    gate.receive(gate.answer(epoch=1600)[:-1] + b"\x0b", 600.0)
    gate.core.timeReached(600.0)
    gate.events()
    gate.epoch = 1600
    gate.receive(gate.granted(), 600.1)
    assert gate.events() == [Mapped(("198.51.100.11", 40001), 7200.0)]
