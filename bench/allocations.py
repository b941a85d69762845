"""
What allocations cost the relay in memory.

    python -m bench.allocations [COUNT]
    python -m bench.allocations churn [HOURS]

The first starts C{twistd punch-rendezvous} on loopback, makes COUNT allocations
over UDP, each with a permission and a channel, and prints by how much the
process has grown: the sockets' own memory is the kernel's and not in there.

The second runs the relay on real sockets in a time of its own: every simulated
minute clients come, allocate, permit, bind, send, receive, and go without a word,
so that all of it has to expire.  It prints the memory every ten minutes.
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from punchd.core import Address
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Method, parse, request
from punchd.turn.channeldata import channelData
from punchd.turn.credentials import longTermKey

COUNT = 10_000
#: Made before memory is looked at: what is made once is not counted.
FIRST = 500
#: Clients that come in a simulated minute.
ARRIVALS = 250

USER, PASSWORD, REALM = "user", "password", "punchd"
KEY = longTermKey(USER, REALM, PASSWORD)
TRANSPORT = (Attribute.REQUESTED_TRANSPORT, UDP)
CHANNEL = 0x4000


def memory(pid: int | str = "self") -> int:
    """
    @return: the resident bytes of a process.
    """
    with open(f"/proc/{pid}/status") as file:
        (line,) = (each for each in file if each.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def signed(nonce: bytes, method: int, *attributes: tuple[int, Any]) -> bytes:
    """
    @return: a request of the one user.
    """
    message = request(method, os.urandom(12), *attributes)
    message.add(Attribute.USERNAME, USER)
    message.add(Attribute.REALM, REALM).add(Attribute.NONCE, nonce)
    return message.serialize(key=KEY)


def peers(number: int) -> Address:
    """
    @return: whom the client with that number talks to.
    """
    return f"203.0.113.{number % 250}", 1024 + number % 60000


# --- the program


@contextmanager
def rendezvous() -> Iterator[tuple[int, Address]]:
    """
    @return: the pid and the address of one that runs.
    """
    with tempfile.TemporaryDirectory(prefix="punchd-") as folder:
        users = Path(folder, "users")
        users.touch(0o600)
        users.write_text(f"{USER}:{PASSWORD}\n")
        unlimited = [
            f"--relay-limit={whose}.allocations=0" for whose in ("user", "network")
        ]
        with subprocess.Popen(
            [
                *(sys.executable, "-m", "twisted", "punch-rendezvous"),
                *(f"--state={folder}/s", "--listen=127.0.0.1:0", *unlimited),
                *(f"--admit=users:{users}", "--relay-ports=20000-65535"),
                f"--relay-limit=all.allocations={2 * COUNT}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                url = Path(folder, "s", "url")
                while not url.exists():
                    if process.poll() is not None:
                        raise SystemExit("the rendezvous has ended")
                    time.sleep(0.1)
                port = int(url.read_text().split("#")[0].rpartition(":")[2])
                yield process.pid, ("127.0.0.1", port)
            finally:
                process.terminate()


def allocate(server: Address, number: int) -> None:
    """
    Have an allocation, with a permission and a channel, and go away.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # An address and port that nobody had before.
        sock.bind((f"127.1.{number // 200}.1", 10000 + number % 200))
        sock.settimeout(10)
        sock.connect(server)

        def ask(data: bytes) -> Any:
            sock.send(data)
            return parse(sock.recv(2048))

        bare = request(Method.ALLOCATE, os.urandom(12), TRANSPORT).serialize()
        nonce = ask(bare).get(Attribute.NONCE)
        for data in (
            signed(nonce, Method.ALLOCATE, TRANSPORT),
            signed(
                nonce,
                Method.CHANNEL_BIND,
                (Attribute.CHANNEL_NUMBER, CHANNEL),
                (Attribute.XOR_PEER_ADDRESS, peers(number)),
            ),
        ):
            answer = ask(data)
            if answer.get(Attribute.ERROR_CODE) is not None:
                raise SystemExit(f"{number}: {answer.get(Attribute.ERROR_CODE)}")


def hold(number: int) -> None:
    """
    Print what that many allocations take.
    """
    with rendezvous() as (pid, server):
        for each in range(FIRST):
            allocate(server, each)
        before = memory(pid)
        began = time.monotonic()
        for each in range(FIRST, FIRST + number):
            allocate(server, each)
        grown = memory(pid) - before
        print(
            f"{number} allocations in {time.monotonic() - began:.0f} s: "
            f"{grown / 1e6:.1f} MB more, {grown / number:.0f} bytes each"
        )


# --- in a time of its own


class Relay:
    """
    The relay of a rendezvous on real sockets, and a clock to turn.
    """

    def __init__(self) -> None:
        from twisted.internet import reactor
        from twisted.internet.task import Clock

        from punchd.net.driver import Driver
        from punchd.net.kernel import KernelNetwork
        from punchd.services.relayports import RelayPorts, RelayReceiver
        from punchd.stun.limit import NoLimit
        from punchd.turn.guards import StaticUsers
        from punchd.turn.limits import Limits, Quota
        from punchd.turn.server import Server

        self.clock = Clock()
        network = KernelNetwork(reactor)
        receiver = RelayReceiver()
        self.ports = RelayPorts(network, receiver, {4: "127.0.0.1"}, 20000, 65535)
        self.server = Server(
            realm=REALM,
            guards=[StaticUsers("users", {USER: PASSWORD})],
            ports=self.ports,
            entropy=os.urandom,
            limit=NoLimit(),
            limits=Limits(Quota(bytes=1e12), Quota(packets=1e9), Quota(total=1e15)),
            whole=network.sendsWhole,
        )
        self.driver = Driver(self.server, self.send, lambda event: None, self.clock)
        receiver.driver = self.driver
        self.sent = 0

    def send(self, datagrams: Any) -> None:
        """
        Count instead of sending: nobody is there.
        """
        self.sent += len(datagrams)

    def state(self) -> str:
        """
        @return: what there is.  Python keeps freed memory for later, so its objects
            are told beside the process's size.
        """
        gc.collect()
        return (
            f"{len(self.ports.ports):5} allocations, {self.sent:8} datagrams so far, "
            f"{memory() / 1e6:5.1f} MB, {sys.getallocatedblocks():7} objects"
        )

    def visit(self, number: int) -> None:
        """
        A client comes, and will not be heard of again.
        """
        local = ("127.0.0.1", 3478)
        client = (f"198.51.{number // 200 % 200}.{number % 200}", 1024 + number % 60000)
        peer = peers(number)
        nonce = self.server.nonceFor(USER, self.driver.now())
        requests = (
            signed(nonce, Method.ALLOCATE, TRANSPORT),
            signed(nonce, Method.CREATE_PERMISSION, (Attribute.XOR_PEER_ADDRESS, peer)),
            signed(
                nonce,
                Method.CHANNEL_BIND,
                (Attribute.CHANNEL_NUMBER, CHANNEL),
                (Attribute.XOR_PEER_ADDRESS, peer),
            ),
        )
        before = set(self.ports.ports)
        for data in requests:
            self.driver.datagramReceived(data, local, client)
        (relayed,) = set(self.ports.ports) - before
        for _ in range(50):
            self.driver.datagramReceived(
                channelData(CHANNEL, bytes(200)), local, client
            )
            self.driver.datagramReceived(bytes(200), relayed, peer)


def churn(hours: float) -> None:
    """
    Print the memory as time passes.
    """
    relay = Relay()
    numbers = count()
    # Fill what is filled once, caches of addresses above all.
    for _ in range(5000):
        relay.visit(next(numbers))
    relay.clock.advance(700)
    print(f"at first: {relay.state()}")
    for minute in range(round(hours * 60)):
        for _ in range(ARRIVALS):
            relay.visit(next(numbers))
        relay.clock.advance(60)
        if minute % 10 == 9:
            print(f"{minute + 1:4} min: {relay.state()}")
    relay.clock.advance(700)
    print(f" at rest: {relay.state()}")


def main() -> None:
    """
    Do what the words say.
    """
    words = sys.argv[1:]
    if words[:1] == ["churn"]:
        churn(float(words[1]) if words[1:] else 1.0)
    else:
        hold(int(words[0]) if words else COUNT)


if __name__ == "__main__":
    main()
