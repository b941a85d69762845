"""
Other systems that get through NATs, on the same pairs in the same lab.

A peer is two processes that speak JSON lines: each prints what the other has to
know of it, reads the same of the other, and tells C{{"connected": true}} or
C{{"direct": true}} with the C{"seconds"} since.  What they need beside is on the
lab's public host.  Those that cannot be had on this machine say why in a sentence.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from punchd.testing.lab import Lab, Namespace
from punchd.testing.lab.product import Product
from punchd.testing.trial import Outcome

HERE = Path(__file__).parent
SERVER, OTHER = "203.0.113.10", "203.0.113.11"
STUN, RELAY, DHT = 3478, 3340, 49737
#: Seconds in which a program has to say its first word.
START = 20.0
#: Seconds to load packages from the registry.
INSTALL = 180.0


class Talk:
    """
    A process that speaks JSON lines.
    """

    def __init__(self, space: Namespace, command: Sequence[str], log: Path) -> None:
        environment = {**space.environment, "NODE_PATH": str(modules())}
        with log.open("ab") as errors:
            self.process = space.popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                bufsize=0,
                text=False,
            )
        self._log = log
        self._rest = b""

    def line(self, timeout: float) -> dict[str, Any] | None:
        """
        @return: what it says next, L{None} if nothing in time or ever.
        """
        out = self.process.stdout
        assert out is not None
        until = time.monotonic() + timeout
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                return None
            data = os.read(out.fileno(), 65536)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line))

    def first(self) -> dict[str, Any]:
        """
        @return: its first word.

        @raise RuntimeError: there is none.
        """
        said = self.line(START)
        if said is None:
            raise RuntimeError(f"it said nothing: {self._log.read_text()[-2000:]}")
        return said

    def tell(self, what: dict[str, Any]) -> None:
        """
        Say a line.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")


@dataclass(frozen=True)
class Peer:
    """
    @ivar name: of the system.
    @ivar whyNot: says in a sentence why it cannot be had here, or L{None}.
    @ivar command: of the process of side C{"a"}, which dials, or C{"b"}; its
        further argument is the host's public address.
    @ivar serve: starts what the public host needs; its result is kept.
    @ivar both: whether it takes both sides to be through.
    """

    name: str
    whyNot: Callable[[], str | None]
    command: Sequence[str]
    serve: Callable[[Lab, Path], object]
    both: bool = field(default=False)

    def dial(self, lab: Lab, folder: Path, patience: float) -> Outcome:
        """
        Try once in a lab that is open.

        @raise RuntimeError: it does not even start.
        """
        kept = self.serve(lab, folder)
        try:
            return self._dial(lab, folder, patience)
        finally:
            if isinstance(kept, Product):
                kept.close()

    def _dial(self, lab: Lab, folder: Path, patience: float) -> Outcome:
        sides = {
            side: Talk(
                space, [*self.command, side, space.public[0]], folder / f"{side}.log"
            )
            for side, space in (("b", lab.hostB), ("a", lab.hostA))
        }
        hellos = {side: talk.first() for side, talk in sides.items()}
        sides["b"].tell(hellos["a"])
        sides["a"].tell(hellos["b"])
        until = time.monotonic() + patience
        connected = False
        seconds: list[float] = []
        for talk in sides.values() if self.both else [sides["a"]]:
            while (left := until - time.monotonic()) > 0:
                said = talk.line(left)
                if said is None:
                    break
                connected = connected or bool(said.get("connected"))
                if said.get("direct"):
                    seconds.append(said["seconds"])
                    break
        direct = len(seconds) == (2 if self.both else 1)
        path = "direct" if direct else "relayed" if connected else None
        return Outcome(
            connected=connected or direct,
            path=path,
            seconds=max(seconds) if direct else None,
        )


# --- what there is


def modules() -> Path:
    """
    @return: where the packages of node are.
    """
    return Path(user_cache_dir("punchd")) / "bench" / "node_modules"


def _needs(module: str) -> Callable[[], str | None]:
    def whyNot() -> str | None:
        if find_spec(module) is None:
            return f"{module} is not installed: pip install 'punchd[bench]'."
        return None

    return whyNot


def _iroh() -> str | None:
    return _needs("iroh")() or _needs("websockets")()


def hyperdht() -> str | None:
    """
    @return: why it cannot be had; it is loaded if need be.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"hyperdht needs {program}: apt-get install nodejs npm."
    if (modules() / "hyperdht").exists():
        return None
    modules().parent.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "hyperdht@6"]
    command += ["--prefix", str(modules().parent)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL)
    except subprocess.TimeoutExpired:
        return f"npm did not load hyperdht within {INSTALL:g} s."
    if done.returncode:
        return f"npm cannot load hyperdht: {done.stderr.strip().splitlines()[-1]}"
    return None


def _serveStun(lab: Lab, folder: Path) -> Product:
    # Our own answers as any STUN server does.
    product = Product(lab, folder)
    product.startRendezvous("--no-relay")
    return product


def _serveRelay(lab: Lab, folder: Path) -> object:
    script = str(HERE / "irohrelay.py")
    return _ready(lab, [sys.executable, script, SERVER, str(RELAY)], folder)


def _serveDht(lab: Lab, folder: Path) -> object:
    script = str(HERE / "hyperdhtnodes.js")
    return _ready(lab, ["node", script, SERVER, OTHER, str(DHT)], folder)


def _ready(lab: Lab, command: Sequence[str], folder: Path) -> Talk:
    talk = Talk(lab.rendezvous, command, folder / "server.log")
    talk.first()
    return talk


def _python(script: str, *words: object) -> list[str]:
    return [sys.executable, str(HERE / script), *map(str, words)]


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "aioice",
            _needs("aioice"),
            _python("aioicepeer.py", SERVER, STUN),
            _serveStun,
            both=True,
        ),
        Peer(
            "hyperdht",
            hyperdht,
            ["node", str(HERE / "hyperdhtpeer.js"), SERVER, str(DHT)],
            _serveDht,
        ),
        Peer("iroh", _iroh, _python("irohpeer.py", SERVER, RELAY), _serveRelay),
    )
}
