"""
A relay of several processes: pairs of ports (RFC 8656, 7.2: EVEN-PORT and
RESERVATION-TOKEN) whose two requests meet different ones, and limits.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from punchd.core import Address
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Message, Method, parse, request
from punchd.turn.credentials import longTermKey
from tests.interop.coturn import needs

from .honest import Honest
from .spread import LoopbackPorts
from .starting import Started, startedRendezvous

_HOST = "127.0.0.1"
_PROCESSES = 3
_USER, _PASSWORD = "alice", "password"
_PAIR = (Attribute.EVEN_PORT, True)


#: Packets a second.
_RATE = 200


@pytest.fixture(name="rendezvous")
def _rendezvous(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Generator[Started, None, None]:
    """
    @return: one of several processes, with a user, and the limit that the parameter
        says.
    """
    users = tmp_path / "users"
    users.write_text(f"{_USER}:{_PASSWORD}\n")
    users.chmod(0o600)
    with startedRendezvous(
        tmp_path / "state",
        f"--workers={_PROCESSES}",
        f"--admit=users:{users}",
        "--relay-limit=user.allocations=100",
        f"--relay-limit={getattr(request, 'param', 'channels=64')}",
        "--drain=0",
    ) as started:
        yield started


class Client:
    """
    A socket from which an Allocate is sent.
    """

    def __init__(self, server: Address, port: int) -> None:
        """
        @param port: to come from; 0 for TCP, which is for the first process.
        """
        kind = socket.SOCK_DGRAM if port else socket.SOCK_STREAM
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.settimeout(20)
        self._socket.bind((_HOST, port))
        self._socket.connect(server)

    def _ask(self, message: Message, **how: Any) -> Message:
        self._socket.send(message.serialize(**how))
        return parse(self._socket.recv(2048))

    def allocate(self, *attributes: tuple[int, Any]) -> Message:
        """
        @return: the answer.
        """
        words = ((Attribute.REQUESTED_TRANSPORT, UDP), *attributes)
        challenge = self._ask(request(Method.ALLOCATE, os.urandom(12), *words))
        message = request(Method.ALLOCATE, os.urandom(12), *words)
        message.add(Attribute.USERNAME, _USER)
        for each in (Attribute.REALM, Attribute.NONCE):
            message.add(each, challenge.get(each))
        key = longTermKey(_USER, challenge.get(Attribute.REALM), _PASSWORD)
        return self._ask(message, key=key)

    def close(self) -> None:
        """
        Leave without a word.
        """
        self._socket.close()


def test_claimedFromAnyProcess(rendezvous: Started) -> None:
    """
    Whichever process has reserved a port, and whichever is shown the token, over UDP
    or TCP: the client has the odd port with the first answer, and nobody has it again.
    """
    server = rendezvous.address
    clients: list[Client] = []
    free = LoopbackPorts()

    def client(process: int | None) -> Client:
        port = 0 if process is None else free.at(process, _PROCESSES)
        clients.append(Client(server, port))
        return clients[-1]

    ways = (None, *range(_PROCESSES))
    try:
        for owner in ways:
            for asker in ways:
                first = client(owner).allocate(_PAIR)
                host, port = first.get(Attribute.XOR_RELAYED_ADDRESS)
                assert port % 2 == 0
                token = (
                    Attribute.RESERVATION_TOKEN,
                    first.get(Attribute.RESERVATION_TOKEN),
                )
                second = client(asker).allocate(token)
                assert second.get(Attribute.ERROR_CODE) is None, (owner, asker)
                assert second.get(Attribute.XOR_RELAYED_ADDRESS) == (host, port + 1)
                third = client(owner).allocate(token)
                assert third.get(Attribute.ERROR_CODE)[0] == 508
    finally:
        for each in clients:
            each.close()


def test_coturnsPairs(rendezvous: Started) -> None:
    """
    C{turnutils_uclient}, which reserves pairs unless it is told not to, exchanges all
    its messages, whichever processes its sockets meet.
    """
    host, port = rendezvous.address
    words = ["-y", "-u", _USER, "-w", _PASSWORD, "-p", str(port)]
    words += ["-n", "5", "-m", "6", "-l", "100", "-z", "5", host]
    said = subprocess.run(
        [needs("turnutils_uclient"), *words], capture_output=True, text=True, timeout=60
    ).stdout
    counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
    assert counts, said
    assert counts[-1][0] == counts[-1][1] != "0", said
    assert "Total lost packets 0 " in said, said


@pytest.mark.parametrize("rendezvous", [f"network.packets={_RATE}"], indirect=True)
def test_limitsTogether(rendezvous: Started) -> None:
    """
    A network that meets several processes has one rate in all of them.
    """
    server = rendezvous.address
    clients: list[Honest] = []
    try:
        pairs = []
        free = LoopbackPorts()
        for process in (1, 2):
            sender = Honest(server, _USER, port=free.at(process, _PROCESSES))
            # From a network of his own, who can take all of it.
            receiver = Honest(server, _USER, source=f"127.0.{process}.1")
            clients += sender, receiver
            sender.meet(receiver)
            pairs.append((sender, receiver))
        rates = []
        for _ in range(2):
            before = sum(len(each.received) for each in clients)
            began = time.monotonic()
            while (passed := time.monotonic() - began) < 3:
                for sender, receiver in pairs:
                    for _ in range(5):
                        sender.send(b"x", receiver.relayed)
                    for _ in range(6):
                        receiver.turn(0.001)
            came = sum(len(each.received) for each in clients) - before
            rates.append(came / passed)
    finally:
        for each in clients:
            each.close()
    print(f"{rates} messages a second")
    # The burst of the beginning was had in both.
    assert rates[0] > 0
    assert rates[1] < 1.5 * _RATE
