"""
Two machines that know nothing of each other, and two people who can talk.
"""

from __future__ import annotations

import re
import subprocess

from punchd.testing.lab import waitFor
from punchd.testing.lab.product import PUNCHD, TWISTD
from tests.lab.tools import connect, echoed, tool


def test_pairing(makeLab, tmp_path):
    """
    A code that is read out makes them peers: at once for the client that runs on
    the one, for good on the other, until it is taken back.
    """
    from punchd.testing.lab.product import Product

    lab = makeLab("portrestricted", "portrestricted")
    running = Product(lab, tmp_path)
    try:
        url = running.startRendezvous()
        tv, laptop = lab.hostB, lab.hostA
        there, here = f"--state={tmp_path / 'tv'}", f"--state={tmp_path / 'laptop'}"
        running.processes["tv"] = tv.popen(
            [*TWISTD, "-n", "--pidfile=", "punch-client", f"--rendezvous={url}", there]
            + ["--publish=echo=tcp:127.0.0.1:7"],
            log=tmp_path / "tv.log",
            cwd=tmp_path,
        )
        tool(tv, "echo", 7)
        log = tmp_path / "tv.log"
        waitFor(lambda: log.exists() and "registered" in log.read_text(), 20, "the TV")

        invitation = tv.popen(
            [*PUNCHD, "invite", "echo", "--name=tv", there],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert invitation.stdout is not None
        code = invitation.stdout.readline().strip()
        assert re.fullmatch(r"\d+-[a-z]+-[a-z]+", code)
        accepted = laptop.run(
            [*PUNCHD, "accept", code, f"--rendezvous={url}", "--name=laptop", here],
            capture_output=True,
            timeout=60,
        )
        assert accepted.returncode == 0, accepted.stderr
        assert "You may use there: tv/echo" in accepted.stdout
        # The next command here needs no --rendezvous.
        assert (tmp_path / "laptop" / "rendezvous").read_text() == f"{url}\n"
        rest = invitation.stdout.read()
        assert invitation.wait(30) == 0
        assert "laptop may use here: echo" in rest
        assert url in rest

        running.processes["laptop"] = laptop.popen(
            [*TWISTD, "-n", "--pidfile=", "punch-client", f"--rendezvous={url}", here]
            + ["--forward=tcp:7000=tv/echo"],
            log=tmp_path / "laptop.log",
            cwd=tmp_path,
        )
        log = tmp_path / "laptop.log"
        waitFor(lambda: log.exists() and "registered" in log.read_text(), 20, "laptop")
        with connect(laptop, 7000) as sock:
            assert echoed(sock, b"hello") == b"hello"
            words = [*PUNCHD, "disallow", "laptop", there]
            assert tv.run(words, capture_output=True, timeout=60).returncode == 0
            sock.settimeout(20)
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
        listed = tv.run([*PUNCHD, "allow", there], capture_output=True, timeout=60)
        assert (listed.returncode, listed.stdout) == (0, "")
    finally:
        for name in ("tv", "laptop"):
            if name in running.processes:
                running.end(name)
        running.close()
