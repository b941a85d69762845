"""
The arithmetic of sprays, against published numbers and counting by hand.
"""

from __future__ import annotations

from itertools import combinations

import pytest

from punchd.nat.birthday import (
    BURST,
    MAX_PROBES,
    MAX_SOCKETS,
    PORTS,
    RATE,
    afterRounds,
    bothUnknown,
    expectedProbes,
    hitProbability,
    probesFor,
    repeatingProbability,
    sizeSpray,
)


@pytest.mark.parametrize(
    ("ports", "probes", "expected"),
    [
        (65536, 174, 0.494),
        (65536, 1024, 0.982),
        (65536, 2048, 0.9997),
        (64512, 256, 0.639),
        (28232, 512, 0.991),
        (16384, 256, 0.983),
    ],
)
def test_publishedTable(ports: int, probes: int, expected: float) -> None:
    """256 sockets against the published table."""
    assert hitProbability(ports, 256, probes) == pytest.approx(expected, abs=0.0006)


def test_block() -> None:
    """A block of 1,024 ports needs 32 sockets and 128 probes for 98 %."""
    # The exponential that is published for it, 98.2 %, counts repeated probes.
    assert hitProbability(1024, 32, 128) == pytest.approx(0.9868, abs=0.0005)


@pytest.mark.parametrize("sockets", range(6))
@pytest.mark.parametrize("probes", range(6))
def test_counted(sockets: int, probes: int) -> None:
    """Small cases agree with counting all ways to open sockets."""
    ways = list(combinations(range(9), sockets))
    hits = sum(any(port < probes for port in way) for way in ways)
    assert hitProbability(9, sockets, probes) == pytest.approx(hits / len(ways))


def test_largeAndSmallAgree() -> None:
    """The product and the logarithms meet where one takes over."""
    product = hitProbability(PORTS, 64, 1000)
    logarithms = hitProbability(PORTS, 65, 1000)
    assert 0 < logarithms - product < 0.02
    assert hitProbability(PORTS, 1000, 64) == pytest.approx(product, rel=1e-9)


def test_edges() -> None:
    """Nothing is met by nothing; more than all ports are all ports."""
    assert hitProbability(10, 0, 5) == hitProbability(10, 5, 0) == 0.0
    assert hitProbability(10, 6, 5) == 1.0
    assert hitProbability(10, 99, 99) == 1.0
    with pytest.raises(ValueError):
        hitProbability(-1, 1, 1)
    with pytest.raises(ValueError):
        probesFor(10, 0, 0.5)


@pytest.mark.parametrize(
    ("sockets", "probability", "expected"),
    [(64, 0.5, 699), (128, 0.9, 1160), (256, 0.98, 984), (256, 0.999, 1738)],
)
def test_probesFor(sockets: int, probability: float, expected: int) -> None:
    """
    No fewer probes do; the published numbers are a little larger, since they
    allow repeats.
    """
    probes = probesFor(PORTS, sockets, probability)
    assert 0.985 * expected <= probes <= expected
    assert repeatingProbability(PORTS, sockets, expected) == pytest.approx(
        probability, abs=0.001
    )
    assert hitProbability(PORTS, sockets, probes) >= probability
    assert hitProbability(PORTS, sockets, probes - 1) < probability


def test_expected() -> None:
    """251 different probes on average; repeats do worse."""
    assert expectedProbes(PORTS, 256) == pytest.approx(251, abs=1)
    assert repeatingProbability(PORTS, 256, 1024) < hitProbability(PORTS, 256, 1024)


def test_sprayOfEverything() -> None:
    """All ports: 98 % within the caps."""
    spray = sizeSpray(PORTS, 0.98)
    assert spray.probability >= 0.98
    assert spray.sockets <= MAX_SOCKETS
    assert spray.probes <= MAX_PROBES
    assert spray.seconds == pytest.approx((spray.probes - BURST) / RATE)


def test_sprayOfBlock() -> None:
    """A block of 1,024: 95 % with far fewer, and sparing the customer's quota."""
    spray = sizeSpray(1024, 0.95, quota=1024)
    assert spray.probability >= 0.95
    assert spray.sockets <= 128
    assert spray.sockets + spray.probes <= 256


def test_sprayOverTheCaps() -> None:
    """What the caps do not allow is as good as they allow."""
    spray = sizeSpray(PORTS, 0.99999, maxSockets=16, maxProbes=256)
    assert (spray.sockets, spray.probes) == (16, 256)
    assert spray.probability == pytest.approx(hitProbability(PORTS, 16, 256))


def test_hopeless() -> None:
    """Random against random: 1024 by 1024 is one in 4,000."""
    assert bothUnknown(65536, 1024, 1024) == pytest.approx(0.00024, abs=0.00001)
    assert afterRounds(0.5, 3) == pytest.approx(0.875)
