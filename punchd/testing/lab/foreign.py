"""
Other people's flows through a NAT, in the namespace of its router.

    foreign.py HOST PORT RATE SEED

Each flow is one empty packet of a new socket to that place: the NAT gives it a
port as it does to flows from inside, which have the same way through its rules.
They come at random, C{RATE} a second on average.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from random import Random


def main(host: str, port: int, rate: float, seed: int) -> None:
    """
    Go on until we are killed.
    """
    random = Random(seed)
    due = time.monotonic()
    while True:
        due += random.expovariate(rate)
        time.sleep(max(0.0, due - time.monotonic()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            # The cable may be cut, or the table full.
            with suppress(OSError):
                sock.sendto(b"", (host, port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
