"""
Network namespaces without a name, and how to run programs in them.
"""

from __future__ import annotations

import atexit
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

#: Set for every program that runs in a lab: the lab's name.
MARK = "PUNCHD_LAB"

_HERE = Path(__file__).parent
_TIMEOUT = 20.0


class LabError(Exception):
    """
    The lab could not be built, or does not do what was asked.
    """


@lru_cache
def program(name: str) -> str:
    """
    Find a program, also where only root's PATH leads.

    @raise LabError: when there is none.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise LabError(f"the program {name!r} is not installed")
    return found


def ask(control: socket.socket, request: Mapping[str, Any] | None) -> dict[str, Any]:
    """
    Send a request to a helper process and wait for the answer.
    """
    return _ask(control, request)[0]


def _ask(
    control: socket.socket, request: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[int]]:
    try:
        if request is not None:
            control.send(json.dumps(request).encode())
        packet, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
    except OSError as e:
        raise LabError(f"a helper of the lab does not answer: {e}") from e
    if not packet:
        raise LabError("a helper of the lab is gone")
    answer = json.loads(packet)
    if "error" in answer:
        raise LabError(answer["error"])
    return answer, descriptors


def startHelper(
    prefix: Sequence[str], script: str, *arguments: str
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """
    Start one of the programs beside this file; it says when it is ready.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_TIMEOUT)
    number = theirs.fileno()
    interpreter = [sys.executable, "-I", "-S", str(_HERE / script)]
    with theirs:
        process = subprocess.Popen(
            [*prefix, *interpreter, str(number), *arguments],
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
        )
    return process, ours


class Keeper:
    """
    I own the process that holds a lab's namespaces.

    @ivar name: of the lab: the pid of its owner, and a count.
    """

    _count = 0

    def __init__(self) -> None:
        Keeper._count += 1
        self.owner = os.getpid()
        self.name = f"{self.owner}-{Keeper._count}"
        self.asRoot = os.geteuid() == 0
        self._process, self._control = startHelper(
            [], "keeper.py", "root" if self.asRoot else "user"
        )
        atexit.register(self.close)
        try:
            ask(self._control, None)
        except BaseException:
            self.close()
            raise

    def make(self, count: int, sysctls: Mapping[str, str]) -> list[int]:
        """
        Make namespaces.

        @return: their numbers, to be used with the other methods.
        """
        request = {"do": "make", "count": count, "sysctls": sysctls}
        spaces: list[int] = ask(self._control, request)["spaces"]
        return spaces

    def sysctl(self, space: int, values: Mapping[str, str]) -> None:
        """
        Change settings of a namespace.
        """
        ask(self._control, {"do": "sysctl", "space": space, "values": values})

    def socket(
        self, space: int, family: int, kind: int, protocol: int
    ) -> socket.socket:
        """
        Open a socket inside of a namespace, for use in this process.
        """
        request = {"do": "socket", "space": space}
        request |= {"family": family, "kind": kind, "protocol": protocol}
        return socket.socket(fileno=_ask(self._control, request)[1][0])

    def path(self, space: int) -> str:
        """
        @return: a path that names the namespace to C{ip} and C{nsenter}.
        """
        return f"/proc/{self._process.pid}/fd/{space}"

    def enter(self, space: int) -> list[str]:
        """
        @return: the words before a command that is to run inside.
        """
        words = [program("nsenter"), f"--net={self.path(space)}"]
        if not self.asRoot:
            words += [f"--user=/proc/{self._process.pid}/ns/user"]
            words += ["--preserve-credentials"]
        return [*words, "--"]

    def sweep(self, patience: float) -> None:
        """
        End what runs in the namespaces: politely, then after this many seconds
        for good.
        """
        ask(self._control, {"do": "sweep", "patience": patience})

    def close(self) -> None:
        """
        Let the namespaces go.
        """
        # A forked child has inherited this object, but not the lab.
        if os.getpid() != self.owner or self._control.fileno() < 0:
            return
        atexit.unregister(self.close)
        self._control.close()
        try:
            self._process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Namespace:
    """
    I am one host or router of the lab.

    @ivar addresses: my own addresses, IPv4 first.
    @ivar public: the addresses that others see.
    @ivar enter: the words before a command that is to run in me.
    @ivar environment: of the programs that run in me.
    """

    def __init__(
        self,
        keeper: Keeper,
        space: int,
        name: str,
        addresses: Sequence[str] = (),
        public: Sequence[str] = (),
    ) -> None:
        self._keeper = keeper
        self._space = space
        self.name = name
        self.addresses = list(addresses)
        self.public = list(public)
        self.enter = keeper.enter(space)
        self.path = keeper.path(space)
        self.processes: list[subprocess.Popen[Any]] = []
        self.sockets: list[socket.socket] = []
        # The same interpreter, and the scripts beside it.
        scripts = str(Path(sys.executable).parent)
        paths = os.environ.get("PATH", os.defpath)
        self.environment = {**os.environ, MARK: keeper.name}
        self.environment["PATH"] = os.pathsep.join([scripts, paths, "/usr/sbin"])

    def __repr__(self) -> str:
        return f"<{self.name} {' '.join(self.addresses)}>"

    @property
    def address(self) -> str:
        """
        My first own address.
        """
        return self.addresses[0]

    def run(
        self, args: Sequence[str], **kwargs: Any
    ) -> subprocess.CompletedProcess[Any]:
        """
        As L{subprocess.run}, in me.  Text, unless C{text} says otherwise.
        """
        kwargs.setdefault("env", self.environment)
        kwargs.setdefault("text", True)
        return subprocess.run([*self.enter, *args], **kwargs)

    def popen(
        self, args: Sequence[str], *, log: Path | str | None = None, **kwargs: Any
    ) -> subprocess.Popen[Any]:
        """
        As L{subprocess.Popen}, in me: the pid is the program's own.  It is ended
        with the lab.

        @param log: append output and errors to this file.
        """
        kwargs.setdefault("env", self.environment)
        file: IO[bytes] | None = None
        if log is not None:
            file = open(log, "ab")  # noqa: SIM115
            kwargs |= {"stdout": file, "stderr": subprocess.STDOUT}
            kwargs.setdefault("stdin", subprocess.DEVNULL)
        try:
            process = subprocess.Popen([*self.enter, *args], **kwargs)
        finally:
            if file is not None:
                file.close()
        self.processes.append(process)
        return process

    def python(self, *args: str, **kwargs: Any) -> subprocess.Popen[Any]:
        """
        Start this interpreter in me, as by L{popen}.
        """
        return self.popen([sys.executable, *args], **kwargs)

    def socket(
        self,
        family: int = socket.AF_INET,
        kind: int = socket.SOCK_DGRAM,
        protocol: int = 0,
    ) -> socket.socket:
        """
        Open a socket in me that this process can use.  It is closed with the lab.
        """
        opened = self._keeper.socket(self._space, family, kind, protocol)
        self.sockets.append(opened)
        return opened

    def sysctl(self, values: Mapping[str, str]) -> None:
        """
        Change my kernel settings, named with dots.
        """
        self._keeper.sysctl(self._space, values)

    def __str__(self) -> str:
        return shlex.join(self.enter)


def waitFor(predicate: Callable[[], Any], timeout: float = 30.0, what: str = "") -> Any:
    """
    Wait until the predicate gives something true, and return that.

    @param timeout: seconds.
    @raise TimeoutError: when it does not.
    """
    until = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout:g} s in vain for {what or predicate}")
        time.sleep(0.01)
    return value


def removeStale() -> list[int]:
    """
    End programs of labs whose owners are dead.  Only needed after a keeper was
    killed, too: without it, nothing else remains of a lab.

    @return: the pids.
    """
    ended = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            name, _, value = variable.decode(errors="replace").partition("=")
            owner = value.partition("-")[0]
            if name == MARK and owner.isdigit() and not Path("/proc", owner).exists():
                try:
                    os.kill(int(entry.name), 9)
                except OSError:
                    continue
                ended.append(int(entry.name))
    return ended
