"""
A port predictor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, log
from typing import Any

from zope.interface import implementer

from punchd.interfaces import IPortPredictor


@implementer(IPortPredictor)
class Repeating:
    """
    Each flow gets a port as far from the last one as that was from the one before.
    """

    name = "repeating"

    def evidence(self, observations: Sequence[Any]) -> float:
        """
        @see: L{IPortPredictor.evidence}.
        """
        steps = _steps(observations)
        # Half of all NATs may be such, and such ones have 64 steps that are likely.
        return log(0.5 / 64) if len(steps) == 1 and 0 not in steps else -inf

    def predict(
        self, observations: Sequence[Any], now: float, count: int
    ) -> list[tuple[str, int, float]]:
        """
        @see: L{IPortPredictor.predict}.
        """
        steps = _steps(observations)
        if not steps:
            return []
        last, step = observations[-1], min(steps, key=abs)
        ports = [last.mappedPort + step * (1 + ahead) for ahead in range(count)]
        # Each foreign flow that came meanwhile is half as likely as one less.
        return [
            (last.mappedHost, port, 0.5 ** (1 + foreign))
            for foreign, port in enumerate(ports)
            if 1024 <= port < 65536
        ]


def _steps(observations: Sequence[Any]) -> set[int]:
    ports = [each.mappedPort for each in observations]
    return {after - before for before, after in pairwise(ports)}
