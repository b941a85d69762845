"""
A rendezvous on loopback, for tests that need no NAT.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from punchd.core import Address
from punchd.signaling.url import RendezvousURL
from punchd.testing.lab import waitFor
from punchd.testing.lab.product import START, TWISTD

#: Of a rendezvous that need not be there.
URL = "punch://127.0.0.1:9"


@dataclass
class Started:
    """
    A rendezvous that runs.
    """

    url: str
    pid: int

    @property
    def address(self) -> Address:
        """
        Where it listens.
        """
        parsed = RendezvousURL.parse(self.url)
        return parsed.host, parsed.ports[0]

    def processes(self) -> list[int]:
        """
        @return: its process and those of its workers, in order.
        """
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [self.pid, *map(int, path.read_text().split())]


@contextmanager
def startedRendezvous(state: Path, *more: str) -> Generator[Started, None, None]:
    """
    Run a rendezvous on a free port of loopback.

    @param more: options of it.
    """
    options = [f"--state={state}", "--listen=127.0.0.1:0", *more]
    with open(f"{state}.log", "wb") as log:
        process = subprocess.Popen(
            [*TWISTD, "-n", "--pidfile=", "punch-rendezvous", *options],
            stdout=log,
            stderr=log,
            cwd=state.parent,
        )
    try:
        waitFor((state / "url").exists, START, "the rendezvous")
        yield Started((state / "url").read_text().strip(), process.pid)
    finally:
        process.terminate()
        process.wait(15)
    assert "Traceback" not in Path(f"{state}.log").read_text()
