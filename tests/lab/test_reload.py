"""
Changing a running client.
"""

from __future__ import annotations

import signal
import socket

from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool


def _refused(space, port):
    with space.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_reload(product, tmp_path):
    """
    On SIGHUP forwards, publications and permissions become what the file says, and
    what stays the same is not disturbed; a file that cannot be used changes nothing.
    """
    files = {letter: tmp_path / f"{letter}.toml" for letter in "ab"}
    files["a"].write_text('forward = ["tcp:7000=b/echo", "tcp:7001=b/echo"]\n')
    files["b"].write_text('publish = ["echo=tcp:127.0.0.1:7"]\n')
    running = product(
        "portrestricted",
        "portrestricted",
        a=[f"--config={files['a']}"],
        b=[f"--config={files['b']}"],
    )
    lab = running.lab

    def reload(letter, text):
        before = running.log(letter).read_text()
        files[letter].write_text(text)
        running.processes[letter].send_signal(signal.SIGHUP)

        def said():
            new = running.log(letter).read_text()[len(before) :]
            return new if "holds now" in new or "Nothing was changed" in new else ""

        return waitFor(said, 20, "the reload")

    tool(lab.hostB, "echo", 7)
    with connect(lab.hostA, 7000) as sock:
        assert echoed(sock, b"one") == b"one"
        said = reload("a", 'forward = ["tcp:7000=b/echo", "tcp:7002=b/other"]\n')
        assert "--forward=tcp:7001" in said
        assert _refused(lab.hostA, 7001)
        assert echoed(sock, b"two") == b"two"
        reload("b", 'publish = ["other=tcp:127.0.0.1:7"]\n')
        with connect(lab.hostA, 7002) as other:
            assert echoed(other, b"three") == b"three"
        said = reload("a", 'forward = ["tcp:7000=nobody/echo"]\n')
        assert "No peer is named 'nobody'" in said or "no peer is named" in said
        said = reload("a", 'forwards = ["tcp:7000=b/echo"]\n')
        assert "there is no option 'forwards'; is it 'forward'?" in said
        said = reload("a", 'forward = ["tcp:7000=b/echo"]\nlinger = 1\n')
        assert "--linger takes a restart to change" in said
        assert echoed(sock, b"four") == b"four"
