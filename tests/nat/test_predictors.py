"""
The predictors as plugins.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log
from typing import Any

import pytest
from zope.interface import implementer
from zope.interface.verify import verifyObject

from punchd._plugins import pluginsByName
from punchd.interfaces import IPortPredictor
from punchd.nat.predictors import predict
from punchd.nat.sample import Sample

from .field import Field

BUILT_IN = {"preserving", "sequential", "parity", "block", "random"}


def test_builtIn() -> None:
    """The built-in predictors are found, and are what they say."""
    found = pluginsByName(IPortPredictor)
    assert set(found) >= BUILT_IN
    assert all(verifyObject(IPortPredictor, each) for each in found.values())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("sequential", "sequential"),
        ("block1024", "block"),
        ("parity", "parity"),
        ("symmetric", "random"),
    ],
)
def test_theBestIsAsked(kind: str, name: str) -> None:
    """The one whose way explains the samples best predicts."""
    field = Field(kind, 2)
    samples = field.sample(6)
    plugins = pluginsByName(IPortPredictor).values()
    now = field.clock.seconds()
    chosen, predictions = predict(plugins, samples, now, 16)
    assert chosen == name
    assert len(predictions) == 16
    assert sum(p for _, _, p in predictions) <= 1.0001
    if name == "sequential":
        assert field.nextMapped() == predictions[0][:2]


@implementer(IPortPredictor)
class Squares:
    """
    A stranger's plugin, for NATs that give out square numbers.
    """

    name = "squares"

    def evidence(self, observations: Sequence[Sample]) -> float:
        ports = [each.mappedPort for each in observations]
        if any(round(port**0.5) ** 2 != port for port in ports):
            return -inf
        return log(0.001) - len(ports) * log(224)

    def predict(
        self, observations: Sequence[Sample], now: float, count: int
    ) -> list[tuple[str, int, float]]:
        host = observations[-1].mappedHost
        return [(host, n * n, 1 / 224) for n in range(32, 256)][:count]


def test_strangersPlugin() -> None:
    """A better explanation wins, wherever it comes from."""
    assert verifyObject(IPortPredictor, Squares())
    ports = [4900, 249**2, 10000, 200**2]
    samples = [
        Sample(n * 0.02, 5000 + n, ("203.0.113.10", 1), "198.51.100.10", port)
        for n, port in enumerate(ports * 2)
    ]
    plugins: list[Any] = [*pluginsByName(IPortPredictor).values(), Squares()]
    assert predict(plugins, samples, 1.0)[0] == "squares"


def test_nothingSeen() -> None:
    """Of nothing nothing is predicted."""
    assert predict(pluginsByName(IPortPredictor).values(), [], 0.0) == (None, [])
