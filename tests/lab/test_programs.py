"""
Programs that know nothing of punchd, through its forwards, between two hosts
behind NATs.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess

import pytest

from punchd.testing.lab import waitFor
from punchd.testing.lab.product import TWISTD
from tests.lab.openssh import OpenSSH
from tests.lab.tools import result, tool

#: Encryption costs, on a busy machine for long.
pytestmark = pytest.mark.timeout(180)

#: What scp copies, in bytes.
_LARGE = 100_000_000

_BOTH = [
    "--publish=ssh=tcp:127.0.0.1:2200",
    "--publish=echo=tcp:127.0.0.1:7",
    "--publish=www=tcp:127.0.0.1:8080",
]


@pytest.fixture
def pair(product):
    """
    Two hosts behind port-restricted NATs, each with forwards to the other's ssh
    (22), echo (7000) and web (80).
    """
    return product(
        **{
            letter: [
                *_BOTH,
                f"--forward=tcp:22={other}/ssh",
                f"--forward=tcp:7000={other}/echo",
                f"--forward=tcp:80={other}/www",
            ]
            for letter, other in (("a", "b"), ("b", "a"))
        }
    )


@pytest.fixture
def openssh(pair):
    """
    OpenSSH on both hosts of a pair.
    """
    if os.geteuid() != 0:
        pytest.skip("sshd has to run as root")
    return OpenSSH(pair)


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_scp(pair, openssh):
    """
    C{scp} of a large file each way, at the same time, arrives as it was and went by
    the direct path.
    """
    folder = pair.folder
    copies = {}
    for letter in "ab":
        with open(folder / f"from-{letter}", "wb") as file:
            for _ in range(100):
                file.write(random.randbytes(_LARGE // 100))
        words = folder / f"from-{letter}", f"127.0.0.1:{folder}/copy-{letter}"
        copies[letter] = pair.hosts[letter].popen(
            openssh.command("scp", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    for letter, copy in copies.items():
        said, _ = copy.communicate(timeout=150)
        assert (copy.returncode, said) == (0, b"")
        assert _digest(folder / f"copy-{letter}") == _digest(folder / f"from-{letter}")
    for letter in "ab":
        session = pair.session(letter)
        assert session["path"]["kind"] == "direct"
        assert session["bytesSent"] > _LARGE
        assert session["bytesReceived"] > _LARGE


def test_fiftyShells(pair, openssh):
    """
    Fifty ssh connections at once, half of them each way, through one session.
    """
    running = [
        (
            number,
            pair.hosts["ab"[number % 2]].popen(
                openssh.command("ssh", "127.0.0.1", f"cat; echo {number} is done"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ),
        )
        for number in range(50)
    ]
    # All are open before the first one is told to end.
    for number, process in running:
        process.stdin.write(f"hello {number}\n")
        process.stdin.flush()
    for number, process in running:
        assert process.stdout.readline() == f"hello {number}\n"
    for number, process in running:
        said, _ = process.communicate(timeout=30)
        assert (process.returncode, said) == (0, f"{number} is done\n")
    assert [len(pair.status(letter)["sessions"]) for letter in "ab"] == [1, 1]


def test_fiftyConnections(pair):
    """
    Fifty connections at once each get back what they sent.
    """
    tool(pair.lab.hostB, "echo", 7)
    found = result(tool(pair.lab.hostA, "ask", 7000, 50, 200_000))
    assert found == {"right": 50, "problems": []}
    pair.whenPath("direct")


def test_web(pair):
    """
    C{twistd web} serves a file through a forward to C{curl}.
    """
    page = pair.folder / "page.html"
    page.write_bytes(b"<p>through a hole</p>\n" * 10_000)
    pair.hosts["b"].popen(
        [
            *TWISTD,
            *("-n", "--pidfile=", "web", f"--path={pair.folder}"),
            "--listen=tcp:8080:interface=127.0.0.1",
        ],
        log=pair.log("web"),
        cwd=pair.folder,
    )
    waitFor(lambda: "starting on 8080" in pair.log("web").read_text(), 20, "the web")
    curl = ["curl", "-sS", "--fail", "--max-time", "30", "http://127.0.0.1/page.html"]
    done = pair.hosts["a"].run(curl, capture_output=True, text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == page.read_bytes()
