"""
A rendezvous on loopback, for tests that need no NAT.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from punchd.testing.lab.namespaces import waitFor
from punchd.testing.lab.product import START, TWISTD

#: Of a rendezvous that need not be there.
URL = "punch://127.0.0.1:9"


@contextmanager
def startedRendezvous(state: Path) -> Generator[str, None, None]:
    """
    Run a rendezvous on a free port of loopback.

    @return: its URL.
    """
    options = [f"--state={state}", "--listen=127.0.0.1:0"]
    with open(f"{state}.log", "wb") as log:
        process = subprocess.Popen(
            [*TWISTD, "-n", "--pidfile=", "punch-rendezvous", *options],
            stdout=log,
            stderr=log,
            cwd=state.parent,
        )
    try:
        waitFor((state / "url").exists, START, "the rendezvous")
        yield (state / "url").read_text().strip()
    finally:
        process.terminate()
        process.wait(15)
