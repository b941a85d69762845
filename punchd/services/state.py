"""
The state folder: the key, the petnames, the lock, and the way to the control
socket.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress

import platformdirs

from punchd.errors import StateError
from punchd.identity import Identity, load

from .permissions import PermissionFile
from .petnames import Petnames

#: C{sun_path} has 108 bytes on Linux and 104 on macOS and BSD, with a null byte.
MAX_SOCKET_PATH = 103


def defaultPath() -> str:
    """
    @return: where this platform keeps a program's state of this user.
    """
    return platformdirs.user_state_dir("punchd", appauthor=False)


class StateFolder:
    """
    I am a folder that only its user can look into, and know what lies where.

    @ivar path: the absolute path of the folder.
    @ivar petnames: the names of peers.
    @ivar permissions: what they may use, beside what C{--allow} says.
    """

    def __init__(self, path: str | None = None) -> None:
        """
        Make the folder unless it exists.

        @param path: the folder, or L{None} for the platform's default.

        @raise StateError: it cannot be made or used.
        """
        self.path = os.path.abspath(os.path.expanduser(path or defaultPath()))
        self._lock: int | None = None
        self._make()
        self.petnames = Petnames(self.file("peers"), self.write, self.mutex)
        self.permissions = PermissionFile(self.file("allowed"), self.write, self.mutex)

    def _make(self) -> None:
        try:
            _makePrivate(self.path)
            found = os.stat(self.path)
        except OSError as e:
            error = _stateError(self.path, e)
            raise StateError(f"The state folder cannot be used: {error}") from e
        if not stat.S_ISDIR(found.st_mode):
            raise StateError(
                f"The state folder cannot be used: {self.path}: not a folder."
            )
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o022:
            raise StateError(
                f"{self.path}: mode {mode:04o} lets others replace the key; "
                f"expected 0700 (chmod 700 {self.path})."
            )
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise StateError(f"{self.path}: the state folder cannot be written to.")

    # --- files ---

    def file(self, name: str) -> str:
        """
        @return: the path of a file in the folder.
        """
        return os.path.join(self.path, name)

    def write(self, name: str, content: bytes) -> None:
        """
        Replace the content of a file of the folder at once, mode 0600.

        @raise StateError: it cannot be written.
        """
        temporary = self.file(f".{name}.{os.getpid()}.new")
        try:
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
            )
            with os.fdopen(descriptor, "wb") as file:
                self._give(descriptor)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.file(name))
        except OSError as e:
            raise _stateError(self.file(name), e) from e

    def read(self, name: str, limit: int = 1 << 20) -> bytes | None:
        """
        @param limit: how many bytes to read at most.

        @return: the content of a file of the folder, L{None} without it.

        @raise StateError: it cannot be read.
        """
        try:
            with open(self.file(name), "rb") as file:
                return file.read(limit)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise _stateError(self.file(name), e) from e

    @contextmanager
    def mutex(self) -> Generator[None, None, None]:
        """
        Keep other processes from changing small files, for milliseconds.
        """
        descriptor = self._openLock("mutex")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # --- the lock: one process an identity ---

    def lock(self) -> None:
        """
        Claim the identity for this process until L{close}, or until it ends.

        @raise StateError: another process has it.
        """
        if self._lock is not None:
            return
        descriptor = self._openLock("lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if e.errno not in (errno.EAGAIN, errno.EACCES):
                raise _stateError(self.file("lock"), e) from e
            by = f"process {holder}" if holder.isdigit() else "another process"
            raise StateError(
                f"{self.path}: in use by {by}; stop it, or give this one "
                "a folder of its own with --state."
            ) from e
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock = descriptor

    def close(self) -> None:
        """
        Release the lock, if it is held.
        """
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def _openLock(self, name: str) -> int:
        try:
            descriptor = os.open(
                self.file(name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
            )
            self._give(descriptor)
        except OSError as e:
            raise _stateError(self.file(name), e) from e
        return descriptor

    def _give(self, descriptor: int) -> None:
        """
        Let a file that root has made belong to the folder's user: the client, which
        runs as that one, has to read it.
        """
        folder, file = os.stat(self.path), os.fstat(descriptor)
        # With a second name it may be a file from elsewhere.
        if os.geteuid() == 0 and file.st_uid != folder.st_uid and file.st_nlink == 1:
            os.fchown(descriptor, folder.st_uid, folder.st_gid)

    # --- who we are, and whom we know ---

    def identity(self) -> Identity:
        """
        @return: the identity in C{key.pem}, made on first use.

        @raise punchd.errors.KeyFileError: the file cannot be used.
        """
        # Two processes at once must not make two keys.
        with self.mutex():
            identity = load(self.file("key.pem"))
            with suppress(OSError):
                file = os.open(self.file("key.pem"), os.O_RDONLY | os.O_NOFOLLOW)
                self._give(file)
                os.close(file)
            return identity

    def resolve(self, text: str) -> str:
        """
        @see: L{Petnames.resolve}.
        """
        return self.petnames.resolve(text)

    # --- the control socket ---

    def prepareControlSocket(self) -> str:
        """
        For the process that holds the lock: make way for its control socket.

        @return: the path to listen at; no socket is left there.

        @raise StateError: there is no place for it.
        """
        path = self.file("control")
        if not _fits(path):
            path = self._shortSocketPath()
            self.write("control.path", os.fsencode(path))
        try:
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise StateError(f"{path}: in the way of the control socket.")
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as e:
            raise _stateError(path, e) from e
        return path

    def controlSocket(self) -> str:
        """
        @return: where the running client listens, if one runs.
        """
        path = self.file("control")
        if _fits(path):
            return path
        return os.fsdecode(self.read("control.path", 4096) or os.fsencode(path))

    def _shortSocketPath(self) -> str:
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:20]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        candidates = [
            os.path.join(runtime, "punchd") if runtime else "",
            os.path.join(tempfile.gettempdir(), f"punchd-{os.geteuid()}"),
            f"/tmp/punchd-{os.geteuid()}",
        ]
        for folder in candidates:
            path = os.path.join(folder, name)
            if folder and _fits(path) and _isPrivate(folder):
                return path
        raise StateError(
            f"{self.path}: the path is too long for a control socket, and no "
            "private folder with a shorter one could be made; "
            "choose a shorter path with --state."
        )


def _makePrivate(path: str) -> None:
    """
    Make a folder and what is missing above it, all with mode 0700.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        if os.path.dirname(path) == path:
            raise
        _makePrivate(os.path.dirname(path))
        os.mkdir(path, 0o700)


def _fits(path: str) -> bool:
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH


def _isPrivate(folder: str) -> bool:
    """
    Make C{folder} unless it exists; say whether it is ours alone.
    """
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # Not following links: /tmp is everybody's.
        found = os.lstat(folder)
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & 0o077
    )


def _stateError(path: str, error: OSError) -> StateError:
    return StateError(f"{path}: {error.strerror}.")
