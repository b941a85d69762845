"""
aioice as the other agent, over real sockets of this machine.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import ifaddr
import pytest

from punchd.core import Address
from punchd.ice.agent import Agent
from punchd.ice.candidate import (
    Candidate,
    CandidateType,
    hostCandidate,
    isPairable,
)
from punchd.ice.credentials import Credentials, makeCredentials
from punchd.ice.events import Nominated, PairSucceeded
from punchd.stun.message import isMessage

pytest.importorskip("aioice", reason="aioice is not installed")

SCRIPT = Path(__file__).with_name("aioicepeer.py")
ROLES = {True: "controlling", False: "controlled"}


def hostOf(family: int) -> str:
    """
    @return: an address of this machine that is not loopback.
    """
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            if (":" in host) is (family == 6) and isPairable((host, 1)):
                return host
    pytest.skip(f"no IPv{family} address but loopback")


class Runner:
    """
    Our agent on one socket, with a loop that blocks.
    """

    def __init__(self, controlling: bool, family: int) -> None:
        self.socket = self.open(family)
        candidate = self.candidate()
        self.base: Address = candidate.base
        self.agent = Agent(
            controlling=controlling,
            credentials=makeCredentials(os.urandom),
            tieBreaker=int.from_bytes(os.urandom(8), "big"),
            entropy=os.urandom,
        )
        self.agent.addLocalCandidate(candidate, time.monotonic())
        self.events: list[object] = []
        self.received: list[bytes] = []

    def open(self, family: int) -> socket.socket:
        """
        @return: the socket.
        """
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        made = socket.socket(kind, socket.SOCK_DGRAM)
        made.bind((hostOf(family), 0))
        return made

    def candidate(self) -> Candidate:
        """
        @return: our only one.
        """
        return hostCandidate(self.socket.getsockname()[:2])

    def send(self, data: bytes, remote: Address) -> None:
        """
        Send one datagram.
        """
        self.socket.sendto(data, remote)

    def run(self, seconds: float, until: Callable[[], bool]) -> bool:
        """
        Let the agent work.

        @return: whether C{until} became true in time.
        """
        end = time.monotonic() + seconds
        while not until():
            for each in self.agent.takeDatagrams():
                self.send(each.data, each.remote)
            self.events += self.agent.takeEvents()
            now = time.monotonic()
            due = self.agent.deadline()
            # A short wait: the condition may become true by itself.
            wait = min(end if due is None else due, end, now + 0.02) - now
            if now >= end:
                return until()
            if select.select([self.socket], [], [], max(wait, 0))[0]:
                data, remote = self.socket.recvfrom(65536)
                self.take(data, remote[:2])
            elif due is not None and time.monotonic() >= due:
                self.agent.timeReached(time.monotonic())
        return True

    def take(self, data: bytes, remote: Address) -> None:
        """
        One datagram has come.
        """
        now = time.monotonic()
        if isMessage(data):
            self.agent.datagramReceived(data, self.base, remote, now)
        else:
            self.agent.sessionDatagramReceived(len(data), self.base, remote, now)
            self.received.append(data)


class Other:
    """
    The process that runs aioice.
    """

    def __init__(self, controlling: bool, family: int, *turn: object) -> None:
        arguments = [sys.executable, str(SCRIPT), ROLES[controlling], str(family)]
        arguments += map(str, turn)
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.hello = self.line()

    def line(self) -> dict[str, Any]:
        """
        @return: what it says next.
        """
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        assert text, "aioice has ended"
        return dict(json.loads(text))

    def ready(self) -> bool:
        """
        @return: whether it has said something.
        """
        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def tell(self, agent: Agent) -> None:
        """
        Be its signaling.
        """
        mine = {
            "ufrag": agent.credentials.ufrag,
            "password": agent.credentials.password,
            "candidates": [toSDP(each) for each in agent.localCandidates],
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(mine) + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """
        End it.
        """
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def toSDP(candidate: Candidate) -> str:
    """
    RFC 8839, 5.1.
    """
    host, port = candidate.address
    head = f"{candidate.foundation} 1 udp {candidate.priority}"
    return f"{head} {host} {port} typ {candidate.type.value}"


def fromSDP(text: str) -> Candidate:
    """
    RFC 8839, 5.1.
    """
    foundation, _, transport, priority, host, port, _, kind = text.split()[:8]
    assert transport == "udp"
    address = (host, int(port))
    return Candidate(address, CandidateType(kind), int(priority), foundation, address)


@pytest.fixture
def start(
    request: pytest.FixtureRequest,
) -> Generator[Callable[[bool, bool, int], tuple[Runner, Other]]]:
    """
    Make both, with a role each.
    """
    made: list[tuple[Runner, Other]] = []

    def make(ours: bool, theirs: bool, family: int) -> tuple[Runner, Other]:
        made.append((Runner(ours, family), Other(theirs, family)))
        return made[0]

    yield make
    for runner, other in made:
        runner.socket.close()
        other.close()


def introduce(runner: Runner, other: Other) -> None:
    """
    Tell our agent of aioice's.
    """
    hello = other.hello
    now = time.monotonic()
    credentials = Credentials(hello["ufrag"], hello["password"])
    runner.agent.setRemoteCredentials(credentials, now)
    for each in hello["candidates"]:
        runner.agent.addRemoteCandidate(fromSDP(each), now)
    runner.agent.endOfCandidates(now)


def converse(runner: Runner, other: Other) -> None:
    """
    Nominate if it is ours to do, then send data there and back.
    """
    agent = runner.agent
    assert runner.run(30, lambda: bool(agent.validPairs))
    if agent.controlling:
        assert agent.nominate(agent.validPairs[0], time.monotonic())
    assert runner.run(30, lambda: agent.nominatedPair is not None and other.ready())
    line = other.line()
    assert line["connected"]
    assert line["controlling"] is not agent.controlling
    pair = agent.nominatedPair
    assert pair is not None
    runner.send(b"\x80 hello", pair.remote.address)
    assert runner.run(30, lambda: bool(runner.received))
    assert runner.received == [b"\x80 hello"]
    assert pair.received.value == (1, 7)
    # aioice knows nothing of reports.
    assert pair.reported is None
    runner.run(0, lambda: True)
    kinds = {type(event) for event in runner.events + list(agent.takeEvents())}
    assert {PairSucceeded, Nominated} <= kinds


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("controlling", [True, False])
def test_connects(
    start: Callable[[bool, bool, int], tuple[Runner, Other]],
    controlling: bool,
    family: int,
) -> None:
    """
    In both roles, over IPv4 and IPv6, data flow both ways.
    """
    runner, other = start(controlling, not controlling, family)
    introduce(runner, other)
    other.tell(runner.agent)
    converse(runner, other)


@pytest.mark.parametrize("role", [True, False])
def test_roleConflict(
    start: Callable[[bool, bool, int], tuple[Runner, Other]], role: bool
) -> None:
    """
    Both claim the same role: one gives in.
    """
    runner, other = start(role, role, 4)
    introduce(runner, other)
    other.tell(runner.agent)
    converse(runner, other)


def test_checksBeforeSignaling(
    start: Callable[[bool, bool, int], tuple[Runner, Other]],
) -> None:
    """
    aioice's checks arrive before its candidates and credentials do.
    """
    runner, other = start(True, False, 4)
    other.tell(runner.agent)
    assert runner.run(30, lambda: bool(runner.agent.pairs))
    introduce(runner, other)
    converse(runner, other)
