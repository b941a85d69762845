"""
Candidates of TCP (RFC 6544), and the pairs that they make once there is a
connection.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.core import Address
from punchd.ice.agent import Agent
from punchd.ice.candidate import (
    Candidate,
    CandidateType,
    checkPriority,
    hostCandidate,
    reflexiveCandidate,
    tcpCandidate,
)
from punchd.ice.credentials import Credentials
from punchd.ice.events import PairLost, PairSucceeded

BASE: Address = ("192.0.2.1", 5000)
SEEN: Address = ("203.0.113.1", 6000)
TYPES = ("so", "active", "passive")


def test_roundTrip() -> None:
    """
    What signaling carries of a candidate has its direction (RFC 6544, 4.5).
    """
    candidate = tcpCandidate(SEEN, BASE, CandidateType.SRFLX)
    told = candidate.toDict()
    assert (told["transport"], told["tcptype"]) == ("tcp", "so")
    back = Candidate.fromDict(told)
    assert back.toDict() == told
    assert (back.transport, back.tcpType) == ("tcp", "so")
    assert "tcptype" not in hostCandidate(BASE).toDict()


@pytest.mark.parametrize("tcpType", [None, "", "both", [], 1])
def test_oddDirections(tcpType: Any) -> None:
    """
    One of TCP needs a direction that is known; one of UDP has none.
    """
    told = tcpCandidate(SEEN, BASE, CandidateType.SRFLX).toDict()
    with pytest.raises(ValueError):
        Candidate.fromDict({**told, "tcptype": tcpType})
    udp = Candidate.fromDict({**told, "transport": "udp", "tcptype": tcpType})
    assert udp.tcpType is None


@pytest.mark.parametrize("kind", [CandidateType.HOST, CandidateType.SRFLX])
def test_priorities(kind: CandidateType) -> None:
    """
    TCP is behind all of UDP and before relays; behind a NAT, C{so} is worth most,
    and elsewhere least (RFC 6544, 4.2).
    """
    found = [tcpCandidate(SEEN, BASE, kind, each).priority for each in TYPES]
    udp = reflexiveCandidate(SEEN, BASE)
    assert udp.priority > max(found) > min(found) > 1 << 24
    assert found.index(max(found)) == (1 if kind is CandidateType.HOST else 0)
    assert found.index(min(found)) == (0 if kind is CandidateType.HOST else 2)
    over = checkPriority(tcpCandidate(BASE, BASE, kind))
    assert 0 < over >> 24 < checkPriority(udp) >> 24


def test_foundation() -> None:
    """
    It is another one than that of UDP from the same base.
    """
    candidate = tcpCandidate(SEEN, BASE, CandidateType.SRFLX)
    assert candidate.foundation != reflexiveCandidate(SEEN, BASE).foundation


def _agents() -> tuple[Agent, Agent]:
    """
    Two agents that know each other's credentials and no address.
    """
    keys = [Credentials("a" * 8, "a" * 24), Credentials("b" * 8, "b" * 24)]
    found = []
    for number, (own, other) in enumerate((keys, keys[::-1])):
        agent = Agent(
            controlling=not number,
            credentials=own,
            tieBreaker=number,
            entropy=lambda count: bytes(count),
        )
        agent.setRemoteCredentials(other, 0.0)
        agent.takeDatagrams()
        found.append(agent)
    return found[0], found[1]


def test_connection() -> None:
    """
    A check over a connection makes a pair of its two ends, at both of them; with
    the connection the pair is lost.
    """
    a, b = _agents()
    ends = (BASE, SEEN)
    locals_ = [tcpCandidate(each, each, CandidateType.SRFLX) for each in ends]
    a.shoot(locals_[0], SEEN, None, 0.0)
    b.shoot(locals_[1], BASE, None, 0.0)
    events: list[list[object]] = [[], []]
    for step in range(1, 8):
        now = 0.05 * step
        for number, (sender, receiver) in enumerate(((a, b), (b, a))):
            for each in sender.takeDatagrams():
                assert each.remote == ends[1 - number]
                receiver.datagramReceived(each.data, each.remote, ends[number], now)
            events[number] += sender.takeEvents()
    for number, agent in enumerate((a, b)):
        pair = agent.pairOf(ends[number], ends[1 - number])
        assert pair is not None
        assert pair.valid
        assert (pair.transport, pair.strategy, pair.kind) == ("tcp", "tcp", "direct")
        assert pair.remote.transport == "tcp"
        assert any(isinstance(each, PairSucceeded) for each in events[number])
        agent.removeLocalCandidate(locals_[number], 1.0)
        assert any(isinstance(each, PairLost) for each in agent.takeEvents())
        assert agent.pairs == []


def test_notSignalled() -> None:
    """
    The ordinary exchange of candidates knows UDP only: what is not punched for is
    not checked.
    """
    agent, _ = _agents()
    assert not agent.addRemoteCandidate(
        tcpCandidate(SEEN, SEEN, CandidateType.SRFLX), 0.0
    )
    assert agent.garbage == {"remote candidate of another kind": 1}
