"""
Outages at random: of direct paths, of everything, and of the rendezvous.
"""

from __future__ import annotations

import random

import pytest

from punchd.testing.pair import Collector

from .talk import product, talk

KINDS = ("fullcone", "restricted", "portrestricted", "cgnat", "symmetric", "ipv6")
NOBODY = "198.18.0.1"


@pytest.mark.parametrize("seed", range(12))
def test_outages(seed: int) -> None:
    """
    Whatever went away for a while, in whatever order: the streams go on within
    seconds once it is back, without a byte lost.
    """
    chance = random.Random(seed)
    kinds = chance.choice(KINDS), chance.choice(KINDS)
    loss = chance.choice([0.0, 0.0, 0.05, 0.1])
    with product(*kinds, seed=seed, loss=loss) as pair:
        words = talk(pair, pace=0.2)
        pair.network.advance(3 * chance.random())
        sides = [pair.scenario.sideA, pair.scenario.sideB]
        for _ in range(8):
            side = chance.choice(sides)
            what = chance.choice(["direct", "all", "rendezvous", "end", "end"])
            if what == "direct":
                side.dropDirect()
            elif what == "all":
                side.dropDirect(NOBODY)
            elif what == "rendezvous":
                pair.network.kill(pair.scenario.rendezvous)
                pair.network.advance(8 * chance.random())
                pair.rendezvous = pair.startRendezvous()
            else:
                side.restore()
            pause = chance.choice([0.1, 0.5, 2.0, 5.0, 12.0])
            pair.network.advance(pause * (0.5 + chance.random()))
        for side in sides:
            side.restore()
        words.silence()
        pair.network.advance(40.0)
        assert words.silence() < 10.0
        words.finish(60.0)
        # Which one is a side's own choice: it remembers what went wrong.
        assert None not in pair.kinds()


@pytest.mark.parametrize("seconds", [5.0, 8.5])
def test_dialMeanwhile(seconds: float) -> None:
    """
    A dial to a peer whose line is down comes through a second after the line is back:
    TCP asks again every second, and not after as long as it was down.
    """
    with product("portrestricted", "portrestricted") as pair:
        pair.scenario.sideB.dropDirect(NOBODY)
        collector = Collector()
        opened = pair.a.open(pair.identityB.peerId, "echo")
        pair.network.advance(seconds)
        pair.scenario.sideB.restore()
        stream = pair.network.runUntil(opened, 1.5)
        stream.attach(collector)
        stream.write(b"x")
        pair.network.advance(1.5)
        assert collector.received == b"x"
