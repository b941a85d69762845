"""
Small programs for the hosts of a lab: C{python -m tests.lab.tools COMMAND ...}.

  - C{echo PORT} gives back what each connection says.
  - C{recv PORT} reads each connection to its end, then answers with one line:
    the number of bytes and their SHA-256.
  - C{send PORT SIZE [SEED]} sends that many bytes to C{recv}, and prints what it
    sent, what C{recv} says to that, and the seconds it took.
  - C{ask PORT COUNT SIZE} has COUNT connections to C{echo} open at once, each with
    its own bytes, and prints how many got back what they sent.

Servers print C{ready} when they listen; the others print one JSON object.
"""

from __future__ import annotations

import hashlib
import json
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from punchd.testing.lab import Namespace

_ROOT = Path(__file__).parents[2]

#: How much is read or made at a time.
_CHUNK = 1 << 18

#: How long nothing may happen on a connection, in seconds.
_SILENCE = 60.0


# --- for tests


def tool(space: Namespace, *words: object, **kwargs: Any) -> subprocess.Popen[str]:
    """
    Start one of the programs; a server listens when this returns.
    """
    process = space.python(
        *("-m", "tests.lab.tools", *map(str, words)),
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        **kwargs,
    )
    if words[0] in ("echo", "recv"):
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == "ready\n", f"{words}: {said!r}"
    return process


def result(process: subprocess.Popen[str], timeout: float = 60.0) -> dict[str, Any]:
    """
    @return: what one of the programs that are no servers has found.
    """
    said, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


def connect(space: Namespace, port: int) -> socket.socket:
    """
    Connect to a port of the namespace's own, from this process.
    """
    sock = space.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(_SILENCE)
    sock.connect(("127.0.0.1", port))
    return sock


def echoed(sock: socket.socket, data: bytes) -> bytes:
    """
    Send all of this, and receive as much.
    """
    view, got = memoryview(data), bytearray()
    while len(got) < len(data):
        readable, writable, _ = select.select(
            [sock], [sock] if view else [], [], _SILENCE
        )
        if not readable and not writable:
            raise TimeoutError(f"{len(got)} of {len(data)} bytes came back")
        if writable:
            view = view[sock.send(view[:65536]) :]
        if readable:
            if not (more := sock.recv(_CHUNK)):
                raise ConnectionError(f"it ended after {len(got)} bytes")
            got += more
    return bytes(got)


# --- the programs


def _serve(port: int, talk: Callable[[socket.socket], None]) -> None:
    def run(sock: socket.socket) -> None:
        with sock:
            sock.settimeout(None)
            try:
                talk(sock)
            except OSError as e:
                print(f"a connection broke: {e}", file=sys.stderr)

    with socket.create_server(("127.0.0.1", port), backlog=200) as listening:
        print("ready", flush=True)
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=run, args=(sock,), daemon=True).start()


def _echo(sock: socket.socket) -> None:
    while data := sock.recv(_CHUNK):
        sock.sendall(data)


def _recv(sock: socket.socket) -> None:
    count, digest = 0, hashlib.sha256()
    while data := sock.recv(_CHUNK):
        count += len(data)
        digest.update(data)
    sock.sendall(f"{count} {digest.hexdigest()}\n".encode())


def _made(size: int, seed: int) -> Iterator[bytes]:
    source = random.Random(seed)
    for start in range(0, size, _CHUNK):
        yield source.randbytes(min(_CHUNK, size - start))


def _send(port: int, size: int, seed: int = 0) -> dict[str, Any]:
    digest, began = hashlib.sha256(), time.monotonic()
    with socket.create_connection(("127.0.0.1", port), _SILENCE) as sock:
        for data in _made(size, seed):
            digest.update(data)
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("r") as answer:
            said = answer.read()
    return {
        "sent": f"{size} {digest.hexdigest()}\n",
        "received": said,
        "seconds": time.monotonic() - began,
    }


def _ask(port: int, count: int, size: int) -> dict[str, Any]:
    barrier = threading.Barrier(count)
    right, problems = [], []

    def run(number: int) -> None:
        data = random.Random(number).randbytes(size)
        try:
            with socket.create_connection(("127.0.0.1", port), _SILENCE) as sock:
                # All are open before any of them ends.
                first = echoed(sock, data[:1])
                barrier.wait(_SILENCE)
                back = first + echoed(sock, data[1:])
                sock.shutdown(socket.SHUT_WR)
                rest = sock.recv(1)
            if back == data and rest == b"":
                right.append(number)
            else:
                problems.append(f"{number}: other bytes came back")
        except (OSError, threading.BrokenBarrierError) as e:
            problems.append(f"{number}: {e!r}")

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"right": len(right), "problems": problems}


def main() -> None:
    """
    Run one of the programs.
    """
    command, *words = sys.argv[1:]
    numbers = [int(word) for word in words]
    if command == "echo":
        _serve(numbers[0], _echo)
    elif command == "recv":
        _serve(numbers[0], _recv)
    elif command == "send":
        print(json.dumps(_send(*numbers)))
    elif command == "ask":
        print(json.dumps(_ask(*numbers)))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
