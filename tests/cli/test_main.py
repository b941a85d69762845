"""
C{punchd} as a whole: what is wrong is one sentence and exit status 1.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from twisted.python import usage

from punchd import __version__
from punchd.cli import main
from punchd.cli.main import COMMANDS, PunchdOptions, sentence
from punchd.identity import isPeerId

Capture = pytest.CaptureFixture[str]

BOB = "b" * 52
EVE = "e" * 52


@pytest.fixture
def state(tmp_path: Path) -> str:
    """The option that names a new state folder."""
    return f"--state={tmp_path / 'state'}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "no command was given; expected one of id, peers, status"),
        ("frob", "there is no command 'frob'; `punchd --help` lists them."),
        ("frobpair", "there is no command"),
        ("pingfrob", "there is no command 'pingfrob'; perhaps 'ping' is meant."),
        ("--frob", "option --frob not recognized."),
        ("id --frob", "option --frob not recognized."),
        ("id --state", "option --state requires argument."),
        ("id --state=", "--state=: expected a folder."),
        ("id extra", "expected no arguments, got extra."),
        ("peers frob", "Unknown command: frob."),
        ("peers list extra", "expected no arguments, got extra."),
        ("peers add bob", "expected NAME PEERID, got bob."),
        ("peers add bob x", "'x' is not a peer id; expected the 52 characters"),
        (f"peers add Bob {BOB}", "The name 'Bob' cannot be used; expected"),
        (f"peers add {EVE} {BOB}", f"The name '{EVE}' looks like a peer id."),
        ("peers remove bob", "No peer is named 'bob'"),
        ("peers rename bob", "expected OLD NEW, got bob."),
        ("peers rename bob robert", "No peer is named 'bob'"),
        ("why", "expected one PEER, a name or a peer id, and got 0."),
        ("why bob", "No peer is named 'bob'"),
        ("ping a b", "expected one PEER, a name or a peer id, and got 2."),
        ("ping --count=x bob", "--count=x: expected a number from 1 to 1000."),
        ("ping bob --count 1001", "--count=1001: expected a number from 1 to 1000."),
        ("ping bob", "No peer is named 'bob'"),
        ("status --state=/proc/nothing", "/proc/nothing: "),
        ("status extra", "expected no arguments, got extra."),
    ],
)
def testWrongInput(capsys: Capture, state: str, line: str, expected: str) -> None:
    """Each mistake is one sentence on stderr that names it, and status 1."""
    words = line.split()
    if words and "frob" not in line and "--state" not in line:
        words.append(state)
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("punchd: ")
    assert expected in err
    assert err.endswith(".\n")
    assert err.count("\n") == 1


def testIdIsAloneOnLastLine(capsys: Capture, state: str) -> None:
    """The peer id is alone on the last line, and the same each time."""
    assert main(["id", state]) == 0
    first = capsys.readouterr().out
    assert isPeerId(first.splitlines()[-1])
    assert main([state, "id"]) == 0
    assert capsys.readouterr().out == first


def testGarbageKey(capsys: Capture, tmp_path: Path) -> None:
    """A key file with garbage, or one that others can read, is one sentence."""
    key = tmp_path / "key.pem"
    key.write_text("garbage")
    key.chmod(0o600)
    assert main(["id", f"--state={tmp_path}"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"punchd: {key}: not a punchd key file; expected ")
    assert said.count("\n") == 1
    key.chmod(0o644)
    assert main(["id", f"--state={tmp_path}"]) == 1
    assert "mode 0644 lets others read the key" in capsys.readouterr().err


def testPeers(capsys: Capture, state: str) -> None:
    """Names can be added, listed, renamed and removed."""
    assert main(["peers", state]) == 0
    assert capsys.readouterr().out == ""
    assert main(["peers", "add", "eve", EVE, state]) == 0
    assert main(["peers", state, "add", "bob", BOB]) == 0
    assert main([state, "peers", "rename", "eve", "evelyn"]) == 0
    assert main(["peers", "list", state]) == 0
    assert capsys.readouterr().out == f"bob     {BOB}\nevelyn  {EVE}\n"
    assert main(["peers", "remove", "evelyn", state]) == 0
    assert main(["peers", state]) == 0
    assert capsys.readouterr().out == f"bob  {BOB}\n"


def testVersionAndHelp(capsys: Capture) -> None:
    """Version and help go to stdout, with status 0; help names every command."""
    for line in (["--version"], ["ping", "--version"], ["--help"], ["why", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(line)
        assert not caught.value.code
    out = capsys.readouterr().out
    assert out.startswith(f"punchd {__version__}\n" * 2)
    assert [row[0] for row in COMMANDS if f"    {row[0]} " not in out] == []
    assert "Usage: punchd why [--json] PEER\n" in out


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row[0])
def testCommandExists(row: tuple[str, str, str, str]) -> None:
    """Every command's class is where the table says."""
    (found,) = (r for r in PunchdOptions().subCommands if r[0] == row[0])
    assert isinstance(found[2](), usage.Options)


def testSentence() -> None:
    """An error becomes one line with a full stop."""
    assert sentence(ValueError("no\n  such thing")) == "no such thing."
    assert sentence(ValueError("really?")) == "really?"
    assert sentence(KeyboardInterrupt()) == "KeyboardInterrupt."


def testReaderThatStops(tmp_path: Path) -> None:
    """A pipe that is closed early makes no noise."""
    program = "import sys; from punchd.cli import main; sys.exit(main())"
    (tmp_path / "peers").write_text(
        "".join(f"n{number} {BOB}\n" for number in range(5000))
    )
    (tmp_path / "peers").chmod(0o600)
    command = f'"{sys.executable}" -c "{program}" peers --state="{tmp_path}" | head -1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == f"n0     {BOB}\n"
    assert done.stderr == ""
