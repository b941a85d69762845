"""
The state folder.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from punchd.errors import KeyFileError, StateError
from punchd.services.state import MAX_SOCKET_PATH, StateFolder, defaultPath

_HOLDER = """
import sys
from punchd.services.state import StateFolder
folder = StateFolder(sys.argv[1])
folder.lock()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A new state folder, two levels below what exists."""
    return StateFolder(str(tmp_path / "a" / "state"))


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def testFolderIsPrivate(folder: StateFolder) -> None:
    """The folder is made with mode 0700, and opening it again is fine."""
    assert _mode(folder.path) == 0o700
    assert StateFolder(folder.path).path == folder.path
    # Such as a client's folder, when the one in it came first.
    assert _mode(os.path.dirname(folder.path)) == 0o700


def testDefaultIsThePlatforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path, the folder lies where the platform keeps state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert StateFolder().path == defaultPath()
    assert Path(defaultPath()).is_relative_to(tmp_path)


def testFileInTheWay(tmp_path: Path) -> None:
    """A file where the folder should be is one clear sentence."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match=r"state: not a folder\.$"):
        StateFolder(str(tmp_path / "state"))


def testFolderThatCannotBeMade(tmp_path: Path) -> None:
    """So is a parent that is no folder, and one where nothing may be made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"file/state: Not a directory\.$"):
        StateFolder(str(tmp_path / "file" / "state"))
    with pytest.raises(StateError, match=r"/proc/punchd: "):
        StateFolder("/proc/punchd")


def testUnwritableFolder(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may be read only is refused at once."""
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(StateError, match=r"cannot be written to\.$"):
        StateFolder(folder.path)


def testFolderOpenToOthers(folder: StateFolder) -> None:
    """A folder in which others may write is refused, with the cure."""
    os.chmod(folder.path, 0o777)
    with pytest.raises(StateError, match=f"mode 0777 .*chmod 700 {folder.path}"):
        StateFolder(folder.path)


def testIdentityIsMadeOnce(folder: StateFolder) -> None:
    """The key is made on first use, mode 0600, and stays."""
    first = folder.identity()
    assert _mode(folder.file("key.pem")) == 0o600
    assert StateFolder(folder.path).identity().peerId == first.peerId


def testGarbageKey(folder: StateFolder) -> None:
    """A key file with garbage in it is an error of the key file."""
    folder.write("key.pem", b"garbage")
    with pytest.raises(KeyFileError, match="not a punchd key file"):
        folder.identity()


def testWriteReplacesAtOnce(folder: StateFolder) -> None:
    """A written file is private, complete, and leaves nothing beside it."""
    folder.write("url", b"one")
    folder.write("url", b"two")
    assert folder.read("url") == b"two"
    assert _mode(folder.file("url")) == 0o600
    assert os.listdir(folder.path) == ["url"]


def testReadNothing(folder: StateFolder) -> None:
    """A file that is not there reads as None; a folder is an error."""
    assert folder.read("url") is None
    os.mkdir(folder.file("url"))
    with pytest.raises(StateError, match="url: Is a directory"):
        folder.read("url")
    with pytest.raises(StateError, match="url: Is a directory"):
        folder.write("url", b"")


# --- the lock ---


def testSecondHolderIsRefused(folder: StateFolder) -> None:
    """While one holds the lock, another is told who does."""
    folder.lock()
    folder.lock()
    with pytest.raises(StateError) as caught:
        StateFolder(folder.path).lock()
    assert f"in use by process {os.getpid()};" in str(caught.value)
    folder.close()


def testClosedLockIsFree(folder: StateFolder) -> None:
    """After close, also a second one, the lock can be had again."""
    folder.lock()
    folder.close()
    folder.close()
    other = StateFolder(folder.path)
    other.lock()
    with pytest.raises(StateError, match="in use"):
        folder.lock()
    other.close()


def testLockEndsWithItsProcess(folder: StateFolder) -> None:
    """A killed process leaves no lock behind."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, folder.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=f"in use by process {holder.pid};"):
            folder.lock()
        holder.kill()
    folder.lock()
    folder.close()


# --- the control socket ---


def testControlSocketInFolder(tmp_path: Path) -> None:
    """The socket lies in the folder where its path is short enough."""
    folder = StateFolder(str(tmp_path))
    assert len(folder.file("control")) <= MAX_SOCKET_PATH
    assert folder.prepareControlSocket() == folder.file("control")
    assert folder.controlSocket() == folder.file("control")


def testStaleSocketIsRemoved(tmp_path: Path) -> None:
    """A socket that a killed process left is taken out of the way."""
    folder = StateFolder(str(tmp_path))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(folder.prepareControlSocket())
    assert os.path.exists(folder.controlSocket())
    assert not os.path.exists(folder.prepareControlSocket())


def testLongPathMovesSocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long path puts the socket into a private folder that others find again."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    folder = StateFolder(str(tmp_path / ("d" * 100)))
    path = folder.prepareControlSocket()
    assert len(path) <= MAX_SOCKET_PATH
    assert Path(path).parent == runtime / "punchd"
    assert _mode(os.path.dirname(path)) == 0o700
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert StateFolder(folder.path).controlSocket() == path


def testForeignRuntimeFolderIsAvoided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime folder that others can enter, or a link, holds no socket of ours."""
    (tmp_path / "run" / "punchd").mkdir(parents=True)
    os.chmod(tmp_path / "run" / "punchd", 0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"punchd-{os.geteuid()}").symlink_to(tmp_path / "run")
    folder = StateFolder(str(tmp_path / ("d" * 100)))
    path = folder.prepareControlSocket()
    assert os.path.dirname(path) == f"/tmp/punchd-{os.geteuid()}"


def testNoPlaceForSocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no private folder can be made, the cure is named."""
    monkeypatch.setattr("punchd.services.state._isPrivate", lambda folder: False)
    folder = StateFolder(str(tmp_path / ("d" * 100)))
    with pytest.raises(StateError, match="shorter path with --state"):
        folder.prepareControlSocket()


def testControlSocketOfNobody(tmp_path: Path) -> None:
    """Where no client ever ran, there is still a path to name."""
    folder = StateFolder(str(tmp_path / ("d" * 100)))
    assert folder.controlSocket() == folder.file("control")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_filesOfRoot(tmp_path: Path) -> None:
    """
    What root does in the folder of a service's user leaves files that this user can
    read; a file with a second name elsewhere stays whose it is.
    """
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    folder = StateFolder(str(path))
    folder.identity()
    folder.petnames.add("bob", "b" * 52)
    owners = {each.name: each.stat().st_uid for each in path.iterdir()}
    assert owners == dict.fromkeys(("key.pem", "peers", "mutex"), 65534)
    (tmp_path / "other").touch()
    os.link(tmp_path / "other", path / "lock")
    folder.lock()
    assert (tmp_path / "other").stat().st_uid == 0
    folder.close()
