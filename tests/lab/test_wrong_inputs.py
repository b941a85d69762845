"""
What a user gets wrong: one clear sentence on standard error, exit status 1, no
traceback.  The programs run as a user would start them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from punchd.services.state import StateFolder
from punchd.testing.lab.product import PUNCHD, TWISTD

from .starting import URL, startedRendezvous
from .tools import connect

#: What a sentence never holds, and no program prints beside it.
_UGLY = ("Traceback", "Error:", "Errno", "0x", "Usage:", "<", " b'")

_RENDEZVOUS = f"--rendezvous={URL}"


@pytest.fixture
def folder() -> Generator[Path, None, None]:
    """
    A folder for states, with a short path and a petname.
    """
    with tempfile.TemporaryDirectory(prefix="punchd-") as path:
        bob = StateFolder(str(Path(path, "bob"))).identity().peerId
        state = StateFolder(str(Path(path, "state")))
        state.identity()
        state.petnames.add("bob", bob)
        yield Path(path)


def _run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, cwd=cwd)


def _sentence(done: subprocess.CompletedProcess[str], program: str) -> str:
    """
    @return: the one sentence that a program has ended with.
    """
    said = done.stderr
    assert done.returncode == 1, (done.returncode, done.stdout[-2000:], said)
    assert said.startswith(f"{program}: "), said
    assert said.endswith(".\n")
    assert said.count("\n") == 1, said
    # Only errors of the log may repeat it on standard output.
    for ugly in _UGLY:
        assert ugly not in said
    assert "Traceback" not in done.stdout
    return said.removeprefix(f"{program}: ").strip()


def _client(folder: Path, *options: str, space: Sequence[str] = ()) -> str:
    words = ["punch-client", f"--state={folder / 'state'}", *options]
    done = _run(*space, *TWISTD, "-n", "--pidfile=", *words, cwd=folder)
    return _sentence(done, "punch-client")


def _rendezvous(folder: Path, *options: str, space: Sequence[str] = ()) -> str:
    words = ["punch-rendezvous", f"--state={folder / 'rendezvous'}", *options]
    done = _run(*space, *TWISTD, "-n", "--pidfile=", *words, cwd=folder)
    return _sentence(done, "punch-rendezvous")


def _punchd(folder: Path, *words: str) -> str:
    done = _run(*PUNCHD, *words, f"--state={folder / 'state'}")
    return _sentence(done, "punchd")


def _name(value: str | list[str]) -> str:
    return " ".join(value) or "none" if isinstance(value, list) else ""


# --- options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "--rendezvous is missing; expected the URL that punch-rendezvous"),
        (["--rendezvous=host"], "--rendezvous: 'host' is not the URL of a rendezvous"),
        (["--rendezvous=punch://h:70000"], "'70000' is not a port; expected punch://"),
        (["--rendezvous=punch://h#x"], "the part after # is not a fingerprint; expec"),
        ([_RENDEZVOUS, "--bogus=1"], "option --bogus not recognized; `twistd punch"),
        ([_RENDEZVOUS, "bob"], "expected options only, as --option=value, got bob."),
        ([_RENDEZVOUS, "--port=http"], "--port=http: expected a whole number from 0"),
        ([_RENDEZVOUS, "--path=any"], "--path=any: expected auto, direct or relay."),
        ([_RENDEZVOUS, "--forward=tcp:1"], "--forward=tcp:1: there is no '=' in it"),
        (
            [_RENDEZVOUS, "--forward=tcp:70000=bob/ssh"],
            "--forward=tcp:70000=bob/ssh: 70000 is not a port number; expected SERVER",
        ),
        (
            [_RENDEZVOUS, "--forward=tcp:1=bob"],
            "--forward=tcp:1=bob: 'bob' is not PEER/NAME; expected SERVER_ENDPOINT=",
        ),
        (
            [_RENDEZVOUS, "--forward=tcp:1=nobody/ssh"],
            "no peer is named 'nobody', and it is not a peer id; `punchd peers list`",
        ),
        ([_RENDEZVOUS, "--publish=ssh"], "--publish=ssh: there is no '=' in it; expec"),
        (
            [_RENDEZVOUS, "--publish=ssh=tpc:127.0.0.1:22"],
            "--publish=ssh=tpc:127.0.0.1:22: there is no type of endpoint 'tpc'; expe",
        ),
        (
            [_RENDEZVOUS, "--publish=ssh=tcp:127.0.0.1:http"],
            "'tcp:127.0.0.1:http' is no endpoint of type 'tcp'; expected NAME=CLIENT",
        ),
        ([_RENDEZVOUS, "--allow=bob/"], "--allow=bob/: '' cannot name a service"),
        ([_RENDEZVOUS, "--allow=nobody"], "--allow=nobody: no peer is named 'nobody'"),
        ([_RENDEZVOUS, "--state="], "--state=: expected a folder."),
    ],
    ids=_name,
)
def test_clientOptions(folder, options, expected):
    """
    A wrong option of the client is named, with its value and what was expected.
    """
    assert expected in _client(folder, *options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--listen=3478"], "--listen=3478: expected ADDR:PORT, ADDR:PORT/tcp or"),
        (["--listen=host:1"], "--listen=host:1: 'host' is not an address; expected"),
        (["--public=host"], "--public=host: 'host' is not an address; expected one"),
        (["--relay-ports=5-4"], "--relay-ports=5-4: expected LOW-HIGH, two ports"),
        (["--alternate-port=x"], "--alternate-port=x: expected a port, 1 to 65535."),
        (["--bogus"], "option --bogus not recognized; `twistd punch-rendezvous --he"),
        (["--certificate=/none"], "--certificate=/none: No such file or directory."),
    ],
    ids=_name,
)
def test_rendezvousOptions(folder, options, expected):
    """
    A wrong option of the rendezvous is named, with its value and what was expected.
    """
    assert expected in _rendezvous(folder, *options)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["ping", "nobody"],
            "No peer is named 'nobody', and it is not a peer id; `pun",
        ),
        (
            ["why", "nobody"],
            "No peer is named 'nobody', and it is not a peer id; `punc",
        ),
        (
            ["ping", "bob"],
            "start one with `twistd -n punch-client`, or name its folder",
        ),
        (["ping"], "expected one PEER, a name or a peer id, and got 0."),
        (["pong"], "there is no command 'pong'; perhaps 'ping'"),
        (["id", "--bogus"], "option --bogus not recognized."),
        (
            ["peers", "add", "x", "y"],
            "'y' is not a peer id; expected the 52 characters",
        ),
    ],
    ids=_name,
)
def test_punchd(folder, words, expected):
    """
    So is what is wrong with a C{punchd} command.
    """
    assert expected in _punchd(folder, *words)


# --- the state folder ------------------------------------------------------------


def test_stateFolder(folder):
    """
    A state folder that cannot be made, is a file, or is open to others, is named.
    """
    options = (_RENDEZVOUS, "--state=/proc/punchd")
    assert _client(folder, *options).startswith(
        "The state folder cannot be used: /proc/punchd: "
    )
    (folder / "file").touch()
    options = (_RENDEZVOUS, f"--state={folder / 'file'}")
    assert f"{folder / 'file'}: not a folder." in _client(folder, *options)
    (folder / "open").mkdir(mode=0o777)
    (folder / "open").chmod(0o777)
    options = (_RENDEZVOUS, f"--state={folder / 'open'}")
    assert "mode 0777 lets others replace the key" in _client(folder, *options)


def test_unwritableStateFolder(folder):
    """
    So is one that the user may not write to.
    """
    state = folder / "state"
    state.chmod(0o500)
    # Root may write everywhere, until this is taken from it.
    space = ("setpriv", "--bounding-set=-all") if os.geteuid() == 0 else ()
    said = _client(folder, _RENDEZVOUS, space=space)
    assert said == f"{state}: the state folder cannot be written to."


def test_lockedStateFolder(folder):
    """
    The process that has the folder is named.
    """
    state = StateFolder(str(folder / "state"))
    state.lock()
    try:
        said = _client(folder, _RENDEZVOUS)
    finally:
        state.close()
    assert f"{folder / 'state'}: in use by process {os.getpid()}; stop it" in said


def test_keyFile(folder):
    """
    A key file that others can read, or with garbage in it, is named with the remedy.
    """
    key = folder / "state" / "key.pem"
    key.chmod(0o644)
    said = _client(folder, _RENDEZVOUS)
    assert said.startswith(f"{key}: mode 0644 lets others read the key; expected 0600")
    key.write_bytes(os.urandom(500))
    key.chmod(0o600)
    said = _client(folder, _RENDEZVOUS)
    assert said.startswith(f"{key}: not a punchd key file; expected the one that")
    key.write_bytes(b"")
    assert _punchd(folder, "id").startswith(f"{key}: not a punchd key file; expected")


# --- ports and addresses -----------------------------------------------------------


def _taken(stack: ExitStack, kind: socket.SocketKind, host: str = "127.0.0.1") -> int:
    taken = stack.enter_context(socket.socket(socket.AF_INET, kind))
    taken.bind((host, 0))
    if kind == socket.SOCK_STREAM:
        taken.listen()
    port: int = taken.getsockname()[1]
    return port


def test_portsInUse(folder):
    """
    A port that somebody else has is named, with the option that chose it.
    """
    with ExitStack() as stack:
        stream = _taken(stack, socket.SOCK_STREAM)
        datagram = _taken(stack, socket.SOCK_DGRAM, "0.0.0.0")
        for port in (stream, datagram):
            said = _rendezvous(folder, f"--listen=127.0.0.1:{port}")
            assert f"Cannot listen on 127.0.0.1:{port}: Address already in use" in said
            assert "--listen=" in said
        said = _client(folder, _RENDEZVOUS, f"--port={datagram}")
        assert said.startswith(f"--port={datagram}: the UDP port cannot be opened: Add")
        said = _client(folder, _RENDEZVOUS, f"--forward=tcp:{stream}=bob/ssh")
        assert said.startswith(f"--forward=tcp:{stream}:interface=127.0.0.1=bob/ssh: c")
        assert "Address already in use" in said


def test_noPublicAddress(folder, makeLab):
    """
    A rendezvous behind a NAT wants to know its public address.
    """
    lab = makeLab("portrestricted", "portrestricted", delay=0)
    said = _rendezvous(folder, space=lab.hostA.enter)
    assert said.startswith("No address of this machine is public")
    assert "--public=ADDR" in said and "--listen=ADDR:PORT" in said


def test_fingerprint(folder):
    """
    A rendezvous that has another key than its URL says, or that nobody vouches for
    when the URL says none, ends the client.
    """
    with startedRendezvous(folder / "rendezvous") as started:
        host, _, real = started.url.partition("#")
        other = StateFolder(str(folder / "bob")).identity().peerId
        said = _client(folder, f"--rendezvous={host}#{other}")
        assert said.startswith(f"The rendezvous at 127.0.0.1 shows the key {real}, but")
        assert other in said
        said = _client(folder, f"--rendezvous={host}")
        assert "its URL names no fingerprint; expected --rendezvous=URL as" in said


# --- peers and services --------------------------------------------------------------


def test_services(product):
    """
    A user of a forward whose service is not published, whose program is down or
    whose peer is offline is disconnected at once, and the log says in a sentence
    which forward that was and why; C{punchd ping} says so, too.
    """
    nobody = "a" * 52
    expected = {
        7001: ("b/nothing", "The peer publishes no service of that name."),
        7002: ("b/down", "The program behind the service refused the connection."),
        7003: (f"{nobody}/x", "The peer is offline, unknown, or does not let you in."),
    }
    forwards = [f"--forward=tcp:{p}={name}" for p, (name, _) in expected.items()]
    running = product(a=forwards, b=["--publish=down=tcp:127.0.0.1:8"], delay=0)
    for port, (name, why) in expected.items():
        with connect(running.lab.hostA, port) as user:
            with pytest.raises(ConnectionResetError):
                user.recv(1)
        sentence = f"--forward=tcp:{port}:interface=127.0.0.1={name}: {why}"
        assert running.log("a").read_text().count(sentence) == 1

    said = _sentence(running.punchd("a", "ping", nobody), "punchd")
    assert said == "The peer is offline, unknown, or does not let you in."
    said = _sentence(running.punchd("a", "why", "nobody"), "punchd")
    assert said.startswith("No peer is named 'nobody'")
    # The session itself is well.
    assert running.punchd("a", "ping", "b", "--count=1").returncode == 0
