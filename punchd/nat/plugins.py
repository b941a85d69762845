"""
The built-in predictors of ports, as Twisted's plugin system finds them.

Every C{twistd} loads this module, so the rest is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from zope.interface import implementer

from punchd.interfaces import IPortPredictor


@implementer(IPortPredictor)
class Predictor:
    """
    I predict for NATs that choose ports in one way.
    """

    def __init__(self, name: str, kind: str, doc: str) -> None:
        """
        @param kind: the value of a member of
            L{Allocation<punchd.nat.model.Allocation>}.
        @param doc: a sentence for C{--help-plugins}.
        """
        self.__doc__ = doc
        self.name = name
        self._kind = kind

    def evidence(self, observations: Sequence[Any]) -> float:
        """
        @see: L{IPortPredictor.evidence}.
        """
        found: float = _do("evidenceFor")(self._kind, observations)
        return found

    def predict(
        self, observations: Sequence[Any], now: float, count: int
    ) -> list[tuple[str, int, float]]:
        """
        @see: L{IPortPredictor.predict}.
        """
        found: list[tuple[str, int, float]] = _do("predictAs")(
            self._kind, observations, now, count
        )
        return found


def _do(name: str) -> Any:
    return getattr(import_module("punchd.nat.predictors"), name)
