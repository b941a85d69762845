"""
A host of the lab that changes its address, and one that loses its network for a
while, with a session.
"""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.lab.tools import tool


class Talker(threading.Thread):
    """
    Says a number ten times a second to an echo, and notes the longest silence.
    """

    def __init__(self, space, port: int) -> None:
        super().__init__(daemon=True)
        self.said = self.heard = b""
        self.longest = 0.0
        self.problem: Exception | None = None
        self._done = threading.Event()
        self._socket = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", port))

    def run(self) -> None:
        number = 0
        try:
            while not self._done.wait(0.1):
                number += 1
                self.said += b"%d " % number
                began = time.monotonic()
                self._socket.sendall(b"%d " % number)
                while len(self.heard) < len(self.said):
                    got = self._socket.recv(4096)
                    assert got, "the connection ended"
                    self.heard += got
                self.longest = max(self.longest, time.monotonic() - began)
        except Exception as e:
            self.problem = e

    def forget(self) -> None:
        """
        Measure anew.
        """
        self.longest = 0.0

    def finish(self) -> float:
        """
        @return: the longest time that an answer took.
        """
        self._done.set()
        self.join(60)
        assert self.problem is None
        assert self.heard == self.said
        return self.longest


def move(host, before: str, after: str) -> None:
    """
    Give a host another address in its network; the way out stays.
    """
    gate = after.rsplit(".", 1)[0] + ".1"
    for words in (
        f"addr del {before}/24 dev eth0",
        f"addr add {after}/24 dev eth0",
        f"route replace default via {gate} dev eth0",
    ):
        host.run(["ip", *words.split()], check=True)


@pytest.mark.timeout(120)
def test_anotherAddress(product):
    """
    A host gets another address in its network: the connection of a program lives
    on, over a direct path from the new address.
    """
    running = product(
        a=["--forward=tcp:7000=b/echo"], b=["--publish=echo=tcp:127.0.0.1:7"]
    )
    host = running.lab.hostA
    tool(running.lab.hostB, "echo", 7)
    talker = Talker(host, 7000)
    talker.start()
    running.whenPath("direct")
    before = host.address
    after = before.rsplit(".", 1)[0] + ".77"
    move(host, before, after)

    def moved() -> bool:
        session = running.session("a")
        assert session is not None
        path = session["path"]
        return path["kind"] == "direct" and path["local"].startswith(after)

    until = time.monotonic() + 30
    while not moved() and time.monotonic() < until:
        time.sleep(0.1)
    assert moved()
    print(f"longest answer {talker.finish():.2f} s")


@pytest.mark.timeout(180)
def test_aMinuteWithoutANetwork(product):
    """
    A host's cable is out for a minute: the connection of a program lives on.
    """
    running = product(
        a=["--forward=tcp:7000=b/echo"], b=["--publish=echo=tcp:127.0.0.1:7"]
    )
    host = running.lab.hostA
    tool(running.lab.hostB, "echo", 7)
    talker = Talker(host, 7000)
    talker._socket.settimeout(120)
    talker.start()
    running.whenPath("direct")
    before = host.address
    gate = before.rsplit(".", 1)[0] + ".1"
    host.run(["ip", "link", "set", "eth0", "down"], check=True)
    time.sleep(60)
    host.run(["ip", "link", "set", "eth0", "up"], check=True)
    host.run(
        ["ip", "route", "replace", "default", "via", gate, "dev", "eth0"], check=True
    )
    back = time.monotonic()
    running.whenPath("direct", timeout=30)
    print(f"direct again after {time.monotonic() - back:.2f} s")
    # It may have asked just before the minute, and hears just after it.
    assert 59 <= talker.finish() < 75
