"""
The port model, from samples written by hand.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.nat.allocation import Allocation, PortModel, Sample, fit
from punchd.nat.drift import Drift, learn
from punchd.nat.sample import allocations, reuse

A, B = ("203.0.113.10", 3478), ("203.0.113.11", 3478)
A2 = ("203.0.113.10", 3479)
HOST = "198.51.100.10"


def samples(*ports: int, spacing: float = 0.02, start: int = 40000) -> list[Sample]:
    """
    Two servers see socket after socket.
    """
    return [
        Sample(number * spacing, start + number // 2, (A, B)[number % 2], HOST, port)
        for number, port in enumerate(ports)
    ]


def drifting() -> list[Sample]:
    """
    About ten foreign flows in each tenth of a second.
    """
    gaps = [11, 8, 14, 11, 10, 12, 9, 13, 11, 10, 12]
    return samples(*(30000 + sum(gaps[:n]) for n in range(12)), spacing=0.1)


def test_nothing() -> None:
    """Of no samples nothing follows."""
    model = fit([])
    assert model.kind is Allocation.UNKNOWN
    assert model.predict(0.0) == []
    assert "not known" in model.describe()


def test_one() -> None:
    """One sample shows nothing, unless the port is kept."""
    assert fit([Sample(0.0, 40000, A, HOST, 50123)]).kind is Allocation.UNKNOWN
    assert fit([Sample(0.0, 40000, A, HOST, 40000)]).kind is Allocation.PRESERVING


def test_independent() -> None:
    """One port for both servers: each socket's port is known."""
    model = fit(samples(5001, 5001, 6002, 6002))
    assert model.kind is Allocation.ENDPOINT_INDEPENDENT
    assert model.predict(9.0) == [(HOST, 5001, model.confidence)]
    assert model.predict(9.0, localPort=40001)[0][:2] == (HOST, 6002)
    assert model.range == (5001, 5001)
    assert model.size == 1


def test_firstIsThePunchingSocket() -> None:
    """The first sample given names the socket, whenever it was taken."""
    taken = samples(5001, 5001, 6002, 6002)
    assert fit(taken[2:] + taken[:2]).predict(9.0)[0].port == 6002


def test_otherPortOfOneHost() -> None:
    """That two ports of one host see one port does not outweigh two hosts."""
    seen = samples(5001, 61000, 23002, 9000)
    seen += [Sample(1.0, 40000, A2, HOST, 5001), Sample(1.1, 40001, A2, HOST, 23002)]
    assert reuse(seen).independent is False
    assert len(allocations(seen)) == 4
    assert fit(seen).kind is Allocation.RANDOM


def test_preserving() -> None:
    """Seen by one server only, with the sockets' own ports."""
    seen = [Sample(i * 0.1, 40000 + i, A, HOST, 40000 + i) for i in range(5)]
    model = fit(seen)
    assert model.kind is Allocation.PRESERVING
    assert model.predict(1.0, localPort=777)[0][:2] == (HOST, 777)


@pytest.mark.parametrize("step", [1, 2, -1, -2, 4, 16])
def test_sequential(step: int) -> None:
    """The next port is the next; and one flow of ours takes one."""
    model = fit(samples(*(30000 + step * i for i in range(6))))
    assert model.kind is Allocation.SEQUENTIAL
    assert model.step == step
    assert model.predict(0.2)[0].port == 30000 + 6 * step
    assert model.predict(0.2)[0].probability > 0.8
    assert model.predict(0.2, ahead=3)[0].port == 30000 + 9 * step


def test_beginsAnew() -> None:
    """After the highest port comes the lowest."""
    model = fit(samples(65533, 65534, 65535, 1024, 1025))
    assert model.kind is Allocation.SEQUENTIAL
    assert model.predict(0.1)[0].port == 1026
    assert fit(samples(65531, 65532, 65533, 65534)).after(65534, 3) == 1025


def test_outlier() -> None:
    """One port out of order does not hide a sequence."""
    model = fit(samples(30000, 30001, 30002, 9999, 10000, 10001, 10002, 10003))
    assert model.kind is Allocation.SEQUENTIAL
    assert model.predict(0.2)[0].port == 10004


def test_driftIsLearned() -> None:
    """Ten foreign flows in a tenth of a second each are 100 a second."""
    model = fit(drifting())
    assert model.drift.rate == pytest.approx(100, rel=0.1)
    # After half a second about fifty more have come.
    best = model.predict(model.anchors[0].time + 0.5)[0]
    assert best.port == pytest.approx(30121 + 50, abs=8)
    assert "others take about" in model.describe()


def test_aim() -> None:
    """K sockets at once cover K-1 foreign flows: the aim is further up."""
    model = fit(drifting())
    quiet = fit(samples(*range(30000, 30012)))
    aim = quiet.aim(0.25, 16)
    assert aim is not None
    assert aim.probability > 0.95
    assert 30012 <= aim.port <= 30027
    later = model.aim(1.6, 16)
    assert later is not None
    assert 0.4 < later.probability < 0.9
    assert later.port == pytest.approx(30121 + 58, abs=8)
    assert fit(samples(1, 2000, 60000, 33)).aim(0.0, 16) is None


def test_block() -> None:
    """Ports of one block: the range, and no port that is taken already."""
    random = Random(1)
    ports = random.sample(range(20480, 21504), 8)
    model = fit(samples(*ports))
    assert model.kind is Allocation.BLOCK
    assert model.range == (20480, 21503)
    assert model.size == 1024
    predictions = model.predict(1.0, count=1024)
    assert not {each.port for each in predictions} & set(ports)
    assert sum(each.probability for each in predictions) == pytest.approx(
        model.confidence
    )


def test_unalignedBlock() -> None:
    """A block may begin anywhere: the range reaches beyond what was seen."""
    model = fit(samples(*(Random(2).sample(range(20000, 21000), 10))))
    assert model.kind is Allocation.BLOCK
    low, high = model.range
    assert 18500 <= low <= 20100
    assert 20900 <= high <= 22600


def test_linuxRange() -> None:
    """Ports between 32768 and 60999 only."""
    model = fit(samples(*(Random(3).sample(range(32768, 61000), 12))))
    assert model.range == (32768, 60999)


def test_everySecondPort() -> None:
    """Even ports for odd sockets too: a stride, not parity."""
    model = fit(samples(*(Random(4).sample(range(1024, 65536, 2), 12)), start=40001))
    assert model.stride == 2
    assert model.size == 32256


def test_parity() -> None:
    """Odd for odd, even for even: half of the ports for a known socket."""
    random = Random(5)
    ports = [random.randrange(1024, 65534, 2) + (n // 2) % 2 for n in range(12)]
    model = fit(samples(*ports))
    assert model.kind is Allocation.PARITY
    assert {p.port % 2 for p in model.predict(1.0, localPort=4001)} == {1}
    assert model.size == 32256


def test_twoHosts() -> None:
    """Each host has a sequence of its own."""
    seen = [
        Sample(n * 0.02, 40000 + n // 2, (A, B)[n % 2], host, port)
        for n, (host, port) in enumerate(
            [
                (HOST, 100 + 1000),
                ("198.51.100.60", 50000),
                (HOST, 1101),
                (HOST, 1102),
                ("198.51.100.60", 50001),
                ("198.51.100.60", 50002),
            ]
        )
    ]
    model = fit(seen)
    assert model.kind is Allocation.SEQUENTIAL
    two = {each[:2] for each in model.predict(0.2, count=2)}
    assert two == {(HOST, 1103), ("198.51.100.60", 50003)}


def test_driftDistribution() -> None:
    """The expected counts are a distribution, and follow what was seen."""
    _, drift = learn([(3, 0.1), (4, 0.1), (3, 0.1)])
    total = sum(drift.probability(k, 1.0) for k in range(400))
    assert total == pytest.approx(1.0, abs=1e-6)
    mean = sum(k * drift.probability(k, 1.0) for k in range(400))
    assert mean == pytest.approx(drift.rate, rel=0.01)
    assert drift.probability(0, 0.0) == 1.0
    _, quiet = learn([(0, 0.1)] * 8)
    assert quiet.quiet > 0.9


MODELS = [
    samples(5001, 5001, 6002, 6002),
    drifting(),
    samples(*(Random(1).sample(range(20480, 21504), 8))),
    samples(*(Random(6).sample(range(1024, 65536), 8))),
]


@pytest.mark.parametrize("seen", MODELS)
def test_exchange(seen: list[Sample]) -> None:
    """What a peer reads predicts the same, by its own clock."""
    model = fit(seen)
    carried = json.loads(json.dumps(model.toDict(now=2.0)))
    there = PortModel.fromDict(carried, now=1002.0)
    assert there.kind is model.kind
    assert there.range == model.range
    ours = model.predict(2.5, count=5)
    theirs = there.predict(1002.5, count=5)
    if model.kind in (Allocation.SEQUENTIAL, Allocation.ENDPOINT_INDEPENDENT):
        assert [each[:2] for each in theirs] == [each[:2] for each in ours]
    assert there.describe() == model.describe()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=5),
    max_leaves=8,
)


@given(st.data())
def test_hostileModels(data: st.DataObject) -> None:
    """Whatever a peer sends is a model within bounds, or a ValueError."""
    value: dict[str, Any] = fit(data.draw(st.sampled_from(MODELS))).toDict(2.0)
    for key in data.draw(st.lists(st.sampled_from(sorted(value)), max_size=3)):
        value[key] = data.draw(JSON)
    try:
        model = PortModel.fromDict(value, now=100.0)
    except ValueError:
        return
    found = model.predict(101.0, count=64)
    assert len(found) <= 64
    assert all(1 <= each.port <= 65535 for each in found)
    assert sum(each.probability for each in found) <= 1.01
    assert 1 <= model.range[0] <= 65535
    model.aim(101.0, 16)
    assert Drift().probability(0, 0.0) == 1.0


@pytest.mark.parametrize("value", [None, [], 3, "x", {}, {"kind": "random"}])
def test_notAModel(value: object) -> None:
    """Other things are refused."""
    with pytest.raises(ValueError):
        PortModel.fromDict(value, now=0.0)
