"""
The whole product in a lab: C{twistd} processes on the rendezvous host and on
both hosts, as a user would start them.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from punchd.services.state import StateFolder

from .kinds import KINDS
from .lab import Lab
from .namespaces import Namespace, waitFor

#: C{twistd} of this very environment, wherever its scripts are.
TWISTD = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()",
]
PUNCHD = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'punchd'; from punchd.cli import main; sys.exit(main())",
]

#: Seconds in which a program has to be ready; three of them start at once on
#: what may be a busy machine.
START = 30.0

_URL = re.compile(r"punch://[^\s\"]+")


class Product:
    """
    A rendezvous and the clients C{"a"} and C{"b"} in a lab.  Each knows the
    other by its letter, as a petname, and allows it everything.

    @ivar lab: the lab.
    @ivar folder: where states and logs are.
    @ivar ids: the peer ids by letter.
    @ivar processes: what runs, by C{"rendezvous"}, C{"a"} and C{"b"}.
    """

    def __init__(self, lab: Lab, folder: Path, logger: str | None = None) -> None:
        """
        @param logger: the name of an observer factory, for C{twistd --logger}.
        """
        self.lab = lab
        self._twistd = [*TWISTD, "-n", "--pidfile="]
        if logger is not None:
            self._twistd.append(f"--logger={logger}")
        self.folder = folder
        self.hosts: dict[str, Namespace] = {
            "rendezvous": lab.spaces["rendezvous"],
            "a": lab.spaces["hostA"],
            "b": lab.spaces["hostB"],
        }
        self.states = {
            letter: StateFolder(str(folder / letter)) for letter in ("a", "b")
        }
        self.ids = {
            letter: state.identity().peerId for letter, state in self.states.items()
        }
        self.states["a"].petnames.add("b", self.ids["b"])
        self.states["b"].petnames.add("a", self.ids["a"])
        self.processes: dict[str, subprocess.Popen[Any]] = {}
        self.options: dict[str, tuple[str, ...]] = {}
        self.url = ""

    # --- programs

    def log(self, name: str) -> Path:
        """
        @return: the log of a program.
        """
        return self.folder / f"{name}.log"

    def _start(self, name: str, command: str, *options: str) -> None:
        self.options[name] = options
        self.processes[name] = self.hosts[name].popen(
            [*self._twistd, command, *options],
            log=self.log(name),
            cwd=self.folder,
        )

    def startRendezvous(self, *options: str) -> str:
        """
        @return: the URL that it has printed.
        """
        self.log("rendezvous").touch()
        before = len(self.log("rendezvous").read_text())
        state = f"--state={self.folder / 'rendezvous'}"
        self._start("rendezvous", "punch-rendezvous", state, *options)

        def ready() -> str | None:
            self._alive("rendezvous")
            found = _URL.findall(self.log("rendezvous").read_text()[before:])
            return found[-1] if found else None

        self.url = waitFor(ready, START, "the rendezvous")
        return self.url

    def startClient(self, letter: str, *options: str) -> None:
        """
        Start a client; see L{whenRegistered}.
        """
        other = "b" if letter == "a" else "a"
        self._start(
            letter,
            "punch-client",
            f"--rendezvous={self.url}",
            f"--state={self.folder / letter}",
            f"--allow={other}",
            *options,
        )

    def restart(self, name: str) -> None:
        """
        Start a program again with the options that it had.
        """
        options = self.options[name]
        if name == "rendezvous":
            self.startRendezvous(*options[1:])
        else:
            self._start(name, "punch-client", *options)

    def _alive(self, name: str) -> None:
        code = self.processes[name].poll()
        if code is not None:
            raise RuntimeError(
                f"{name} ended with {code}:\n{self.log(name).read_text()[-2000:]}"
            )

    def end(self, name: str, with_: signal.Signals = signal.SIGTERM) -> int:
        """
        End a program.

        @return: its exit status.
        """
        process = self.processes.pop(name)
        process.send_signal(with_)
        return process.wait(15)

    def close(self) -> None:
        """
        End all programs in good order.
        """
        for names in (("a", "b"), ("rendezvous",)):
            alive = [x for x in names if x in self.processes]
            alive = [x for x in alive if self.processes[x].poll() is None]
            for name in alive:
                self.processes[name].terminate()
            for name in alive:
                self.processes.pop(name).wait(15)
        for state in self.states.values():
            state.close()

    # --- what they say

    def ask(self, letter: str, command: str, **arguments: Any) -> Any:
        """
        Ask a running client over its control socket; those are in the file
        system, so it does not matter which namespace we are in.
        """
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(30)
            control.connect(self.states[letter].controlSocket())
            request = {"command": command, **arguments}
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile("rb") as answer:
                found = json.loads(answer.readline())
        if "error" in found:
            raise RuntimeError(str(found))
        return found["result"]

    def status(self, letter: str) -> dict[str, Any]:
        """
        @return: C{punchd status --json} of a client.
        """
        found: dict[str, Any] = self.ask(letter, "status")
        return found

    def session(self, letter: str) -> dict[str, Any] | None:
        """
        @return: the session of a client with the other, if there is one.
        """
        sessions = self.status(letter)["sessions"]
        return sessions[0] if sessions else None

    def path(self, letter: str) -> str | None:
        """
        @return: the kind of path that carries the session of a client.
        """
        session = self.session(letter)
        return None if session is None else session["path"]["kind"]

    def whenRegistered(self, *letters: str) -> None:
        """
        Wait until clients are registered and, where UDP passes, seen by the
        rendezvous.
        """
        for letter in letters or ("a", "b"):

            def seen(letter: str = letter) -> bool:
                self._alive(letter)
                try:
                    status = self.status(letter)
                except OSError:
                    return False
                udp = KINDS[self.lab.kinds["ab".index(letter)]].udp
                seen = bool(status["nat"]["publicAddresses"]) or not udp
                return status["rendezvous"]["connected"] and seen

            waitFor(seen, START, f"the registration of {letter}")
        # The nonces come back half a round trip after the addresses are known.
        time.sleep(0.2)

    def whenPath(self, kind: str, letter: str = "a", timeout: float = 20.0) -> None:
        """
        Wait until a kind of path carries the session of a client.
        """
        waitFor(lambda: self.path(letter) == kind, timeout, f"a {kind} path")

    def punchd(
        self, letter: str, *arguments: str, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        """
        Run C{punchd} beside a client.
        """
        words = [*arguments, f"--state={self.folder / letter}"]
        kwargs.setdefault("timeout", 60)
        return self.hosts[letter].run([*PUNCHD, *words], capture_output=True, **kwargs)
