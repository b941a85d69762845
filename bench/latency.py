"""
One byte there and back: over a forward, and over the bare path between the same hosts.

    python -m bench.latency [COUNT] [DELAY]

In the kernel lab, between two hosts with public addresses; DELAY is in seconds one way,
0 by default, for then nothing hides what punchd adds.  Medians, and 95th percentiles.
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable

from punchd.testing.lab.product import Product

from .products import products

COUNT = 1000
PORT, FORWARD, PUBLIC = 9000, 9001, 9002
PACE = 0.002


def echo(kind: int, product: Product, host: str, port: int) -> socket.socket:
    """
    Give back whatever comes to a port of B.
    """
    sock = product.hosts["b"].socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))

    def datagrams() -> None:
        while True:
            data, source = sock.recvfrom(2048)
            sock.sendto(data, source)

    def talk(peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := peer.recv(2048):
            peer.sendall(data)

    def streams() -> None:
        while True:
            peer, _ = sock.accept()
            threading.Thread(target=talk, args=(peer,), daemon=True).start()

    if kind == socket.SOCK_STREAM:
        sock.listen()
    run: Callable[[], None] = streams if kind == socket.SOCK_STREAM else datagrams
    threading.Thread(target=run, daemon=True).start()
    return sock


def measure(
    kind: int, product: Product, host: str, port: int, count: int
) -> list[float]:
    """
    @return: milliseconds there and back, sorted.
    """
    found = []
    with product.hosts["a"].socket(socket.AF_INET, kind) as sock:
        sock.settimeout(5.0)
        sock.connect((host, port))
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count + 50):
            began = time.perf_counter()
            sock.send(b"x")
            sock.recv(16)
            if number >= 50:
                found.append(1000 * (time.perf_counter() - began))
            time.sleep(PACE)
    return sorted(found)


def main() -> None:
    """
    Print a line for each.
    """
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    with products("open", "open", start=False, delay=delay) as product:
        product.startClient(
            "b",
            f"--publish=tcp=tcp:127.0.0.1:{PORT}",
            f"--publish=udp=udp:127.0.0.1:{PORT}",
        )
        product.startClient(
            "a", f"--forward=tcp:{FORWARD}=b/tcp", f"--forward=udp:{FORWARD}=b/udp"
        )
        product.whenRegistered()
        public = product.lab.hostB.addresses[0]
        print(f"{'':12} {'bare path':>18} {'forward':>18} {'more':>9}")
        for name, kind in (("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM)):
            echo(kind, product, "127.0.0.1", PORT)
            echo(kind, product, public, PUBLIC)
            rows = [
                measure(kind, product, public, PUBLIC, count),
                measure(kind, product, "127.0.0.1", FORWARD, count),
            ]
            cells = [
                f"{statistics.median(row):8.3f} {row[int(0.95 * len(row))]:8.3f}"
                for row in rows
            ]
            more = statistics.median(rows[1]) - statistics.median(rows[0])
            print(f"{name + ', ms':12} {cells[0]:>18} {cells[1]:>18} {more:9.3f}")
        assert product.path("a") == "direct"


if __name__ == "__main__":
    main()
