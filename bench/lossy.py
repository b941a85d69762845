"""
One TCP forward over a long path that loses packets, beside kernel TCP over the same
path, with each congestion control that the kernel has.

    python -m bench.lossy [MEGABYTES] [DELAY_MS] [LOSS_PERCENT]

20 megabytes, 50 ms one way and 1 % by default, between two hosts with public addresses
in the kernel lab.  qh3 has no choice of congestion control; it takes a loss as
Reno does or milder, so that the ratio to C{reno} and to C{cubic} says most.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

from punchd.testing.lab import Namespace

from .products import products

_SINK, _FORWARD = 9000, 9001
_CONTROLS = ("reno", "cubic")
_CHUNK = 1 << 16


def _sink(space: Namespace) -> None:
    """
    Take what comes to a port, and say when all of it has.
    """
    listener = space.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", _SINK))
    listener.listen()

    def serve() -> None:
        while True:
            taken, _ = listener.accept()
            while taken.recv(_CHUNK):
                pass
            taken.sendall(b"x")
            taken.close()

    threading.Thread(target=serve, daemon=True).start()


def _send(
    space: Namespace, address: tuple[str, int], size: int, control: str | None
) -> float:
    """
    @return: megabytes a second, until the other side has it all.
    """
    with space.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        if control is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
        sock.connect(address)
        began = time.monotonic()
        data = bytes(_CHUNK)
        for _ in range(size // _CHUNK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
        return size / (time.monotonic() - began) / 1e6


def main(megabytes: int, delay: float, loss: float) -> None:
    """
    Run it.
    """
    size = megabytes * 1_000_000
    with products("open", "open", start=False, delay=delay, loss=loss) as running:
        lab = running.lab
        _sink(lab.hostB)
        running.startClient("a", f"--forward=tcp:{_FORWARD}=b/sink")
        running.startClient("b", f"--publish=sink=tcp:127.0.0.1:{_SINK}")
        running.whenRegistered()
        _send(lab.hostA, ("127.0.0.1", _FORWARD), 100_000, None)
        for letter in "ab":
            running.whenPath("direct", letter)
        ours = _send(lab.hostA, ("127.0.0.1", _FORWARD), size, None)
        print(f"{2000 * delay:.0f} ms, {loss:g} % loss: punchd {ours:.2f} MB/s")
        for control in _CONTROLS:
            address = (lab.hostB.address, _SINK)
            rate = _send(lab.hostA, address, size, control)
            print(f"{control:8} {rate:6.2f} MB/s   punchd is {ours / rate:.2f} of it")
        session = running.session("a")
        print("path:", session and (session["path"]["kind"], session["pathChanges"]))


if __name__ == "__main__":
    words = [float(word) for word in sys.argv[1:]]
    words += (20.0, 50.0, 1.0)[len(words) :]
    main(int(words[0]), words[1] / 1000, words[2])
