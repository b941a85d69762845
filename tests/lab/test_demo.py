"""
C{punchd demo} with real programs behind real NATs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """
    Where the demo puts its files; a short path, since sockets are among them.
    """
    made = Path(tempfile.mkdtemp(prefix="demo-"))
    yield made
    shutil.rmtree(made)


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "punchd", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
    )


def _left(session: int) -> list[str]:
    """
    The programs that still run in a session of the system.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if int(words[3]) == session and words[0] != "Z":
            found.append(command)
    return found


@pytest.mark.parametrize(
    ("kinds", "done", "path"),
    [
        ((), "through the hole that punchd made.", "direct (srflx, udp)"),
        (("symmetric", "symmetric"), "over the relay; no hole was found.", "relayed ("),
    ],
)
def testDemo(folder: Path, kinds: tuple[str, ...], done: str, path: str) -> None:
    """It does its job in kernel namespaces, and leaves nothing behind."""
    program = _start(folder, *kinds)
    out, err = program.communicate(timeout=50)
    assert (program.returncode, err) == (0, "")
    assert "in kernel network namespaces, which " in out
    assert f"\nDone: A and B talked {done}\n" in out
    assert f"\n  path        {path}" in out
    assert re.search(
        r"\n  bytes       20\.0 MB in .*, SHA-256 equal at both ends\n", out
    )
    assert _left(program.pid) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("toAll", [True, False])
def testInterrupted(folder: Path, toAll: bool) -> None:
    """Ctrl-C, which all programs get, and SIGTERM, which only the demo gets, end it
    without a word and with nothing left."""
    program = _start(folder)
    assert program.stdout is not None
    for line in program.stdout:
        if "dials B" in line:
            break
    if toAll:
        os.killpg(program.pid, signal.SIGINT)
    else:
        program.terminate()
    _, err = program.communicate(timeout=30)
    assert (program.returncode, err) == (130, "")
    assert _left(program.pid) == []
    assert list(folder.iterdir()) == []
