"""
Datagrams a CPU-second through the UDP port, beside Twisted's own.

    python -m bench.udp [SECONDS]

A child echoes datagrams of 1200 bytes on loopback, with one of three ports: ours
with GSO and GRO, ours without, and Twisted's.  The parent keeps a window of
them in flight; its own work is not counted.  What passes through a core object
is measured too: the echo is a driver's then.  The three take turns; the first
round warms up and the median of the others is printed.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import sys
import time
from typing import Any

from punchd.core import Address, Datagram
from punchd.net import ancillary

SIZE = 1200
BURST = 50
IN_FLIGHT = 8 * BURST
ROUNDS = 4
PORTS = ("ours, GSO and GRO", "ours, plain", "Twisted's")


class Echo:
    """
    A core object that sends everything back.
    """

    def __init__(self) -> None:
        self.count = 0
        self._out: list[Datagram] = []

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        self.count += 1
        self._out.append(Datagram(data, local, remote))

    def timeReached(self, now: float) -> None:
        pass

    def takeDatagrams(self) -> list[Datagram]:
        taken, self._out = self._out, []
        return taken

    def takeEvents(self) -> tuple[()]:
        return ()

    def deadline(self) -> None:
        return None


def serve(kind: str, tell: Any) -> None:
    """
    Echo until SIGTERM, then tell datagrams and CPU seconds.
    """
    from twisted.internet import reactor as anyReactor
    from twisted.internet.protocol import DatagramProtocol

    from punchd.net.driver import Driver
    from punchd.net.udp import UDPPort

    reactor: Any = anyReactor
    core = Echo()
    started = time.process_time()
    if kind == PORTS[2]:

        class Protocol(DatagramProtocol):
            transport: Any

            def datagramReceived(self, data: bytes, address: Any) -> None:
                core.count += 1
                self.transport.write(data, address)

        number = reactor.listenUDP(0, Protocol(), "127.0.0.1").getHost().port
    else:
        port: UDPPort

        def send(datagrams: Any) -> None:
            port.sendMany(datagrams)

        driver = Driver(core, send, lambda event: None, reactor)
        port = UDPPort(reactor, driver, 4, "", 0, offload=kind == PORTS[0])
        number = port.getHost()[1]
    tell.write(f"{number}\n")
    tell.flush()
    reactor.addSystemEventTrigger(
        "before",
        "shutdown",
        lambda: tell.write(f"{core.count} {time.process_time() - started}\n"),
    )
    reactor.run()
    tell.flush()


def measure(kind: str, seconds: float) -> float:
    """
    @return: datagrams received and sent back, a CPU-second of the child.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "w") as tell:
            serve(kind, tell)
        os._exit(0)
    os.close(writing)
    with (
        os.fdopen(reading) as told,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        remote = ("127.0.0.1", int(told.readline()))
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)
        ancillary.coalesce(sock)
        ancillary.enlarge(sock, 4 << 20, 4 << 20)
        flood(sock, remote, time.monotonic() + seconds)
        os.kill(child, signal.SIGTERM)
        count, cpu = told.readline().split()
    os.waitpid(child, 0)
    return int(count) / float(cpu)


def flood(sock: socket.socket, remote: Address, end: float) -> None:
    """
    Keep the window full.
    """
    burst = [bytes(SIZE)] * BURST
    control = [ancillary.segmentControl(SIZE)]
    flying = 0
    while time.monotonic() < end:
        while flying + BURST <= IN_FLIGHT:
            sock.sendmsg(burst, control, 0, remote)
            flying += BURST
        try:
            flying -= len(sock.recv(1 << 16)) // SIZE
        except TimeoutError:
            # Some were lost.
            flying = 0


def main() -> None:
    """
    Print one line a port.
    """
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    rates: dict[str, list[float]] = {kind: [] for kind in PORTS}
    for _ in range(ROUNDS):
        for kind in PORTS:
            rates[kind].append(measure(kind, seconds))
    medians = {kind: statistics.median(rates[kind][1:]) for kind in PORTS}
    for kind in PORTS:
        ratio = medians[kind] / medians[PORTS[2]]
        print(f"{kind:20} {medians[kind]:>10,.0f} echoes/CPU-s {ratio:6.2f} x Twisted")


if __name__ == "__main__":
    main()
