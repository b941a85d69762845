"""
How streams end when both ends do what they like and the network what it likes.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone

from tests.drawn import examples

from .pair import HalfCloser, Pair, Recorder

ACTIONS = ("write", "end", "close", "abort", "pause", "resume")

#: What megabytes may take through a network that loses a third, in seconds.
LONG = 3600.0

#: Who does what, with how many bytes, and how many milliseconds pass.
STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(ACTIONS),
        st.sampled_from((1, 3000, 1_500_000)),
        st.integers(0, 60),
    ),
    max_size=8,
)

Steps = list[tuple[bool, str, int, int]]


class Actor:
    """
    One end of a stream.
    """

    def __init__(self, half: bool) -> None:
        self.protocol = HalfCloser() if half else Recorder()
        self.did: list[str] = []
        self.sent = bytearray()

    @property
    def heard(self) -> bool:
        """
        Whether it was told that the other one has ended.
        """
        protocol = self.protocol
        halves = protocol.halves if isinstance(protocol, HalfCloser) else []
        return protocol.reason is not None or "read" in halves

    def isHeard(self, other: Actor) -> bool:
        """
        Whether all that it has sent must get to the other one.
        """
        if not self.did or "abort" in self.did + other.did:
            return False
        # Who closes while the other one writes may take back what is under way.
        return not ("close" in other.did or ("close" in self.did and other.sent))

    def act(self, action: str, size: int) -> None:
        """
        Do something, if there is still something to do it with.
        """
        stream = self.protocol.transport
        if stream is None or stream.disconnected:
            return
        if action == "write":
            if not (self.did or stream.disconnecting):
                data = bytes([len(self.sent) % 251]) * size
                self.sent += data
                stream.write(data)
        elif action == "pause":
            stream.pauseProducing()
        elif action == "resume":
            stream.resumeProducing()
        elif action not in self.did and (action != "end" or not self.did):
            self.did.append(action)
            {
                "end": stream.loseWriteConnection,
                "close": stream.loseConnection,
                "abort": stream.abortConnection,
            }[action]()


@pytest.mark.hypothesis
@pytest.mark.parametrize("backend", ["qh3", "aioquic"])
def test_lossyEnds(backend: str) -> None:
    """
    Though packets are lost and overtake each other, an abort ends both ends, a close
    of both leaves nothing, and nothing but what was sent arrives.
    """

    @settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
    @given(
        st.tuples(st.booleans(), st.booleans()),
        st.sampled_from((0.0, 0.1, 0.3)),
        st.integers(0, 1 << 30),
        STEPS,
    )
    @example((True, True), 0.0, 1, [(True, "end", 1, 60), (True, "abort", 1, 60)])
    @example((True, True), 0.1, 1, [(True, "end", 1, 60), (False, "abort", 1, 60)])
    def check(halves: tuple[bool, bool], loss: float, seed: int, steps: Steps) -> None:
        ends = a, b = Actor(halves[0]), Actor(halves[1])
        pair = Pair(backend, seed=seed).connect()
        pair.configure(loss=loss, reordering=loss, duplication=loss)
        pair.b.streams.onIncoming = lambda service, s: s.accept(b.protocol)
        pair.a.streams.openStream("echo", a.protocol)
        for first, action, size, milliseconds in steps:
            ends[not first].act(action, size)
            pair.run(milliseconds / 1000)

        def empty() -> bool:
            return not (pair.a.streams.count or pair.b.streams.count)

        for end in ends:
            end.act("resume", 0)
        if any("abort" in end.did for end in ends):
            pair.until(empty, LONG)
        for one, other in (ends, ends[::-1]):
            if one.isHeard(other):
                pair.until(lambda end=other: end.heard, LONG)  # type: ignore[misc]
                assert other.protocol.data == one.sent

        def over() -> bool:
            for end in ends:
                end.act("close", 0)
            return empty()

        pair.until(over, LONG)
        pair.run(0.1)
        for one, other in (ends, ends[::-1]):
            assert one.sent.startswith(other.protocol.data)
            if one.protocol.transport is not None:
                assert one.protocol.reason is not None
            if "abort" in one.did and halves == (True, True) and not other.did:
                assert not isinstance(other.protocol.reason, ConnectionDone)

    check()
