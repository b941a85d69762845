"""
PCP, where it differs from NAT-PMP.
"""

from __future__ import annotations

import pytest

from punchd.portmap.events import Available, Failed, Mapped
from punchd.portmap.pcp import PCP, packInside
from tests.portmap.dialects import GATEWAY, NONCE, SpeaksNATPMP, SpeaksPCP


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
