"""
What the benchmarks in the kernel lab share: the whole product running in a lab,
small programs for its hosts, and arithmetic.

    python -m bench.products echo|sink PORT
    python -m bench.products source PORT BYTES

The programs are not measured, so they do as little as they can.  Servers print
C{ready}; C{source} prints the seconds from connect() until the sink has told
that it has everything.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from punchd.testing.lab import Lab, Namespace, waitFor, whyNot
from punchd.testing.lab.product import Product

#: Where B's program listens, and where A's users connect.
PROGRAM = 7
FORWARD = 7000

_ROOT = Path(__file__).parents[1]
_CHUNK = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


# --- the lab


@contextmanager
def products(
    kindA: str,
    kindB: str,
    *,
    start: bool = True,
    options: Sequence[str] = (),
    **lab: Any,
) -> Iterator[Product]:
    """
    The product in a lab; A forwards a port to a program of B.

    @param start: whether to start both clients.
    @param options: of both clients.
    @param lab: of L{Lab}.
    """
    reason = whyNot()
    if reason is not None:
        raise SystemExit(f"The kernel lab does not run here: {reason}")
    # A short path: the control socket's may have 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="punchd-"))
    try:
        with Lab(kindA, kindB, **lab) as built:
            product = Product(built, folder)
            try:
                product.startRendezvous()
                if start:
                    startClients(product, *options)
                yield product
            finally:
                product.close()
    finally:
        shutil.rmtree(folder)


def startClients(product: Product, *options: str) -> None:
    """
    Start both clients, and wait until the rendezvous knows them.
    """
    program = f"--publish=program=tcp:127.0.0.1:{PROGRAM}"
    product.startClient("b", program, *options)
    product.startClient("a", f"--forward=tcp:{FORWARD}=b/program", *options)
    product.whenRegistered()


def tool(space: Namespace, *words: object) -> subprocess.Popen[str]:
    """
    Start one of the programs below; a server listens when this returns.
    """
    process = space.python(
        *("-m", "bench.products", *map(str, words)),
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    if words[0] != "source":
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return process


def transfer(space: Namespace, port: int, count: int, timeout: float) -> float:
    """
    Send C{count} bytes through a port of C{space}'s own to a sink.

    @return: the seconds that it took.
    """
    said, _ = tool(space, "source", port, count).communicate(timeout=timeout)
    return float(said)


def firstByte(space: Namespace, port: int, timeout: float) -> float | None:
    """
    @return: seconds from connect() to the first byte that came back, L{None}
        when none did in time.
    """
    with space.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        began = time.monotonic()
        try:
            sock.connect(("127.0.0.1", port))
            sock.sendall(b"x")
            if sock.recv(1) != b"x":
                return None
        except OSError:
            return None
        return time.monotonic() - began


def whenNoSession(product: Product, timeout: float = 30.0) -> None:
    """
    Wait until neither client has a session.
    """
    for letter in ("a", "b"):

        def gone(letter: str = letter) -> bool:
            return product.session(letter) is None

        waitFor(gone, timeout, "the sessions' end")


# --- arithmetic


def cpuSeconds(pid: int) -> float:
    """
    @return: CPU seconds that a process has used, with all its threads, in the
        kernel too.
    """
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


def family(pid: int) -> list[int]:
    """
    @return: the process and all that descend from it.
    """
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def distribution(seconds: Sequence[float], rtt: float) -> str:
    """
    @param rtt: one round trip between the hosts, in seconds.

    @return: least, median, 95th percentile and most, in milliseconds and in
        round trips.
    """
    ordered = sorted(seconds)
    ninety = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    points = (ordered[0], statistics.median(ordered), ninety, ordered[-1])
    ms = " ".join(f"{1000 * each:7.1f}" for each in points)
    trips = " ".join(f"{each / rtt:6.2f}" for each in points)
    return f"{ms}  {trips}"


# --- the programs


def _serve(port: int, echo: bool) -> None:
    def run(sock: socket.socket) -> None:
        buffer = memoryview(bytearray(_CHUNK))
        with sock, suppress(OSError):
            while count := sock.recv_into(buffer):
                if echo:
                    sock.sendall(buffer[:count])
            if not echo:
                sock.sendall(b"!")

    with socket.create_server(("127.0.0.1", port), backlog=200) as listening:
        print("ready", flush=True)
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=run, args=(sock,), daemon=True).start()


def _source(port: int, count: int) -> float:
    data = memoryview(os.urandom(_CHUNK))
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        while count > 0:
            sock.sendall(data[: min(count, _CHUNK)])
            count -= _CHUNK
        sock.shutdown(socket.SHUT_WR)
        if sock.recv(1) != b"!":
            raise SystemExit("the sink has not got everything")
    return time.monotonic() - began


def main() -> None:
    """
    Run one of the programs.
    """
    command, *words = sys.argv[1:]
    numbers = [int(word) for word in words]
    if command == "source" and len(numbers) == 2:
        print(_source(*numbers))
    elif command in ("echo", "sink") and len(numbers) == 1:
        _serve(numbers[0], command == "echo")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
