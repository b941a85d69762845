"""
Attacks on the relay by people who have proven nothing, or do not read: honest
clients' traffic is unharmed, and memory is back at its level.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from punchd.core import Address
from punchd.stun.message import Method, request
from punchd.testing.lab import waitFor

from .honest import PASSWORD, Honest, Talk
from .spread import LoopbackPorts
from .starting import Started, startedRendezvous
from .transfers import MB, Memory

_ROOT = Path(__file__).parents[2]

#: What the rendezvous may grow by in an attack, in bytes.
_SLACK = 8 * MB

#: Connections that an attacker opens, and those of one network that may be open
#: without having proven anything.
_CONNECTIONS, _UNSETTLED = 400, 256

#: Clients that do not read, and what may wait for them, in bytes.
_LAZY, _WAITING = 40, 2 * 64 * MB

#: Forged requests a second, and for how long.
_FORGED, _FLOOD = 50_000, 4.0


@pytest.fixture(name="rendezvous")
def _rendezvous(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Generator[Started, None, None]:
    """
    @return: one with users, and with so many processes as the parameter says.
    """
    users = tmp_path / "users"
    users.write_text("".join(f"user{n}:{PASSWORD}\n" for n in range(9)))
    users.chmod(0o600)
    options = [f"--admit=users:{users}", f"--workers={getattr(request, 'param', 1)}"]
    options.append("--drain=0")  # nobody here moves elsewhere
    with startedRendezvous(tmp_path / "state", *options) as started:
        yield started


def descriptors(started: Started) -> int:
    """
    @return: how many files and sockets the processes of the rendezvous have open.
    """
    return sum(len(os.listdir(f"/proc/{each}/fd")) for each in started.processes())


def _memory(started: Started) -> Memory:
    """
    @return: that of each process.
    """
    processes = enumerate(started.processes())
    return Memory(**{f"process {at}": pid for at, pid in processes})


def unharmed(talk: Talk) -> None:
    """
    Fail unless everything that is said from now on arrives.
    """
    sent, came = talk.say(100)
    assert sent >= 100
    assert came == sent


def _settled(memory: Memory) -> int:
    """
    @return: how many bytes the rendezvous has grown by, the process that has most; what
        crowds needed is given back a bit after they have gone.
    """
    with suppress(TimeoutError):
        waitFor(lambda: max(memory.growth().values()) < _SLACK, 20, "less memory")
    return max(memory.growth().values())


def binding() -> bytes:
    """
    @return: a Binding request.
    """
    return request(Method.BINDING, os.urandom(12)).serialize()


def _tls(sock: socket.socket) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["stun.turn"])
    return context.wrap_socket(sock)


def _connect(server: Address, source: str) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(20)
    sock.bind((source, 0))
    sock.connect(server)
    return sock


class _Loris:
    """
    I open connections, and then say a byte of each now and then.
    """

    def __init__(self, server: Address, tls: bool) -> None:
        self._tls = tls
        # A whole handshake for few, since that is work for this process as well.
        self._sockets = []
        for number in range(_CONNECTIONS):
            sock = _connect(server, f"127.0.0.{2 + number % 200}")
            if tls and number % 8 == 0:
                sock = _tls(sock)
            self._sockets.append(sock)
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
        self._said = binding() if not tls else hello
        self._at = 0

    def poke(self) -> int:
        """
        Say one more byte.

        @return: how many connections are still open.
        """
        byte = self._said[self._at : self._at + 1]
        self._at += 1
        for sock in list(self._sockets):
            handshaken = isinstance(sock, ssl.SSLSocket)
            try:
                sock.send(binding()[self._at : self._at + 1] if handshaken else byte)
            except OSError:
                self._sockets.remove(sock)
                sock.close()
        return len(self._sockets)

    def close(self) -> None:
        """
        Give up.
        """
        for sock in self._sockets:
            sock.close()


@pytest.mark.parametrize(
    ("rendezvous", "tls"),
    [(1, False), (1, True), (2, False)],
    ids=["tcp", "tls", "workers"],
    indirect=["rendezvous"],
)
def test_slowLoris(rendezvous: Started, tls: bool) -> None:
    """
    Hundreds of connections that never come to the end of a message, within TLS
    or without, are ended after ten seconds; meanwhile whoever comes, even from
    the same network, is served.
    """
    server = rendezvous.address
    with Talk(server, "user1", "user2", stream=True) as talk, ExitStack() as stack:
        before = descriptors(rendezvous)
        memory = _memory(rendezvous)
        loris = _Loris(server, tls)
        stack.callback(loris.close)
        most = descriptors(rendezvous) - before
        began = time.monotonic()
        while loris.poke():
            assert time.monotonic() < began + 30
            Honest(server, "user3", stream=True).close()
            time.sleep(1)
        left = descriptors(rendezvous) - before
        grown = _settled(memory)
        print(f"{most} connections at most, {left} left; {grown / MB:.1f} MB more")
        # Some are on their way out.
        assert most <= _UNSETTLED + 50
        # One of each second's may not be gone yet.
        assert left <= 4
        assert grown < _SLACK
        unharmed(talk)
        sent, received = talk.settled()
        assert received == sent


@pytest.mark.parametrize(
    ("rendezvous", "frame"),
    [(1, "oversize"), (1, "truncated"), (1, "garbage"), (2, "garbage")],
    indirect=["rendezvous"],
)
def test_badFrames(rendezvous: Started, frame: str) -> None:
    """
    Frames that are too large, cut short or none: each ends its connection and
    nothing else.
    """
    server = rendezvous.address
    data = {
        "oversize": b"\0\3\xff\xfc\x21\x12\xa4\x42" + bytes(60000),
        "truncated": b"\0\1\0\10\x21\x12\xa4\x42" + bytes(12) + b"\0\6\0\5user",
        "garbage": b"\0\1\0\0" + os.urandom(2000),
    }[frame]
    with Talk(server, "user1", "user2") as talk:
        memory = _memory(rendezvous)
        before = descriptors(rendezvous)
        for _ in range(100):
            with _connect(server, "127.0.0.2") as sock:
                try:
                    sock.sendall(data)
                    assert sock.recv(100) == b""
                except ConnectionError:
                    pass
        unharmed(talk)
        assert descriptors(rendezvous) <= before
        assert _settled(memory) < _SLACK


def test_neverReads(rendezvous: Started) -> None:
    """
    What comes for a client over TCP that does not read is dropped; others get
    theirs, and memory does not grow by what was sent.
    """
    server = rendezvous.address
    with Talk(server, "user1", "user2", stream=True) as talk, ExitStack() as stack:
        lazy, eager = Honest(server, "user3", stream=True), Honest(server, "user4")
        for each in (lazy, eager):
            stack.callback(each.close)
        lazy.meet(eager)
        eager.send(b"first", lazy.relayed)
        lazy.until(lambda: bool(lazy.received))
        memory = _memory(rendezvous)
        payload = bytes(1400)
        poured = 0
        while poured <= 6 * _SLACK:
            for _ in range(100):
                eager.send(payload, lazy.relayed)
                poured += len(payload)
            eager.turn(0)
            time.sleep(0.005)
        grown = max(memory.growth().values())
        print(f"{poured / MB:.0f} MB poured, {grown / MB:.1f} MB more")
        assert grown < _SLACK
        unharmed(talk)
        # What waited is less than was poured, and it goes on from there.
        until = time.monotonic() + 30
        while lazy.received[-1] != b"last":
            assert time.monotonic() < until
            eager.send(b"last", lazy.relayed)
            lazy.turn(0.1)
        assert len(lazy.received) * len(payload) < poured / 4


def test_manyNeverRead(rendezvous: Started) -> None:
    """
    What comes for many clients over TCP that do not read waits within limits, and
    memory is back at its level when they have gone.
    """
    server = rendezvous.address
    with Talk(server, "user1", "user2", stream=True) as talk, ExitStack() as stack:
        eager = Honest(server, "user3")
        stack.callback(eager.close)
        memory = _memory(rendezvous)
        lazy = []
        for number in range(_LAZY):
            source = f"127.0.{number}.2"
            each = Honest(server, f"user{4 + number % 5}", True, source)
            stack.callback(each.close)
            each.meet(eager)
            lazy.append(each)
        payload = bytes(1400)
        poured = 0
        for _ in range(40):
            for each in lazy:
                for _ in range(30):
                    eager.send(payload, each.relayed)
                    poured += len(payload)
                eager.turn(0)
        most = max(memory.growth().values())
        unharmed(talk)
        for each in lazy:
            each.close()
        grown = _settled(memory)
        print(
            f"{poured / MB:.0f} MB poured; {most / MB:.1f} MB more while they were "
            f"there, {grown / MB:.1f} MB afterwards"
        )
        assert poured > 8 * _SLACK
        assert most < _WAITING + _SLACK
        assert grown < _SLACK
        unharmed(talk)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("rendezvous", [1, 2], indirect=True)
def test_forgedRequests(rendezvous: Started) -> None:
    """
    While 50,000 forged Binding and Allocate requests a second come, those who
    talk over the relay go on, over UDP and over TCP, whichever process they meet.
    """
    server = rendezvous.address
    processes = rendezvous.processes()
    # The two over UDP meet different ones, if there are.
    free = LoopbackPorts()
    ports = [free.at(each % len(processes), len(processes)) for each in (0, 1)]
    with (
        Talk(server, "user1", "user2", ports=ports) as overUDP,
        Talk(server, "user3", "user4", stream=True) as overTCP,
    ):
        unharmed(overUDP)
        memory = _memory(rendezvous)
        # What is on its way would count as come, and not as sent.
        before = {each: each.settled() for each in (overUDP, overTCP)}
        words = [str(server[1]), str(_FORGED), str(_FLOOD)]
        flood = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.flood", *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        said, _ = flood.communicate(timeout=60)
        found = json.loads(said)
        rate = found["sent"] / found["seconds"]
        shares = {}
        for talk, (sent, received) in before.items():
            sentNow, receivedNow = talk.settled()
            shares[talk] = (receivedNow - received) / (sentNow - sent)
        grown = _settled(memory)
        print(
            f"{rate:,.0f} forged a second; came over UDP {shares[overUDP]:.1%}, "
            f"over TCP {shares[overTCP]:.1%}; {grown / MB:.1f} MB more"
        )
        unharmed(overUDP)
        unharmed(overTCP)
        assert grown < _SLACK
        assert shares[overTCP] == 1
        assert shares[overUDP] > 0.9
