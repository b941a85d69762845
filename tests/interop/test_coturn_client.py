"""
Our TURN client through coturn's server.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from punchd.core import Address
from punchd.turn.credentials import makeCredentials
from punchd.turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    PermissionFailed,
    RelayedDatagram,
    Released,
)
from tests.interop.coturn import PATIENCE, ClientShell, nameOf, turnserver, udp

USER = ("--lt-cred-mech", "--user", "user:password")
SECRET = ("--use-auth-secret", "--static-auth-secret", "north")

Start = Callable[..., ClientShell]


@pytest.fixture(name="start")
def _start() -> Iterator[Start]:
    """
    @return: makes clients of a server, whose sockets are closed at the end.
    """
    made: list[ClientShell] = []

    def start(server: Address, family: int = 4) -> ClientShell:
        made.append(ClientShell(server, family))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture(name="peer")
def _peer() -> Iterator[socket.socket]:
    """
    @return: the socket of a peer.
    """
    with udp() as sock:
        yield sock


def allocate(
    shell: ClientShell, username: str = "user", password: str = "password"
) -> Address:
    """
    @return: the relayed address.
    """
    shell.core.allocate(username, password, None, None, time.monotonic())
    shell.until(lambda: bool(shell.events))
    event = shell.events.pop()
    assert isinstance(event, Allocated)
    return event.relayed


def received(sock: socket.socket) -> tuple[bytes, Address]:
    """
    @return: the next datagram and its source.
    """
    assert select.select([sock], [], [], PATIENCE)[0]
    data, remote = sock.recvfrom(65536)
    return data, remote[:2]


def test_dataBothWays(tmp_path: Path, start: Start, peer: socket.socket) -> None:
    """
    Allocate after a 401, data by indication and by channel, both ways.
    """
    with turnserver(tmp_path, *USER) as server:
        shell = start(server)
        relayed = allocate(shell)
        for number in range(6):
            data = b"%d" % number * 200
            shell.core.send(data, nameOf(peer), time.monotonic())
            shell.until(lambda: True)
            assert received(peer) == (data, relayed)
            peer.sendto(b"re: " + data, relayed)
            shell.until(lambda: bool(shell.events))
            assert shell.events.pop() == RelayedDatagram(b"re: " + data, nameOf(peer))
        assert shell.core.counters == {}


def test_twoClients(tmp_path: Path, start: Start) -> None:
    """
    Relay to relay between two of ours.
    """
    with turnserver(tmp_path, *USER) as server:
        a, b = start(server), start(server)
        first, second = allocate(a), allocate(b)
        b.core.permit([first[0]], time.monotonic())
        b.until(lambda: b.core.permitted == {first[0]})
        for number in range(5):
            data = b"%d" % number
            a.core.send(data, second, time.monotonic())
            a.until(lambda: bool(b.events), b)
            assert b.events.pop() == RelayedDatagram(data, first)
            b.core.send(data, first, time.monotonic())
            b.until(lambda: bool(a.events), a)
            assert a.events.pop() == RelayedDatagram(data, second)


def test_sharedSecret(tmp_path: Path, start: Start) -> None:
    """
    The names that we make from a secret are those that coturn makes; one that
    has expired is refused.
    """
    with turnserver(tmp_path, *SECRET) as server:
        allocate(start(server), *makeCredentials(b"north", "alice", time.time() + 60))
        late = start(server)
        name = makeCredentials(b"north", "alice", time.time() - 60)
        late.core.allocate(*name, None, None, time.monotonic())
        late.until(lambda: bool(late.events))
        (event,) = late.events
        assert isinstance(event, AllocationFailed)
        assert event.code == 401


def test_wrongPassword(tmp_path: Path, start: Start) -> None:
    """
    A wrong password ends it with 401.
    """
    with turnserver(tmp_path, *USER) as server:
        shell = start(server)
        shell.core.allocate("user", "guess", None, None, time.monotonic())
        shell.until(lambda: bool(shell.events))
        (event,) = shell.events
        assert isinstance(event, AllocationFailed)
        assert event.code == 401


def test_wrongNonce(tmp_path: Path, start: Start) -> None:
    """
    A realm and a nonce that are not the server's are corrected by it.
    """
    with turnserver(tmp_path, *USER) as server:
        shell = start(server)
        shell.core.allocate("user", "password", "lab", b"stale", time.monotonic())
        shell.until(lambda: bool(shell.events))
        assert isinstance(shell.events.pop(), Allocated)


def test_forbiddenPeer(tmp_path: Path, start: Start) -> None:
    """
    A refused permission is reported with its code.
    """
    with turnserver(tmp_path, *USER, "--denied-peer-ip", "192.0.2.1") as server:
        shell = start(server)
        allocate(shell)
        shell.core.permit(["192.0.2.1"], time.monotonic())
        shell.until(lambda: bool(shell.events))
        assert shell.events == [PermissionFailed("192.0.2.1", 403)]


def test_refreshAndRelease(tmp_path: Path, start: Start) -> None:
    """
    A refresh is granted, and a release.  Coturn keeps the 5-tuple of what was
    released to itself: that is said with its code.
    """
    with turnserver(tmp_path, *USER) as server:
        shell = start(server)
        allocate(shell)
        before = shell.core.deadline()
        assert before is not None
        shell.core.refresh(time.monotonic())
        shell.until(lambda: (shell.core.deadline() or 0) > before)
        shell.core.release(time.monotonic())
        shell.until(lambda: bool(shell.events))
        assert shell.events.pop() == Released()
        shell.core.allocate("user", "password", None, None, time.monotonic())
        shell.until(lambda: bool(shell.events))
        event = shell.events.pop()
        assert isinstance(event, AllocationFailed)
        assert event.code == 437


def test_ipv6(tmp_path: Path, start: Start) -> None:
    """
    An IPv6 relayed address on an IPv6 server.
    """
    try:
        peer = udp("::1")
    except OSError as e:
        pytest.skip(f"no IPv6 here: {e}")
    with peer, turnserver(tmp_path, *USER, host="::1") as server:
        shell = start(server, 6)
        relayed = allocate(shell)
        assert relayed[0] == "::1"
        for number in range(4):
            data = b"%d" % number
            shell.core.send(data, nameOf(peer), time.monotonic())
            shell.until(lambda: True)
            assert received(peer) == (data, relayed)
            peer.sendto(data, relayed)
            shell.until(lambda: bool(shell.events))
            assert shell.events.pop() == RelayedDatagram(data, nameOf(peer))


def test_serverRestarts(tmp_path: Path, start: Start) -> None:
    """
    A server that was started anew does not know us: the allocation is lost,
    and made again on the same socket.
    """
    with turnserver(tmp_path, *USER) as server:
        shell = start(server)
        allocate(shell)
    with turnserver(tmp_path, *USER, port=server[1]):
        shell.core.refresh(time.monotonic())
        shell.until(lambda: bool(shell.events))
        (event,) = shell.events
        assert isinstance(event, AllocationLost)
        assert "437" in event.reason
        shell.events.clear()
        allocate(shell)
