"""
How connections end, in whatever order both ends do what ends them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone

from tests.drawn import examples

from .chain import KINDS, Actor, Chain, HalfActor

ACTIONS = ("write", "write", "pause", "resume", "end", "close", "abort", "die")

#: Bytes in one write: less than a packet, and more than all windows and buffers of
#: the chain together take at once.
SIZES = (1, 1000, 300_000, 2_000_000)

#: Who does what, how much of it, and how many turns of the reactor follow.
STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(ACTIONS),
        st.sampled_from(SIZES),
        st.integers(0, 60),
    ),
    max_size=8,
)

Steps = list[tuple[bool, str, int, int]]

#: What hangs takes too long to be tried again and again in search of less.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

#: A chain is large, and slow.
HEALTH = list(HealthCheck)


@pytest.mark.hypothesis
@pytest.mark.parametrize("left", KINDS)
def test_allEnds(left: str, tmp_path: Path) -> None:
    """
    Whatever both ends do, and whenever, each learns that the other one has left, and
    nothing of the connection stays.
    """
    chains: list[Chain] = []
    number = count()

    @settings(
        max_examples=examples(100),
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(KINDS),
        st.tuples(st.booleans(), st.booleans()),
        st.integers(0, 1 << 30),
        STEPS,
    )
    def check(right: str, halves: tuple[bool, bool], seed: int, steps: Steps) -> None:
        if not chains:
            chains.append(Chain(tmp_path / str(next(number))))
        chain = chains[0]
        chain.reactor.random.seed(seed)
        chain.connect(left, right, halves)
        try:
            _live(chain, steps)
            _settle(chain)
        except AssertionError as e:
            # Others shall not find what this one left.
            chains.clear()
            raise AssertionError(f"{e}\n{chain.describe()}") from e

    check()
    chains[0].stop()


@pytest.mark.hypothesis
@pytest.mark.parametrize("left", KINDS)
@pytest.mark.parametrize("cut", [Chain.lose, Chain.leave])
def test_clientGoes(left: str, cut: Callable[[Chain], None], tmp_path: Path) -> None:
    """
    Whatever both ends were doing, they learn that the session is lost, or that the
    client is gone that they had between them, and nothing stays.
    """
    number = count()

    @settings(
        max_examples=examples(20),
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(KINDS), st.integers(0, 1 << 30), STEPS)
    def check(right: str, seed: int, steps: Steps) -> None:
        chain = Chain(tmp_path / str(next(number)))
        chain.reactor.random.seed(seed)
        chain.connect(left, right, (True, True))
        try:
            _live(chain, steps)
            cut(chain)
            for end in chain.ends:
                end.act("resume", 0)
            if cut is Chain.lose or left == "program":
                chain.reactor.until(
                    lambda: all(
                        end.knows if end.kind == "tcp" else end.gone
                        for end in chain.ends
                    )
                )
            chain.reactor.until(lambda: chain.over)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{chain.describe()}") from e
        chain.stop()

    check()


@pytest.mark.parametrize("left", ["stream", "program"])
@pytest.mark.parametrize("right", ["stream", "program"])
def test_writesToClosed(left: str, right: str, tmp_path: Path) -> None:
    """
    Who writes once to one that has closed learns soon that nobody reads, and need not
    write again.
    """
    chain = Chain(tmp_path)
    chain.connect(left, right, (True, True))
    _live(chain, [(True, "write", 1, 0)])
    chain.reactor.until(lambda: chain.right is not None and chain.right.data)
    one, other = chain.ends
    one.act("close", 0)
    chain.reactor.until(lambda: other.ended)
    other.act("write", 1)
    chain.reactor.until(lambda: other.gone)
    assert bytes(one.data) == b""
    chain.reactor.until(lambda: chain.over)
    chain.stop()


def _live(chain: Chain, steps: Steps) -> None:
    for first, action, size, turns in steps:
        actor = chain.left if first else chain.right
        if actor in chain.ends:
            actor.act(action, size)
        for _ in range(turns):
            chain.reactor.soon()


def _settle(chain: Chain) -> None:
    """
    Both ends learn of what happened, and end what is left.
    """
    reactor = chain.reactor
    left, right = chain.left, chain.right
    assert left is not None
    for end in chain.ends:
        end.act("resume", 0)
    if left.left or left.gone:
        reactor.until(lambda: chain.right is None or chain.right.knows)
    if right is not None:
        if right.left or right.gone:
            reactor.until(lambda: left.knows)
        _hear(chain, left, right)
        _hear(chain, right, left)
    reactor.until(lambda: chain.over)
    if right is not None:
        assert left.sent.startswith(right.data)
        assert right.sent.startswith(left.data)


def _hear(chain: Chain, one: Actor, other: Actor) -> None:
    """
    The other end learns of all that one of them did.
    """
    if _arrives(one, other):
        chain.reactor.until(lambda: other.ended or other.gone)
        assert len(other.data) == len(one.sent)
    if one.breaks:
        chain.reactor.until(lambda: chain.empty)
        # A close that came before may have ended it in good order.
        if isinstance(other, HalfActor) and not other.did and "close" not in one.did:
            assert not isinstance(other.reason, ConnectionDone)
    elif one.left and not other.did:
        # Who goes on writing is told that nobody reads.
        chain.reactor.until(other.insist)


def _arrives(one: Actor, other: Actor) -> bool:
    """
    @return: whether all that one has written must get to the other.
    """
    if not one.did or {"abort", "die"} & {*one.did, *other.did}:
        return False
    # Who closes while the other one writes may take back what is under way.
    return not ("close" in other.did or ("close" in one.did and other.sent))
