"""
A client that is killed, and perhaps started again: what the other one notices.
"""

from __future__ import annotations

import signal
import socket
import time

import pytest

from punchd.testing.lab import waitFor

from .tools import connect, echoed, tool

_RESTARTED = "ended: The peer was started anew and knows nothing of this session."
_LEFT = "ended: The peer left the rendezvous, and no path to it works any more."


@pytest.fixture
def pair(product):
    """
    B publishes an echo and what listens on port 9000; A forwards to both.
    """
    running = product(
        a=["--forward=tcp:7000=b/echo", "--forward=tcp:9000=b/other"],
        b=["--publish=echo=tcp:127.0.0.1:7", "--publish=other=tcp:127.0.0.1:9000"],
    )
    tool(running.lab.hostB, "echo", 7)
    return running


def _open(running, count=1):
    """
    @return: connections through the forward, in use, with a direct path.
    """
    socks = [connect(running.lab.hostA, 7000) for _ in range(count)]
    for sock in socks:
        assert echoed(sock, b"hello") == b"hello"
    for letter in "ab":
        running.whenPath("direct", letter)
    return socks


def _broken(sock, timeout):
    """
    Wait until a connection breaks; a clean end would look as if all had come.

    @return: after how many seconds.
    """
    began = time.monotonic()
    sock.settimeout(timeout)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    return time.monotonic() - began


def _logged(pair, letter, words):
    """
    Wait until a client has logged something: it may do so just after what it is about.
    """
    waitFor(lambda: words in pair.log(letter).read_text(), 20, words)


def test_publisherRestarted(pair, record_property):
    """
    When the publisher is killed and started again, streams break as soon as its
    next incarnation answers, for a reason that is logged, and the next dial works.
    """
    socks = _open(pair, 3)
    assert pair.end("b", signal.SIGKILL) == -signal.SIGKILL
    pair.restart("b")
    pair.whenRegistered("b")
    took = max(_broken(sock, 25) for sock in socks)
    print(f"broken {took:.1f} s after the restart")
    record_property("seconds", took)
    _logged(pair, "a", _RESTARTED)
    assert _LEFT not in pair.log("a").read_text()
    _open(pair)


def test_diallerRestarted(pair):
    """
    When the dialler is killed and started again, the published program's
    connections break as soon as its next incarnation dials.
    """
    with pair.lab.hostB.socket(kind=socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 9000))
        listening.listen()
        listening.settimeout(20)
        user = connect(pair.lab.hostA, 9000)
        user.sendall(b"hello")
        program, _ = listening.accept()
    with program:
        assert program.recv(5) == b"hello"
        pair.whenPath("direct", "b")
        assert pair.end("a", signal.SIGKILL) == -signal.SIGKILL
        pair.restart("a")
        pair.whenRegistered("a")
        _open(pair)
        _broken(program, 10)
    _logged(pair, "b", _RESTARTED)


@pytest.mark.timeout(120)
def test_publisherGone(pair, record_property):
    """
    When the publisher is killed and stays away, streams break after half a minute
    without any path, since the rendezvous saw it go; a dial after that fails at
    once, and works when it is back.
    """
    (sock,) = _open(pair)
    assert pair.end("b", signal.SIGKILL) == -signal.SIGKILL
    took = _broken(sock, 60)
    print(f"broken {took:.1f} s after the end")
    record_property("seconds", took)
    assert took > 25, "that was no patience"
    _logged(pair, "a", _LEFT)

    _broken(connect(pair.lab.hostA, 7000), 10)
    done = pair.punchd("a", "ping", "b")
    assert done.returncode == 1
    said = "punchd: The peer is offline, unknown, or does not let you in.\n"
    assert done.stderr == said

    pair.restart("b")
    pair.whenRegistered("b")
    _open(pair)


def test_bothKilled(pair):
    """
    After both were killed at once, a dial of either works.
    """
    _open(pair)
    for letter in "ab":
        assert pair.end(letter, signal.SIGKILL) == -signal.SIGKILL
    for letter in "ab":
        pair.restart(letter)
    pair.whenRegistered()
    _open(pair)
    done = pair.punchd("b", "ping", "a", "--count=1")
    assert done.returncode == 0, done.stderr
