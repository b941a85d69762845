"""
Throughput of one TCP forward between two hosts of the kernel lab, beside
C{ssh -L} between the same two with the same bytes.

    python -m bench.forward [ROUNDS] [MEGABYTES] [CASE ...]

A case is a delay each way in ms: C{0} or C{25}.  The hosts are behind routers
that let everything pass, so that ssh gets there, too.  The contenders take
turns; the first round warms up.  CPU seconds a gigabyte are those of whole
processes, in the kernel too, and say more than the rate on a machine that does
other things beside.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from punchd.net.kernel import NO_OFFLOAD
from punchd.testing.lab import Namespace, waitFor
from punchd.testing.lab.product import Product

from .products import (
    FORWARD,
    PROGRAM,
    cpuSeconds,
    family,
    products,
    tool,
    transfer,
)

ROUNDS = 4
MEGABYTES = 200
CASES = ("0", "25")
PATIENCE = 300.0
SSH_PORT = 2222
SSH_FORWARD = 7100


@dataclass
class Contender:
    """
    One way from A to B.

    @ivar port: where A's users connect.
    @ivar roots: pids by what their processes, with all children, are called.
    """

    name: str
    space: Namespace
    port: int
    roots: dict[str, int]
    rates: list[float] = field(default_factory=list)
    cpu: list[dict[str, float]] = field(default_factory=list)

    def _used(self) -> dict[str, float]:
        return {
            name: sum(map(cpuSeconds, family(pid))) for name, pid in self.roots.items()
        }

    def send(self, count: int) -> float:
        """
        @return: the seconds that C{count} bytes from A to B took.
        """
        return transfer(self.space, self.port, count, PATIENCE)

    def run(self, count: int) -> None:
        """
        Send C{count} bytes, and note what it took.
        """
        before = self._used()
        seconds = self.send(count)
        after = self._used()
        self.rates.append(count / seconds / 1e6)
        self.cpu.append({n: (after[n] - before[n]) / count * 1e9 for n in after})

    def line(self, best: float) -> str:
        """
        @param best: the peer's rate.

        @return: the medians of all rounds but the first.
        """
        rounds = slice(1 if len(self.rates) > 1 else 0, None)
        rate = statistics.median(self.rates[rounds])
        cpu = self.cpu[rounds]
        each = {name: statistics.median(used[name] for used in cpu) for name in cpu[0]}
        words = "  ".join(f"{name} {seconds:.1f}" for name, seconds in each.items())
        return f"{self.name:22} {rate:8.1f} MB/s {rate / best:6.2f} x ssh   {words}"

    def rate(self) -> float:
        """
        @return: the median of all rounds but the first, in MB/s.
        """
        return statistics.median(self.rates[1:] or self.rates)


@contextmanager
def punchd(
    name: str, delay: float, path: str, offload: bool
) -> Iterator[tuple[Product, Contender]]:
    """
    The product in a lab of its own.
    """
    os.environ.pop(NO_OFFLOAD, None)
    if not offload:
        os.environ[NO_OFFLOAD] = "1"
    with products("open", "open", options=[f"--path={path}"], delay=delay) as made:
        os.environ.pop(NO_OFFLOAD, None)
        tool(made.hosts["b"], "sink", PROGRAM)
        transfer(made.hosts["a"], FORWARD, 1, PATIENCE)
        made.whenPath("relayed" if path == "relay" else "direct")
        roots = {n: made.processes[n].pid for n in ("a", "b")}
        if path == "relay":
            roots["relay"] = made.processes["rendezvous"].pid
        yield made, Contender(name, made.hosts["a"], FORWARD, roots)


@contextmanager
def ssh(product: Product) -> Iterator[Contender]:
    """
    C{ssh -L} from A to B.

    @param product: whose lab to use, and whose program.
    """
    here, there = product.hosts["a"], product.hosts["b"]
    folder = Path(tempfile.mkdtemp(prefix="punchd-ssh-"))
    try:
        for key in ("host", "user"):
            words = [
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                str(folder / key),
            ]
            subprocess.run(words, check=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        server = there.popen(
            [
                *(shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e"),
                *("-f", "/dev/null"),
                *_options(
                    ListenAddress=f"{there.address}:{SSH_PORT}",
                    HostKey=folder / "host",
                    AuthorizedKeysFile=folder / "user.pub",
                    PidFile="none",
                    StrictModes="no",
                    UsePAM="no",
                    PermitRootLogin="yes",
                ),
            ],
            log=folder / "sshd.log",
        )
        client = here.popen(
            [
                *("ssh", "-N", "-F", "none", "-i", str(folder / "user")),
                *("-L", f"127.0.0.1:{SSH_FORWARD}:127.0.0.1:{PROGRAM}"),
                *_options(
                    Port=SSH_PORT,
                    StrictHostKeyChecking="no",
                    UserKnownHostsFile="/dev/null",
                    BatchMode="yes",
                    ConnectionAttempts=20,
                ),
                there.address,
            ],
            log=folder / "ssh.log",
        )

        def ready() -> bool:
            if client.poll() is not None:
                raise SystemExit((folder / "ssh.log").read_text())
            with here.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                return sock.connect_ex(("127.0.0.1", SSH_FORWARD)) == 0

        try:
            waitFor(ready, 20.0, "ssh's forward")
            roots = {"ssh": client.pid, "sshd": server.pid}
            yield Contender("ssh -L", here, SSH_FORWARD, roots)
        finally:
            for process in (client, server):
                process.terminate()
                process.wait(10)
    finally:
        shutil.rmtree(folder)


def _options(**options: object) -> list[str]:
    return [word for name, v in options.items() for word in ("-o", f"{name}={v}")]


def measure(delay: float, rounds: int, count: int) -> None:
    """
    Print a line for each contender.
    """
    with ExitStack() as stack:
        enter = stack.enter_context
        product, direct = enter(punchd("direct", delay, "direct", True))
        peer = enter(ssh(product))
        contenders = [
            peer,
            direct,
            enter(punchd("direct, no GSO/GRO", delay, "direct", False))[1],
            enter(punchd("relayed", delay, "relay", True))[1],
            enter(punchd("relayed, no GSO/GRO", delay, "relay", False))[1],
        ]
        for _ in range(rounds):
            for contender in contenders:
                contender.run(count)
        for contender in contenders:
            print(contender.line(peer.rate()), flush=True)


def main() -> None:
    """
    Measure each case.
    """
    words = sys.argv[1:]
    rounds = int(words.pop(0)) if words else ROUNDS
    megabytes = int(words.pop(0)) if words else MEGABYTES
    for case in words or CASES:
        print(f"{case} ms each way, {megabytes} MB, {rounds} rounds; CPU-s/GB:")
        measure(int(case) / 1000, rounds, megabytes * 10**6)


if __name__ == "__main__":
    main()
