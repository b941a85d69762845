"""
IPortPredictor: NATs that get each port from the last one, by a rule that is known.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import inf, log
from typing import Any

from zope.interface import implementer

from punchd.interfaces import IPortPredictor

LOW, COUNT = 1024, 1 << 15
#: Flows that may come between two of ours.
FOREIGN = 16


def after(port: int) -> int:
    """
    @return: the port that follows.
    """
    return LOW + ((port - LOW) * 4165 + 12345) % COUNT


@implementer(IPortPredictor)
class Leaping:
    """
    Each port is 4165 times the last one, and a constant.
    """

    name = "leaping"

    def evidence(self, observations: Sequence[Any]) -> float:
        """
        @see: L{IPortPredictor.evidence}.
        """
        if any(not LOW <= each.mappedPort < LOW + COUNT for each in observations):
            return -inf
        # One in a hundred NATs is such, and the first port can be any.
        found = log(0.01) - log(COUNT)
        for one, two in pairwise(observations):
            port = one.mappedPort
            for _ in range(FOREIGN):
                port = after(port)
                found -= log(2)
                if port == two.mappedPort:
                    break
            else:
                return -inf
        return found

    def predict(
        self, observations: Sequence[Any], now: float, count: int
    ) -> list[tuple[str, int, float]]:
        """
        @see: L{IPortPredictor.predict}.
        """
        last = observations[-1]
        port, found = last.mappedPort, []
        for foreign in range(count):
            port = after(port)
            found.append((last.mappedHost, port, 0.5 ** (1 + foreign)))
        return found


leaping = Leaping()
