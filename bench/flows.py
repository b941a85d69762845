"""
Bytes for a time instead of a number of them: one TCP connection that a sink watches,
through a forward of ours or between the hosts themselves.

    python -m bench.flows sink PORT
    python -m bench.flows source HOST PORT SECONDS [CONTROL]

The sink prints C{ready}, and a line of JSON for each connection that has ended: the
bytes that came in each tenth of a second.  C{CONTROL} is the source's congestion
control.  These are processes of their own, lest they wait for each other.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from punchd.testing.lab import Namespace
from punchd.testing.lab.product import Product

from .products import cpuSeconds

#: Where B's program listens, and where A's users connect.
SINK, FORWARD = 9000, 9001
#: Seconds of one figure of the sink's.
SLOT = 0.1

_CHUNK = 1 << 18
#: Seconds after which the source looks at the time, and the sink believes that no more
#: is to come.
_WAKE = 0.5
_SILENCE = 10.0
_ROOT = Path(__file__).parents[1]
_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def controls() -> list[str]:
    """
    @return: the congestion controls that kernel TCP has here.
    """
    return _AVAILABLE.read_text().split()


@dataclass(frozen=True)
class Flow:
    """
    What became of one connection.

    @ivar slots: bytes that came in each L{SLOT} since the first.
    @ivar cpu: CPU seconds that A's and B's clients used meanwhile.
    """

    slots: Sequence[int]
    cpu: tuple[float, ...]

    def rate(self, since: float = 0.0) -> float:
        """
        @param since: which part of the time is left out at the beginning.

        @return: bytes a second.
        """
        rest = self.slots[int(len(self.slots) * since) :]
        return sum(rest) / len(rest) / SLOT

    def reached(self, rate: float) -> float | None:
        """
        @return: the seconds until a slot first had that rate, L{None} when none had.
        """
        first = (i for i, n in enumerate(self.slots, 1) if n >= rate * SLOT)
        slot = next(first, None)
        return None if slot is None else slot * SLOT


class Flows:
    """
    I send from A to B.
    """

    def __init__(self, product: Product, path: str) -> None:
        """
        @param product: neither client of which is started.
        @param path: what both clients are told to use.
        """
        self._product = product
        hostB = product.lab.hostB
        self._sink = _program(hostB, "sink", SINK)
        assert self._sink.stdout is not None
        assert self._sink.stdout.readline() == "ready\n"
        option = f"--path={path}"
        product.startClient("a", f"--forward=tcp:{FORWARD}=b/sink", option)
        product.startClient("b", f"--publish=sink=tcp:127.0.0.1:{SINK}", option)
        product.whenRegistered()
        self.send(None, 0.1)
        product.whenPath("relayed" if path == "relay" else "direct")

    def send(self, control: str | None, seconds: float) -> Flow:
        """
        @param control: the kernel's congestion control, L{None} for our forward.
        """
        lab = self._product.lab
        words: list[object] = ["127.0.0.1", FORWARD, seconds]
        if control is not None:
            words = [lab.hostB.address, SINK, seconds, control]
        roots = [self._product.processes[name].pid for name in ("a", "b")]
        before = list(map(cpuSeconds, roots))
        _program(lab.hostA, "source", *words).wait()
        assert self._sink.stdout is not None
        slots = json.loads(self._sink.stdout.readline())
        after = map(cpuSeconds, roots)
        cpu = (now - then for now, then in zip(after, before, strict=True))
        return Flow(slots, tuple(cpu))


def _program(space: Namespace, *words: object) -> subprocess.Popen[str]:
    arguments = ["-m", "bench.flows", *map(str, words)]
    return space.python(*arguments, cwd=_ROOT, stdout=subprocess.PIPE, text=True)


# --- the programs


def _serve(port: int) -> None:
    buffer = bytearray(_CHUNK)
    with socket.create_server(("0.0.0.0", port)) as listening:
        print("ready", flush=True)
        while True:
            taken, _ = listening.accept()
            slots = [0]
            began = time.monotonic()
            taken.settimeout(_SILENCE)
            # The source ends with a reset, which may get lost.
            with taken, suppress(ConnectionResetError, TimeoutError):
                while count := taken.recv_into(buffer):
                    slot = int((time.monotonic() - began) / SLOT)
                    slots.extend([0] * (slot + 1 - len(slots)))
                    slots[slot] += count
            print(json.dumps(slots), flush=True)


def _source(host: str, port: int, seconds: float, control: str | None) -> None:
    with socket.socket() as sock:
        if control is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
        sock.connect((host, port))
        sock.settimeout(_WAKE)
        until = time.monotonic() + seconds
        data = bytes(_CHUNK)
        while time.monotonic() < until:
            with suppress(TimeoutError):
                sock.send(data)
        # What did not get away stays here.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))


def main() -> None:
    """
    Run one of the programs.
    """
    command, *words = sys.argv[1:]
    if command == "sink" and len(words) == 1:
        _serve(int(words[0]))
    elif command == "source" and len(words) in (3, 4):
        _source(words[0], int(words[1]), float(words[2]), [*words, None][3])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
