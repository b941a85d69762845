"""
What NAT-PMP and PCP do alike, each by its own bytes.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.portmap.events import Available, Failed, Lost, Mapped, Released
from tests.portmap.dialects import (
    BASE,
    GATEWAY,
    NONCE,
    OUTSIDE,
    SpeaksNATPMP,
    SpeaksPCP,
)

DIALECTS = [SpeaksNATPMP, SpeaksPCP]


@pytest.fixture(params=DIALECTS)
def gate(request: Any) -> Any:
    """A client of each protocol and the answers of its gateway."""
    return request.param()


def _mapped(gate: Any, now: float = 0.0, lifetime: int = 7200) -> None:
    gate.core.probe(now)
    gate.receive(gate.answer(), now)
    gate.core.map(now)
    gate.receive(gate.granted(lifetime=lifetime), now)
    assert gate.sent() == [gate.probe, gate.map]
    assert gate.events() == [Available(gate.host), Mapped(OUTSIDE, float(lifetime))]


def _run(gate: Any, until: float) -> list[tuple[float, bytes]]:
    """Meet every deadline up to a time; give what was sent, and when."""
    sent = []
    while (when := gate.core.deadline()) is not None and when <= until:
        gate.core.timeReached(when)
        sent += [(when, data) for data in gate.sent()]
    return sent


def testCourse(gate: Any) -> None:
    """A probe, a mapping, and the mapping is given back."""
    _mapped(gate)
    assert gate.core.address == OUTSIDE
    gate.core.release(10.0)
    assert gate.sent() == [gate.release]
    assert gate.core.address is None
    gate.receive(gate.granted(lifetime=0), 10.1)
    assert gate.events() == [Released()]
    assert gate.core.deadline() is None


def testSchedule(gate: Any) -> None:
    """Nine sendings from 250 ms on, each wait twice the one before; then the end."""
    gate.core.probe(0.0)
    assert gate.sent() == [gate.probe]
    sent = _run(gate, 1e9)
    assert sent == [(0.25 * (2**n - 1), gate.probe) for n in range(1, 9)]
    assert gate.events() == [Failed("no answer")]
    assert gate.core.deadline() is None


def testEarlyCall(gate: Any) -> None:
    """A call before the deadline changes nothing."""
    gate.core.probe(0.0)
    gate.sent()
    gate.core.timeReached(0.2)
    assert gate.sent() == []
    assert gate.core.deadline() == 0.25


def testRenewal(gate: Any) -> None:
    """At half of the lease the very same mapping is asked for."""
    _mapped(gate)
    gate.epoch += 3600
    for now in range(600, 3600, 600):
        assert _run(gate, now) == [(now, gate.probe)]
        gate.receive(gate.answer(epoch=1000 + now), now)
    assert _run(gate, 3600) == [(3600, gate.again)]
    gate.receive(gate.granted(), 3600.0)
    assert gate.events() == [Mapped(OUTSIDE, 7200.0)]
    gate.core.timeReached(4200)
    assert gate.sent() == [gate.probe]


def testRenewalUnanswered(gate: Any) -> None:
    """A gateway that is gone is asked until the lease is over, and no longer."""
    _mapped(gate, lifetime=1000)
    sent = _run(gate, 1e9)
    assert sent[0] == (500.0, gate.again)
    assert sent[-1][0] < 1000.0
    assert gate.events() == [Lost("the router did not renew the mapping")]
    assert gate.core.address is None
    assert gate.core.deadline() is None


def testRenewalRefused(gate: Any) -> None:
    """A gateway that does not renew has taken the mapping away."""
    _mapped(gate, lifetime=1000)
    gate.core.timeReached(500.0)
    gate.sent()
    gate.receive(gate.granted(code=2), 500.1)
    (lost,) = gate.events()
    assert isinstance(lost, Lost)
    assert gate.core.deadline() is None


def testRestartedGateway(gate: Any) -> None:
    """A clock that jumped back has forgotten us: the mapping is made again at once."""
    _mapped(gate)
    gate.core.timeReached(600.0)
    gate.sent()
    gate.receive(gate.answer(epoch=3), 600.1)
    assert gate.core.deadline() == 600.1
    gate.core.timeReached(600.1)
    assert gate.sent() == [gate.again]
    assert gate.events() == []


def testSteadyGateway(gate: Any) -> None:
    """A clock that went on as ours did changes nothing."""
    _mapped(gate)
    gate.core.timeReached(600.0)
    gate.sent()
    gate.receive(gate.answer(epoch=1601), 600.1)
    assert gate.core.deadline() == 1200.0


@pytest.mark.parametrize("code", [1, 2, 3, 5, 99])
def testProbeRefused(gate: Any, code: int) -> None:
    """A gateway that refuses is not asked again."""
    gate.core.probe(0.0)
    gate.receive(gate.answer(code=code), 0.1)
    (failed,) = gate.events()
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert gate.core.deadline() is None


def testMapRefused(gate: Any) -> None:
    """A refusal says why; nothing is left to be given back."""
    gate.core.probe(0.0)
    gate.receive(gate.answer(), 0.0)
    gate.core.map(0.0)
    gate.events()
    gate.sent()
    gate.receive(gate.granted(code=2), 0.1)
    (failed,) = gate.events()
    assert isinstance(failed, Failed)
    assert (failed.code, bool(failed.reason)) == (2, True)
    gate.core.release(0.2)
    assert gate.events() == [Released()]
    assert gate.sent() == []


def testGrantOfNothing(gate: Any) -> None:
    """A mapping of no duration is none."""
    gate.core.map(0.0)
    gate.receive(gate.answer(), 0.0)
    gate.events()
    gate.receive(gate.granted(lifetime=0), 0.1)
    assert gate.events() == [Failed("the router granted nothing", 0)]


def testReleaseOfWhatMayExist(gate: Any) -> None:
    """A mapping that was asked for without an answer is given back, too."""
    gate.core.probe(0.0)
    gate.receive(gate.answer(), 0.0)
    gate.core.map(0.0)
    gate.sent()
    gate.core.release(0.1)
    assert gate.sent() == [gate.release]


def testReleaseUnanswered(gate: Any) -> None:
    """The end does not depend on the gateway."""
    _mapped(gate)
    gate.core.release(0.0)
    _run(gate, 1e9)
    assert gate.events() == [Released()]


def testWrongSource(gate: Any) -> None:
    """Only the gateway's address and port count."""
    gate.core.probe(0.0)
    for stranger in (("192.168.1.3", GATEWAY[1]), (GATEWAY[0], 5350)):
        gate.receive(gate.answer(), 0.0, stranger)
    assert gate.events() == []
    assert gate.core.garbage == {"not the gateway": 2}


def testLateAnswers(gate: Any) -> None:
    """A second answer to one request is dropped."""
    _mapped(gate)
    gate.receive(gate.granted(), 0.2)
    gate.receive(gate.answer(), 0.2)
    assert gate.events() == []
    assert gate.core.garbage == {"response to nothing": 2}


def testAnotherPort(gate: Any) -> None:
    """An answer about another port of ours is not for us."""
    gate.core.map(0.0)
    gate.receive(gate.answer(), 0.0)
    gate.events()
    gate.receive(gate.granted(inside=40002), 0.1)
    assert gate.core.address is None
    assert gate.events() == []


@given(
    kind=st.sampled_from(DIALECTS),
    garbage=st.lists(
        st.tuples(st.sampled_from(["probe", "map", "release"]), st.binary(max_size=80)),
        max_size=8,
    ),
)
def testGarbage(kind: Any, garbage: list[tuple[str, bytes]]) -> None:
    """Nothing that the gateway sends raises, and only what fits maps a port."""
    gate = kind()
    head = len(gate.answer()) if kind is SpeaksPCP else 8
    ours = (NONCE, BASE[1].to_bytes(2, "big"))
    for number, (command, data) in enumerate(garbage):
        now = float(number)
        getattr(gate.core, command)(now)
        for prefix in (b"", gate.answer(), gate.granted()[:2], gate.granted()[:head]):
            gate.receive(prefix + data, now)
        gate.core.timeReached(now)
        mapped = [event for event in gate.events() if isinstance(event, Mapped)]
        assert not mapped or data.startswith(ours)
    assert sum(gate.core.garbage.values()) >= len(garbage)
