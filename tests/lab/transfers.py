"""
Bulk transfers between the hosts of a lab that a test can watch, slow down and
stop: both ends are threads of the test's process with sockets in the hosts.
"""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from pathlib import Path

from punchd.testing.lab import Namespace, waitFor

MB = 1_000_000

_CHUNK = 1 << 17


class Source(threading.Thread):
    """
    I connect to a port and give bytes.

    @ivar sent: how many bytes the socket has taken.
    @ivar problem: what ended me early.
    """

    def __init__(
        self,
        space: Namespace,
        port: int,
        size: int,
        *,
        rate: float = 0.0,
        last: int = 0,
    ) -> None:
        """
        @param rate: how many bytes a second to give at most.
        @param last: how many bytes to keep back until L{finish}.
        """
        super().__init__(daemon=True)
        self.sent = 0
        self.problem: OSError | None = None
        self.digest = hashlib.sha256()
        self._size, self._rate, self._last = size, rate, last
        self._finish = threading.Event()
        if not last:
            self._finish.set()
        self._socket = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.connect(("127.0.0.1", port))

    def run(self) -> None:
        made = random.Random(self._size)
        try:
            while self.sent < self._size:
                if self.sent >= self._size - self._last:
                    self._finish.wait()
                data = made.randbytes(min(_CHUNK, self._size - self.sent))
                self.digest.update(data)
                self._socket.sendall(data)
                self.sent += len(data)
                if self._rate:
                    time.sleep(len(data) / self._rate)
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as e:
            self.problem = e

    def finish(self) -> None:
        """
        Give the rest.
        """
        self._finish.set()


class Sink(threading.Thread):
    """
    I take one connection on a port, and what comes there.

    @ivar count: how many bytes have come.
    @ivar stall: the longest time in which nothing came, in seconds, while I
        wanted more.
    @ivar problem: what ended me early.
    """

    def __init__(self, space: Namespace, port: int) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.stall = 0.0
        self.problem: OSError | None = None
        self.digest = hashlib.sha256()
        self._going = threading.Event()
        self._going.set()
        self._socket = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen()

    def run(self) -> None:
        try:
            taken, _ = self._socket.accept()
            with taken:
                self._take(taken)
        except OSError as e:
            self.problem = e

    def _take(self, taken: socket.socket) -> None:
        while True:
            self._going.wait()
            asked = time.monotonic()
            data = taken.recv(_CHUNK)
            self.stall = max(self.stall, time.monotonic() - asked)
            if not data:
                return
            self.digest.update(data)
            self.count += len(data)

    def pause(self) -> None:
        """
        Take nothing more, after what is being taken.
        """
        self._going.clear()

    def resume(self) -> None:
        """
        Go on.
        """
        self._going.set()

    def whenHas(self, count: int, timeout: float = 60.0) -> None:
        """
        Wait for the first C{count} bytes.
        """
        waitFor(lambda: self.count >= count or self.problem, timeout, f"{count} bytes")
        assert self.problem is None, self.problem

    def takeStall(self) -> float:
        """
        @return: the longest stall since the last time, in seconds.
        """
        stall, self.stall = self.stall, 0.0
        return stall


def arrived(source: Source, sink: Sink, timeout: float) -> None:
    """
    Wait for the end, and see that all bytes came as they were given.
    """
    for thread in (source, sink):
        thread.join(timeout)
        assert not thread.is_alive(), f"{sink.count} of {source.sent} bytes came"
    assert source.problem is None
    assert sink.problem is None
    assert sink.count == source.sent
    assert sink.digest.digest() == source.digest.digest()


def resident(pid: int) -> int:
    """
    @return: the bytes of memory that a process has (VmRSS).
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


class Memory:
    """
    I watch how much memory processes use.
    """

    def __init__(self, **pids: int) -> None:
        """
        @param pids: the processes, by name.
        """
        self._pids = pids
        self._before = {name: resident(pid) for name, pid in pids.items()}

    def growth(self) -> dict[str, int]:
        """
        @return: how many bytes each has more than at the beginning.
        """
        return {
            name: resident(pid) - self._before[name] for name, pid in self._pids.items()
        }
