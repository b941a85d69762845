"""
Options in a file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from punchd.tap.client import Options
from punchd.tap.rendezvous import Options as RendezvousOptions

FILE = """
rendezvous = "punch://203.0.113.10"
publish = ["ssh=tcp:127.0.0.1:22", "dns=udp:127.0.0.1:53"]
allow = ["bob/ssh"]
port = 4000
linger = 2.5
no-spray = true
no-portmap = false
"""


def parsed(path: Path, text: str, *words: str) -> Options:
    """
    @return: the options of a command line that names a file with this text.
    """
    path.write_text(text)
    options = Options()
    options.parseOptions([f"--config={path}", *words])
    return options


def test_everything(tmp_path: Path) -> None:
    """
    Text, numbers, lists and flags are as if they stood on the command line.
    """
    options = parsed(tmp_path / "c.toml", FILE)
    assert [str(url) for url in options.urls] == ["punch://203.0.113.10:3478,443"]
    assert options.publish == ["ssh=tcp:127.0.0.1:22", "dns=udp:127.0.0.1:53"]
    assert [str(rule) for rule in options.allow] == ["--allow=bob/ssh"]
    assert (options["port"], options["linger"]) == (4000, 2.5)
    assert options["no-spray"]
    assert not options["no-portmap"]


def test_theCommandLineWins(tmp_path: Path) -> None:
    """
    What is said on the command line replaces what the file says of that option,
    lists too; the rest of the file holds.
    """
    words = ["--port=5000", "--publish=web=tcp:127.0.0.1:80"]
    options = parsed(tmp_path / "c.toml", FILE, *words)
    assert options["port"] == 5000
    assert options.publish == ["web=tcp:127.0.0.1:80"]
    assert options["linger"] == 2.5


def test_rendezvous(tmp_path: Path) -> None:
    """
    The other command takes a file, too.
    """
    path = tmp_path / "c.toml"
    path.write_text('relay-ports = "50000-50100"\nno-relay = true\n')
    options = RendezvousOptions()
    options.parseOptions([f"--config={path}"])
    assert options["no-relay"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("port = ", "not TOML: Invalid value (at end of document)."),
        ('prot = "x"', "there is no option 'prot'; is it 'port'?"),
        ('zzz = "x"', "there is no option 'zzz'."),
        ('config = "x"', "there is no option 'config'"),
        ("port = true", "port = True: expected text or a number"),
        ("no-spray = 1", "no-spray = 1: expected true or false."),
        ("[publish]\nssh = 1", "publish = {'ssh': 1}: expected text or a number"),
        ("port = -1", "--port=-1: expected a whole number from 0 to 65535."),
    ],
)
def test_mistakes(tmp_path: Path, text: str, why: str) -> None:
    """
    What cannot be used is one sentence.
    """
    with pytest.raises(SystemExit) as caught:
        parsed(tmp_path / "c.toml", text, "--rendezvous=punch://203.0.113.10")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_noFile(tmp_path: Path) -> None:
    """
    A file that is not there is one sentence.
    """
    options = Options()
    with pytest.raises(SystemExit, match="no.toml: No such file or directory"):
        options.parseOptions([f"--config={tmp_path / 'no.toml'}"])
