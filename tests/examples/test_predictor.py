"""
A port predictor of somebody else's makes pairs direct that were not.
"""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from punchd.interfaces import IPortPredictor
from punchd.testing.pair import Pair
from punchd.testing.scenario import Scenario
from punchd.traversal.builtin import Prediction

from .shown import shown

example = shown("predictor")


class LeapingPorts:
    """
    A NAT that chooses ports by the rule of the example.
    """

    def __init__(self) -> None:
        self.last = 5000

    def choose(self, inside: Any, isFree: Any, now: float, random: Any) -> int:
        """
        @return: the port that follows.
        """
        self.last = example.after(self.last)
        return self.last

    def copy(self) -> LeapingPorts:
        """
        @return: the same for another address.
        """
        return LeapingPorts()


class Broken:
    """
    A predictor that is sure of itself and wrong.
    """

    name = "broken"

    def evidence(self, observations: Any) -> float:
        """
        @return: certainty.
        """
        return 0.0

    def predict(self, observations: Any, now: float, count: int) -> Any:
        """
        Be wrong.
        """
        raise RuntimeError("a mistake")


def pathOf(predictors: list[Any]) -> tuple[str, str]:
    """
    @return: the kind of the path of a pair that needs prediction, and by what.
    """
    scenario = Scenario(
        "symmetric", "portrestricted", 3, optionsA={"allocation": LeapingPorts()}
    )
    pair = Pair(scenario, strategies=(Prediction(),), predictors=predictors)
    pair.ready()
    pair.open()
    pair.network.advance(6.0)
    (session,) = pair.a.status()["sessions"]
    pair.stop()
    return str(session["path"]["kind"]), str(session["path"]["strategy"])


def testPredictor() -> None:
    """What nobody else can predict, the plugin does."""
    assert verifyObject(IPortPredictor, example.leaping)
    assert pathOf([])[0] == "relayed"
    assert pathOf([example.leaping]) == ("direct", "predicted")


@pytest.mark.parametrize("predictor", [Broken()])
def testMistake(predictor: Any) -> None:
    """The mistake of a plugin costs its prediction and nothing else."""
    assert pathOf([predictor])[0] == "relayed"
