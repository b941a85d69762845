"""
aioice as the other agent, with a TURN server between: aioice has nothing but a
relayed candidate, or we have, or both; on coturn's server, or on ours.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from punchd.core import Address
from punchd.ice.candidate import Candidate, CandidateType, relayedCandidate
from punchd.turn.events import Allocated, RelayedDatagram
from tests.interop.coturn import ClientShell, ServerShell, nameOf, turnserver
from tests.interop.test_aioice import Other, Runner, converse, hostOf, introduce

USER = ("--lt-cred-mech", "--user", "user:password")
#: aioice never asks for a family.
KEEP = "--allocation-default-address-family=keep"

pytestmark = pytest.mark.timeout(60)


@contextmanager
def ourServer() -> Iterator[Address]:
    """
    Our TURN server, until the block ends.

    @return: where it listens.
    """
    shell = ServerShell([hostOf(4)], [0])
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            shell.turn()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield shell.listening[0]
    finally:
        over.set()
        thread.join()
        shell.stop()


def meet(runner: Runner, other: Other) -> None:
    """
    Exchange the candidates, then nominate and talk.
    """
    introduce(runner, other)
    other.tell(runner.agent)
    converse(runner, other)


class Relayed(Runner):
    """
    Our agent with nothing but an address on a relay.
    """

    def __init__(self, controlling: bool, family: int, server: Address) -> None:
        self.shell = ClientShell(server, family)
        super().__init__(controlling, family)

    def open(self, family: int) -> socket.socket:
        """
        @return: that of the relay's client.
        """
        return self.shell.socket

    def candidate(self) -> Candidate:
        """
        @return: the relayed address.
        """
        shell = self.shell
        shell.core.allocate("user", "password", None, None, time.monotonic())
        shell.until(lambda: bool(shell.events))
        event = shell.events.pop()
        assert isinstance(event, Allocated)
        return relayedCandidate(event.relayed)

    def send(self, data: bytes, remote: Address) -> None:
        """
        Send one datagram through the relay.
        """
        self.shell.core.send(data, remote, time.monotonic())
        self._drain()

    def take(self, data: bytes, remote: Address) -> None:
        """
        The relay says something, or passes something on.
        """
        core = self.shell.core
        core.datagramReceived(data, nameOf(self.socket), remote, time.monotonic())
        for event in core.takeEvents():
            if isinstance(event, RelayedDatagram):
                super().take(event.data, event.peer)
        self._drain()

    def _drain(self) -> None:
        for each in self.shell.core.takeDatagrams():
            self.socket.sendto(each.data, each.remote)


@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize("family", [4, 6])
def test_ours(tmp_path: Path, family: int, controlling: bool) -> None:
    """
    All that we have is a relayed address; data flow both ways through it.
    """
    with turnserver(tmp_path, *USER, KEEP, host=hostOf(family)) as address:
        runner = Relayed(controlling, family, address)
        other = Other(not controlling, family)
        try:
            meet(runner, other)
            pair = runner.agent.nominatedPair
            assert pair is not None
            assert pair.local.type is CandidateType.RELAY
        finally:
            other.close()
            runner.socket.close()


@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize("family", [4, 6])
def test_theirs(tmp_path: Path, family: int, controlling: bool) -> None:
    """
    All that aioice has is a relayed address; data flow both ways through it.
    """
    with turnserver(tmp_path, *USER, KEEP, host=hostOf(family)) as address:
        runner = Runner(controlling, family)
        other = Other(not controlling, family, *address)
        try:
            (told,) = other.hello["candidates"]
            assert " typ relay" in told
            meet(runner, other)
            pair = runner.agent.nominatedPair
            assert pair is not None
            assert pair.remote.type is CandidateType.RELAY
        finally:
            other.close()
            runner.socket.close()


@pytest.mark.parametrize("controlling", [True, False])
def test_both(controlling: bool) -> None:
    """
    Both have a relayed address on our server, which takes nothing on its own
    host for a peer but these.
    """
    with ourServer() as address:
        runner = Relayed(controlling, 4, address)
        other = Other(not controlling, 4, *address)
        try:
            meet(runner, other)
            pair = runner.agent.nominatedPair
            assert pair is not None
            assert pair.local.type is CandidateType.RELAY
            assert pair.remote.type is CandidateType.RELAY
        finally:
            other.close()
            runner.socket.close()
