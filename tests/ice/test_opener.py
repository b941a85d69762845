"""
The hop limits of the first checks of who begins before the peer does.
"""

from __future__ import annotations

from random import Random

import pytest

from punchd.core import Address
from punchd.ice.agent import Agent
from punchd.ice.candidate import hostCandidate, reflexiveCandidate
from punchd.ice.credentials import makeCredentials
from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, request

BASE: Address = ("192.168.1.2", 5000)
HOST: Address = ("192.168.2.2", 5000)
REMOTE: Address = ("192.0.2.10", 40000)
OTHER: Address = ("192.0.2.11", 40001)


def makeAgent(rtt: float, ttl: int | None = 2) -> tuple[Agent, Agent]:
    """
    @return: an agent that has its peer's candidates, and the peer.
    """
    agents = []
    for number in range(2):
        entropy = Random(number).randbytes
        agents.append(
            Agent(
                controlling=bool(number),
                credentials=makeCredentials(entropy),
                tieBreaker=number,
                entropy=entropy,
            )
        )
    agent, peer = agents
    agent.addLocalCandidate(hostCandidate(BASE), 0.0)
    agent.setOpener(ttl)
    agent.setRtt(rtt)
    agent.addRemoteCandidate(hostCandidate(HOST), 0.0)
    for remote in (REMOTE, OTHER):
        agent.addRemoteCandidate(reflexiveCandidate(remote, HOST), 0.0)
    agent.setRemoteCredentials(peer.credentials, 0.0)
    return agent, peer


def ttls(agent: Agent, remote: Address, until: float) -> list[tuple[float, int | None]]:
    """
    @return: the times in milliseconds and hop limits of the checks to C{remote}.
    """
    found: list[tuple[float, int | None]] = []
    now = 0.0
    while True:
        for each in agent.takeDatagrams():
            if each.remote == remote:
                found.append((round(1000 * now), each.ttl))
        due = agent.deadline()
        if due is None or due > until:
            return found
        now = max(now, due)
        agent.timeReached(now)


@pytest.mark.parametrize(
    ("rtt", "expected"),
    [
        # The far NAT eats the first as a rule; the second comes when the peer has
        # begun.
        (0.05, [(0, 2), (25, None), (50, None)]),
        # However near the peer is, it needs some time.
        (0.0, [(0, 2), (20, 2), (40, None)]),
    ],
)
def test_first(rtt: float, expected: list[tuple[int, int | None]]) -> None:
    """
    Nothing of ours reaches the peer's NAT before the peer can have begun.
    """
    agent, _ = makeAgent(rtt)
    assert ttls(agent, REMOTE, 0.06) == expected


def test_notHosts() -> None:
    """
    A host candidate has no NAT before it that could be upset.
    """
    agent, _ = makeAgent(0.0)
    assert {ttl for _, ttl in ttls(agent, HOST, 0.1)} == {None}


SITE = "2001:db8:a:1::2"


@pytest.mark.parametrize(
    ("remote", "opener"),
    [("2001:db8:b:1::2", 2), ("2001:db8:a:2::2", None), ("fd00:1::2", None)],
)
def test_six(remote: str, opener: int | None) -> None:
    """
    Over IPv6, a host of another site may have a firewall that shuts out who comes
    too early.
    """
    agent, _ = makeAgent(0.05)
    agent.addLocalCandidate(hostCandidate((SITE, 5000)), 0.0)
    far = (remote, 5000)
    agent.addRemoteCandidate(hostCandidate(far), 0.0)
    [first, *others] = [ttl for _, ttl in ttls(agent, far, 0.2)]
    assert first == opener
    assert {*others} == {None}


def test_without() -> None:
    """
    Without a hop limit there is no opener.
    """
    agent, _ = makeAgent(0.0, None)
    assert {ttl for _, ttl in ttls(agent, REMOTE, 0.1)} == {None}


def test_heard() -> None:
    """
    Once the peer has begun, nothing comes too early.
    """
    agent, peer = makeAgent(0.0)
    agent.takeDatagrams()
    check = request(
        Method.BINDING,
        bytes(12),
        (Attribute.USERNAME, f"{agent.credentials.ufrag}:{peer.credentials.ufrag}"),
        (Attribute.PRIORITY, 1),
        (Attribute.ICE_CONTROLLING, 1),
    )
    data = check.serialize(key=agent.credentials.key)
    agent.datagramReceived(data, BASE, OTHER, 0.01)
    assert [ttl for _, ttl in ttls(agent, REMOTE, 0.03)] == [None]
