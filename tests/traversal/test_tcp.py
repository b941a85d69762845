"""
Tests for L{punchd.traversal.tcp}: two halves, and the messages between them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.core import Address
from punchd.ice.candidate import CandidateType, tcpCandidate
from punchd.nat.model import PortModel
from punchd.traversal.events import StreamFailed, StreamLocated, StreamMade
from punchd.traversal.tcp import ROUNDS, TCPAttempt
from punchd.traversal.tcpport import MOST, OwnPort, TCPMapping, admitted
from punchd.traversal.verdict import Reason

#: Seconds that a message to the other half takes.
DELAY = 0.05
#: Seconds until servers have answered.
ASKED = 0.03

Seen = tuple[Address | None, ...]


@dataclass
class Side:
    """
    One half, and its field.

    @ivar seen: for each round, where two servers see its port.
    """

    world: World
    leader: bool
    host: str
    seen: list[Seen]
    ports: int = 4000
    delay: float = ASKED
    able: bool = True
    connects: list[tuple[float, Address, Address]] = field(default_factory=list)
    ends: list[tuple[Reason, dict[str, Any]]] = field(default_factory=list)
    closed: list[Address] = field(default_factory=list)

    ours = theirs = PortModel()
    rtt = 2 * DELAY
    hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.attempt = TCPAttempt(self)  # type: ignore[arg-type]

    def openStream(self, family: int) -> Address | None:
        if family == 6 or not self.able:
            return None
        self.ports += 1
        return (self.host, self.ports)

    def locate(self, base: Address, now: float) -> int:
        answers = self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]
        for answer in answers:
            event = StreamLocated(base, answer)
            self.world.at(now + self.delay, self.attempt.streamHappened, event)
        return len(answers)

    def connect(self, base: Address, remote: Address, now: float) -> bool:
        self.connects.append((now, base, remote))
        return True

    def close(self, base: Address) -> None:
        self.closed.append(base)

    def tell(self, body: dict[str, Any]) -> None:
        other = self.world.b if self is self.world.a else self.world.a
        self.world.at(self.world.now + DELAY, other.attempt.told, body)

    def end(self, reason: Reason, now: float, **evidence: object) -> None:
        self.ends.append((reason, {**self.attempt.evidence(), **evidence}))


class World:
    """
    Both halves, in virtual time.
    """

    def __init__(self, seenA: list[Seen], seenB: list[Seen], **b: Any) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Any, Any]] = []
        self._number = 0
        self.a = Side(self, True, "192.168.1.2", seenA)
        self.b = Side(self, False, "192.168.2.2", seenB, **b)
        self.a.attempt.start(0.0)
        self.at(DELAY, lambda _, now: self.b.attempt.start(now), None)

    def at(self, when: float, function: Any, argument: Any) -> None:
        self._number += 1
        heapq.heappush(self._due, (when, self._number, function, argument))

    def _deadlines(self) -> Iterator[tuple[float, Side]]:
        for side in (self.a, self.b):
            due = None if side.ends else side.attempt.deadline()
            if due is not None:
                yield due, side

    def run(self, until: float) -> None:
        """
        Let time pass.
        """
        while True:
            due, side = min(
                self._deadlines(), key=lambda each: each[0], default=(until, None)
            )
            if self._due and self._due[0][0] <= due:
                if self._due[0][0] > until:
                    break
                when, _, function, argument = heapq.heappop(self._due)
                self.now = max(self.now, when)
                function(argument, self.now)
            elif side is None or due > until:
                break
            else:
                self.now = max(self.now, due)
                side.attempt.timeReached(self.now)
        self.now = until


A, B = ("198.51.100.10", 4001), ("192.0.2.10", 4001)


def test_together() -> None:
    """
    Both connect at the same moment to where the servers see the other, and not to
    private addresses.
    """
    world = World([(A, A)], [(B, B)])
    world.run(1.0)
    assert [each[1:] for each in world.a.connects] == [(("192.168.1.2", 4001), B)]
    assert [each[1:] for each in world.b.connects] == [(("192.168.2.2", 4001), A)]
    assert world.a.connects[0][0] == pytest.approx(world.b.connects[0][0])


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.7])
def test_together_slowly(delay: float) -> None:
    """
    However long the servers take with one of them, the SYNs leave no further apart
    than a message takes, so that they meet.
    """
    world = World([(A, A)], [(B, B)], delay=delay)
    world.run(3.0)
    apart = world.a.connects[0][0] - world.b.connects[0][0]
    assert abs(apart) < DELAY


def test_deaf() -> None:
    """
    Without answers of the servers each tells what it has, and three rounds with
    fresh ports are made, no more.
    """
    world = World([(A, None)], [(None, None)])
    # One that never comes.
    world.b.locate = lambda base, now: 2  # type: ignore[method-assign]
    world.run(30.0)
    for side in (world.a, world.b):
        reason, evidence = side.ends[0]
        assert reason is Reason.NOT_CONNECTED
        assert evidence["rounds"] == ROUNDS
        assert len(side.ends) == 1
    assert world.a.ports == 4000 + ROUNDS
    assert len(world.a.closed) == ROUNDS - 1
    # Nobody knows where B is; A is where the server sees it, or keeps the port.
    assert world.a.connects == []
    assert {remote for _, _, remote in world.b.connects} == {
        A,
        *((A[0], 4000 + number) for number in range(1, ROUNDS + 1)),
    }


def test_nowhere() -> None:
    """
    Where neither side knows a public address, nothing is tried.
    """
    world = World([(None, None)], [(None, None)])
    world.run(5.0)
    for side in (world.a, world.b):
        reason, evidence = side.ends[0]
        assert reason is Reason.NO_CANDIDATES
        assert (evidence["rounds"], evidence["attempts"]) == (1, {})


def test_sequential() -> None:
    """
    Ports in a row are met at the next ones, in the same order on both sides.
    """
    seen = [(("198.51.100.10", 30002), ("198.51.100.10", 30000))]
    world = World(list(seen), [(B, B)])
    world.run(1.0)
    ports = [remote[1] for _, _, remote in world.b.connects]
    assert ports == [30004, 30006, 30008, 30010, 30012, 30014]
    assert [remote for _, _, remote in world.a.connects] == [B]


RANDOM = [(("198.51.100.10", 50000), ("198.51.100.10", 2000))]


@pytest.mark.parametrize(
    ("other", "hopeless"),
    [
        ((("192.0.2.10", 1025), ("192.0.2.10", 60000)), True),
        ((("192.0.2.10", 1025), ("192.0.2.10", 1026)), True),
        ((B, B), False),
    ],
)
def test_random(other: Seen, hopeless: bool) -> None:
    """
    Two NATs whose ports for TCP cannot be told are left in peace, with the reason;
    one of them gets its chance.
    """
    world = World(list(RANDOM), [other])
    world.run(30.0)
    expected = Reason.OUT_OF_REACH if hopeless else Reason.NOT_CONNECTED
    for side in (world.a, world.b):
        reason, evidence = side.ends[0]
        assert reason is expected
        assert evidence["attempts"] == ({} if hopeless else {"syns": ROUNDS})
    assert world.a.ends[0][1]["ourTcpMapping"] == {"4": "random"}
    assert world.b.ends[0][1]["theirTcpMapping"] == {"4": "random"}
    assert bool(world.b.connects) is not hopeless


def test_unable() -> None:
    """
    A machine that cannot do it says so, and both end.
    """
    world = World([(A, A)], [(B, B)], able=False)
    world.run(5.0)
    assert world.a.ends[0][0] is Reason.NOT_POSSIBLE
    assert world.a.ends[0][1]["side"] == "peer"
    assert world.b.ends[0][0] is Reason.NOT_POSSIBLE


def test_refused() -> None:
    """
    A refused SYN is sent again, after half a round trip; the rest is counted.
    """
    world = World([(A, A)], [(B, B)])
    world.run(0.5)
    _, base, remote = world.a.connects[0]
    world.a.attempt.streamHappened(StreamFailed(base, remote, "refused"), world.now)
    world.run(1.0)
    ((when, *where),) = world.a.connects[1:]
    assert when == pytest.approx(0.5 + DELAY)
    assert where == [base, remote]
    world.a.attempt.streamHappened(StreamFailed(base, remote, "timeout"), world.now)
    world.a.attempt.streamHappened(StreamMade(base, remote), world.now)
    world.run(1.5)
    assert len(world.a.connects) == 2
    counts: Any = world.a.attempt.evidence()["attempts"]
    assert counts == {"connected": 1, "refused": 1, "syns": 2, "timeout": 1}


def test_sameNat() -> None:
    """
    Behind one and the same NAT the private addresses are tried, too.
    """
    world = World([(A, A)], [((A[0], 4009), (A[0], 4009))])
    world.run(1.0)
    assert {remote for _, _, remote in world.a.connects} == {
        (A[0], 4009),
        ("192.168.2.2", 4001),
    }


@pytest.mark.parametrize(
    ("base", "answers", "mapping"),
    [
        (("192.168.1.2", 4001), [A, A], TCPMapping.INDEPENDENT),
        (("192.168.1.2", 4001), [A, None], TCPMapping.UNKNOWN),
        (("192.168.1.2", 4001), [A, ("198.51.100.11", 4002)], TCPMapping.RANDOM),
        (A, [A, A], TCPMapping.OPEN),
        (("2a00:1450::1", 4001), [], TCPMapping.OPEN),
        (("192.168.1.2", 4001), [None], TCPMapping.UNKNOWN),
    ],
)
def test_mapping(base: Address, answers: Any, mapping: TCPMapping) -> None:
    """
    What the servers see tells how the NAT chooses ports.
    """
    port = OwnPort(base, len(answers), answers)
    assert port.mapping() is mapping
    assert port.candidates()[-1].address == base


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
)
_KEYS = ("round", "candidates", "mapping", "end", "unable")


@given(st.lists(st.dictionaries(st.sampled_from(_KEYS), _JSON), max_size=5))
def test_garbage(bodies: list[dict[str, Any]]) -> None:
    """
    Nothing that the peer says makes it fail, or connect to where it should not.
    """
    world = World([(A, A)], [(B, B)])
    for body in bodies:
        world.a.attempt.told(body, 0.0)
        if world.a.ends:
            return
    world.run(0.6)
    assert {remote for _, _, remote in world.a.connects} <= {B}


def test_admitted() -> None:
    """
    Only candidates of TCP that may be paired are taken, and so many.
    """
    good = tcpCandidate(B, B, CandidateType.SRFLX).toDict()
    bad = [
        {**good, "address": "127.0.0.1"},
        {**good, "transport": "udp"},
        {**good, "tcptype": "up"},
        {**good, "port": 0},
        {**good, "address": "localhost"},
        "x",
    ]
    assert [each.address for each in admitted([*bad, good])] == [B]
    assert len(admitted([good] * 100)) == MOST
