"""
Coturn's programs as subprocesses, and the shortest of shells to run our cores
beside them: blocking sockets, on loopback only.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from punchd.core import Address, Datagram
from punchd.errors import MalformedMessage
from punchd.stun.binding import BindingServer
from punchd.stun.limit import NoLimit
from punchd.stun.message import Method, parse
from punchd.turn.client import Client
from punchd.turn.guards import SecretUsers, StaticUsers
from punchd.turn.server import Server

#: How long anything here may take, in seconds.
PATIENCE = 30.0


def needs(program: str) -> str:
    """
    @return: the path of a program, or the test is skipped.
    """
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def udp(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """
    @return: a bound UDP socket.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((host, port))
    return made


def nameOf(sock: socket.socket) -> Address:
    """
    @return: the address a socket is bound to.
    """
    host, port = sock.getsockname()[:2]
    return host, port


def freePort(host: str = "127.0.0.1") -> int:
    """
    @return: a port that is free now, and that the system gives to nobody who does not
        care which one: those are higher, and coturn's relayed ones too.
    """
    for port in random.sample(range(10_000, 20_000), 100):
        with suppress(OSError), udp(host, port):
            return port
    raise OSError(f"no port of {host} is free")


@contextmanager
def running(
    command: Sequence[str], folder: Path, ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a server until the block ends.

    @param ready: asked until it says yes.
    """
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        until = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{command[0]} does not run:\n{log.read_text()}")
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def turnserver(
    folder: Path, *options: str, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Address]:
    """
    Run coturn's server.

    @return: the address that it listens on.
    """
    port = port or freePort(host)
    command = [
        needs("turnserver"),
        *("-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp-relay"),
        *("--realm", "lab", "--listening-ip", host, "--relay-ip", host),
        *("--listening-port", str(port), "--min-port", "20000", "--max-port", "29999"),
        *("--allow-loopback-peers", "--log-file", "stdout", "--simple-log"),
        *("--pidfile", str(folder / "pid"), "--userdb", str(folder / "db")),
        *options,
    ]
    ping = b"\0\1\0\0\x21\x12\xa4\x42" + b"areyouthere?"

    def ready() -> bool:
        with udp(host) as sock:
            sock.connect((host, port))
            try:
                sock.send(ping)
                return bool(select.select([sock], [], [], 0.1)[0] and sock.recv(2048))
            except ConnectionRefusedError:
                return False

    with running(command, folder, ready):
        yield (host, port)


def echoes(place: Address, sock: socket.socket) -> bool:
    """
    @param sock: a UDP socket to ask from, which is closed then.

    @return: whether something at this place sends back what it gets.
    """
    with sock:
        sock.connect(place)
        try:
            sock.send(b"areyouthere?")
            return bool(select.select([sock], [], [], 0.1)[0] and sock.recv(2048))
        except ConnectionRefusedError:
            return False


class ClientShell:
    """
    A client core on a socket of its own.
    """

    def __init__(self, server: Address, family: int = 4) -> None:
        self.socket = udp(server[0])
        self.core = Client(server, entropy=os.urandom, family=family)
        self.events: list[object] = []

    def until(self, done: Callable[[], bool], *others: ClientShell) -> None:
        """
        Run this client, and others, until C{done} says yes.
        """
        shells = [self, *others]
        end = time.monotonic() + PATIENCE
        while True:
            for each in shells:
                each._drain()
            if done():
                return
            now = time.monotonic()
            assert now < end, [each.events for each in shells]
            times = [each.core.deadline() for each in shells]
            due = min((each for each in times if each is not None), default=end)
            sockets = [each.socket for each in shells]
            readable, _, _ = select.select(
                sockets, [], [], max(0.0, min(due - now, 1.0))
            )
            for each in shells:
                if each.socket in readable:
                    data, remote = each.socket.recvfrom(65536)
                    each.core.datagramReceived(
                        data, nameOf(each.socket), remote[:2], time.monotonic()
                    )
                each.core.timeReached(time.monotonic())

    def _drain(self) -> None:
        for each in self.core.takeDatagrams():
            self.socket.sendto(each.data, each.remote)
        self.events.extend(self.core.takeEvents())

    def close(self) -> None:
        """
        Close the socket.
        """
        self.socket.close()


class ServerShell:
    """
    Our Binding server and relay on real sockets; it runs for as long as a
    subprocess does, or as somebody calls L{turn}.

    @ivar listening: its own addresses, unlike the relayed ones.
    """

    def __init__(self, hosts: Sequence[str], ports: Sequence[int]) -> None:
        self.sockets: dict[Address, socket.socket] = {}
        for host in hosts:
            for port in ports:
                made = udp(host, port)
                self.sockets[nameOf(made)] = made
        self.listening = list(self.sockets)
        self._host = {6 if ":" in each else 4: each for each in reversed(hosts)}
        self.binding = BindingServer({each: each for each in hosts}, ports)
        self.server = Server(
            realm="punchd",
            guards=[
                SecretUsers("secret", b"north", time.time),
                StaticUsers("users", {"user": "password"}),
            ],
            ports=self,
            entropy=os.urandom,
            limit=NoLimit(),
            # There is nothing but loopback here.
            forbidden=lambda host: False,
        )

    @property
    def families(self) -> set[int]:
        """
        @return: those that there are hosts of.
        """
        return set(self._host)

    def open(self, family: int, even: bool = False, number: int = 0) -> Address | None:
        """
        @return: the address of a new socket.
        """
        if family not in self._host:
            return None
        while True:
            try:
                made = udp(self._host[family], number)
            except OSError:
                return None
            address = nameOf(made)
            if even and address[1] % 2:
                made.close()
                continue
            self.sockets[address] = made
            return address

    def close(self, address: Address) -> None:
        """
        Close a relayed address.
        """
        self.sockets.pop(address).close()

    def run(self, command: Sequence[str]) -> str:
        """
        Serve until the command ends.

        @return: what it has printed.
        """
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            end = time.monotonic() + PATIENCE
            while process.poll() is None:
                self.turn()
                if time.monotonic() > end:
                    process.kill()
            return process.stdout.read()

    def stop(self) -> None:
        """
        Close all sockets.
        """
        for each in self.sockets.values():
            each.close()

    def turn(self) -> None:
        """
        Serve what is there, or wait for a moment.
        """
        readable, _, _ = select.select(self.sockets.values(), [], [], 0.05)
        names = {sock: address for address, sock in self.sockets.items()}
        for sock in readable:
            try:
                data, remote = sock.recvfrom(65536)
            except OSError:
                continue  # an ICMP error, or closed by the one before
            now = time.monotonic()
            for each in self._handle(data, names[sock], remote[:2], now):
                if each.local in self.sockets:
                    self.sockets[each.local].sendto(each.data, each.remote)

    def _handle(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> list[Datagram]:
        if local in self.listening and data[:2] == b"\0\1":
            try:
                message = parse(data)
            except MalformedMessage:
                return []
            assert message.method == Method.BINDING
            return self.binding.handle(message, data, local, remote, now)
        self.server.datagramReceived(data, local, remote, now)
        return self.server.takeDatagrams()
