"""
What supervisors start and are told.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from punchd.tap.rendezvous import Options as RendezvousOptions
from punchd.tap.supervision import notify

UNITS = Path(__file__).parents[2] / "docs" / "systemd"


def test_notify(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    The supervisor is told at its socket, where there is one.
    """
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        notify("READY=1")
        sock.settimeout(5)
        assert sock.recv(100) == b"READY=1"
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1234")
    notify("READY=1")


@pytest.mark.parametrize("name", ["punch-rendezvous", "punch-client"])
def test_units(name: str, tmp_path: Path) -> None:
    """
    systemd understands the units.
    """
    text = (UNITS / f"{name}.service").read_text()
    assert f" {name} " in text
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    unit = tmp_path / f"{name}.service"
    unit.write_text(text.replace("/opt/punchd/bin/twistd", sys.executable))
    verified = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
    )
    # It may have something to say of other units.
    ours = [line for line in verified.stderr.splitlines() if name in line]
    assert (verified.returncode, ours) == (0, [])


@pytest.mark.parametrize("value", ["-1", "soon", "1e9", "3601", ""])
def test_badDrain(value: str) -> None:
    """
    What is no time to wait is one sentence.
    """
    options = RendezvousOptions()
    with pytest.raises(SystemExit) as ended:
        options.parseOptions([f"--drain={value}"])
    assert str(ended.value) == (
        f"punch-rendezvous: --drain={value}: expected seconds, 0 to 3600."
    )
