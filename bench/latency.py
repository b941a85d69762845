"""
One byte there and back: over a forward, over the bare path between the same hosts, and
over a bare chain TCP - qh3 - qh3 - TCP in Twisted, L{bench.chain}.

    python -m bench.latency [COUNT] [DELAY]

In the kernel lab, between two hosts with public addresses; DELAY is in seconds one way,
0 by default, for then nothing hides what punchd adds.  Medians, and 95th percentiles;
the contenders take turns.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from punchd.testing.lab.product import Product

from .products import products

COUNT = 1000
PORT, FORWARD, PUBLIC = 9000, 9001, 9002
CHAIN, QUIC = 9003, 9004
PACE = 0.002
#: Turns of each contender.
TURNS = 10
#: What is not counted at the beginning of each.
WARM = 20


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
    @return: milliseconds there and back.
    """
    found = []
    with product.hosts["a"].socket(socket.AF_INET, kind) as sock:
        sock.settimeout(5.0)
        sock.connect((host, port))
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count + WARM):
            began = time.perf_counter()
            sock.send(b"x")
            sock.recv(16)
            if number >= WARM:
                found.append(1000 * (time.perf_counter() - began))
            time.sleep(PACE)
    return found


def chain(product: Product) -> None:
    """
    Start a bare chain from a port of A to the program of B.
    """
    far, near = product.hosts["b"], product.hosts["a"]
    for space, words in (
        (far, ("far", QUIC, PORT)),
        (near, ("near", CHAIN, far.address, QUIC)),
    ):
        process = space.python(
            *("-m", "bench.chain", *map(str, words)),
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("The chain does not come up.")


def cells(rows: dict[str, list[float]]) -> str:
    """
    @return: a column for each.
    """
    found = []
    for row in rows.values():
        row.sort()
        found.append(f"{statistics.median(row):8.3f} {row[int(0.95 * len(row))]:8.3f}")
    return " ".join(f"{each:>18}" for each in found)


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
        public = product.hosts["b"].address
        print(f"{'':8} {'bare path':>18} {'forward':>18} {'chain':>18}     added")
        for name, kind in (("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM)):
            echo(kind, product, "127.0.0.1", PORT)
            echo(kind, product, public, PUBLIC)
            ways = {"bare": (public, PUBLIC), "forward": ("127.0.0.1", FORWARD)}
            if name == "TCP":
                chain(product)
                ways["chain"] = ("127.0.0.1", CHAIN)
            rows: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(TURNS):
                for way, where in ways.items():
                    rows[way] += measure(kind, product, *where, count // TURNS)
            line = f"{name + ', ms':8} {cells(rows)}"
            bare, *others = (statistics.median(row) for row in rows.values())
            added = [each - bare for each in others]
            line += f"     {added[0]:.3f}"
            if len(added) > 1:
                line += f" = {added[0] / added[1]:.2f} x {added[1]:.3f}"
            print(line, flush=True)
        assert product.path("a") == "direct"


if __name__ == "__main__":
    main()
