"""
Completion and manual pages, made of the commands themselves.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from punchd.cli.completion import bash
from punchd.cli.describe import punchd, services
from punchd.cli.main import COMMANDS, main
from punchd.cli.manual import PAGES, pages

_COMPLETE = """
{script}
compopt() {{ :; }}
punchd() {{ echo "bob   b64"; echo "carol c64"; }}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_punchd
printf "%s\\n" "${{COMPREPLY[@]}}"
"""


def completed(*words: str) -> list[str]:
    """
    @return: what bash offers for the last of the words.
    """
    line = " ".join(f"'{word}'" for word in words)
    script = _COMPLETE.format(script=bash(), words=line)
    with tempfile.TemporaryDirectory() as empty:
        ran = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            check=True,
            cwd=empty,
        )
    assert ran.stderr == ""
    return ran.stdout.split()


def test_commands() -> None:
    """
    All commands are offered, and theirs.
    """
    assert {row[0] for row in COMMANDS} <= set(completed("punchd", ""))
    assert set(completed("punchd", "pe")) == {"peers"}
    assert {"add", "list"} <= set(completed("/usr/bin/punchd", "peers", ""))


def test_options() -> None:
    """
    The options of a command are offered, with an equals sign where a value follows.
    """
    assert completed("punchd", "status", "--j") == ["--json"]
    assert completed("punchd", "connect", "--ti") == ["--timeout="]
    assert "--publish=" in completed("twistd", "-n", "punch-client", "--pub")
    assert completed("twistd", "--pub") == []


def test_peers() -> None:
    """
    Where a peer is expected, petnames are offered.
    """
    assert set(completed("punchd", "why", "")) >= {"bob", "carol"}
    assert completed("punchd", "ping", "c") == ["carol"]


def test_zsh(capsys: pytest.CaptureFixture[str]) -> None:
    """
    zsh asks the command itself, which answers for each of its words.
    """
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef punchd\n")
    words = ["status", "--", "--_shell-completion", "zsh:3"]
    ran = subprocess.run(
        [sys.executable, "-m", "punchd", *words], capture_output=True, text=True
    )
    assert ran.stdout.startswith("#compdef")
    assert "--json" in ran.stdout


def test_noShell(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Another shell is one sentence.
    """
    assert main(["completion", "fish"]) == 1
    assert capsys.readouterr().err == "punchd: expected bash or zsh.\n"


def test_manual(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The pages have every command and every option, and roff finds no fault.
    """
    assert main(["manual", str(tmp_path / "man1")]) == 0
    written = {path.name: path.read_text() for path in (tmp_path / "man1").iterdir()}
    assert written == pages()
    assert set(written) == set(PAGES)
    for name, top in zip(PAGES, (punchd(), *services()), strict=True):
        for command in top.walk():
            for option in command.options:
                assert option.name.replace("-", "\\-") in written[name]
    for row in COMMANDS:
        assert f"punchd {row[0]}" in written["punchd.1"]
    if shutil.which("groff"):
        for text in written.values():
            ran = subprocess.run(
                ["groff", "-man", "-ww", "-Tascii", "-z"],
                input=text,
                capture_output=True,
                text=True,
            )
            assert (ran.returncode, ran.stderr) == (0, "")


def test_manualElsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A folder that cannot be is one sentence.
    """
    assert main(["manual", "/dev/null/x"]) == 1
    assert capsys.readouterr().err == "punchd: /dev/null/x: Not a directory.\n"


def test_everythingSaysWhatItIs() -> None:
    """
    No command and no option is without a word.
    """
    for top in (punchd(), *services()):
        for command in top.walk():
            assert command.summary
            silent = [option.name for option in command.options if not option.text]
            assert silent == []
    assert io.StringIO(bash()).readline().startswith("# bash")
