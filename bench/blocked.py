"""
Transfers of hosts that UDP does not reach: over TCP, over TLS, and through a proxy.

    python -m bench.blocked [ROUNDS] [MEGABYTES] [KIND ...]

3 rounds of 20 megabytes by default, of C{proxyonly}, C{tcp443} and C{udpblocked}, each
with a host that UDP reaches and with one of its own kind, over our relay and over
coturn with the same clients.  Prints megabytes a second, the ratio, and CPU seconds of
whole processes for 10^9 bytes.  (Between two of C{udpblocked} the path is direct, by
TCP: no relay takes part.)
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field

from punchd.testing.lab import Namespace, waitFor
from punchd.testing.lab.product import Product
from punchd.testing.lab.proxy import startProxy

from .products import (
    FORWARD,
    PROGRAM,
    cpuSeconds,
    family,
    firstByte,
    products,
    startClients,
    tool,
    transfer,
)

_KINDS = ("proxyonly", "tcp443", "udpblocked")
_MB = 1_000_000
_PATIENCE = 120.0
_COTURN = "203.0.113.11"
#: The rest of the rendezvous, on its other address.
_PLAIN = (
    "--no-relay",
    "--listen=203.0.113.10:3478",
    "--listen=203.0.113.10:443/tcp",
)


@dataclass
class Result:
    """
    What was measured of one pair over one relay.

    @ivar way: what the relay is reached by.
    @ivar rates: megabytes a second.
    @ivar cpu: CPU seconds for 10^9 bytes by process.
    """

    way: str = "?"
    rates: list[float] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """
        The median.
        """
        return statistics.median(self.rates)

    def words(self) -> str:
        """
        @return: the rounds, and the least CPU seconds.
        """
        each = " ".join(f"{rate:.1f}" for rate in self.rates)
        used = "  ".join(f"{name} {min(spent):.1f}" for name, spent in self.cpu.items())
        return f"{self.way:4}{self.rate:6.1f}  ({each})  {used}"


def _proxies(running: Product, kinds: tuple[str, str]) -> None:
    """
    Start the proxies that hosts of these kinds need.
    """
    lab = running.lab
    for host, router, kind in zip((lab.hostA, lab.hostB), "AB", kinds):
        if kind == "proxyonly":
            space = lab.routers[f"router{router}"]
            host.environment["https_proxy"] = startProxy(space, running.folder)


def _coturn(running: Product, space: Namespace) -> tuple[int, str]:
    """
    Run coturn beside a rendezvous that does not relay.

    @return: its pid, and where its credentials are.
    """
    folder = running.folder
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=coturn"),
            *("-addext", f"subjectAltName=IP:{_COTURN}"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    running.end("rendezvous")
    running.startRendezvous(*_PLAIN)
    (folder / "credentials").write_text("me:sesame\n")
    for host in (running.lab.hostA, running.lab.hostB):
        host.environment["SSL_CERT_FILE"] = str(folder / "cert.pem")
    process = space.popen(
        [
            *("turnserver", "-n", "--no-cli", "--no-dtls", "--no-tcp-relay"),
            *("--listening-ip", _COTURN, "--relay-ip", _COTURN, "--realm", "lab"),
            *("--listening-port", "3478", "--tls-listening-port", "443"),
            *("--cert", str(folder / "cert.pem"), "--pkey", str(folder / "key.pem")),
            *("--lt-cred-mech", "--user", "me:sesame", "--allow-loopback-peers"),
            *("--log-file", "stdout", "--simple-log"),
            *("--pidfile", str(folder / "pid"), "--userdb", str(folder / "db")),
        ],
        cwd=folder,
        log=folder / "coturn.out",
    )
    return process.pid, str(folder / "credentials")


def _wayTo(kind: str) -> str:
    """
    @return: how hosts of that kind reach coturn.
    """
    if kind == "portrestricted":
        return f"turn:{_COTURN}:3478"
    if kind == "udpblocked":
        return f"turn:{_COTURN}:3478?transport=tcp"
    return f"turns:{_COTURN}:443"


def measure(kinds: tuple[str, str], rounds: int, size: int, coturn: bool) -> Result:
    """
    @return: what one pair does over our relay, or over coturn.
    """
    result = Result()
    with products(*kinds, start=False) as running:
        _proxies(running, kinds)
        relay, program = 0, f"--publish=program=tcp:127.0.0.1:{PROGRAM}"
        if coturn:
            space = running.lab.spaces["rendezvous"]
            relay, known = _coturn(running, space)
            ways = [
                (f"--relay={_wayTo(kind)}", f"--relay-credentials={known}")
                for kind in kinds
            ]
            forward = f"--forward=tcp:{FORWARD}=b/program"
            running.startClient("b", program, *ways[1])
            running.startClient("a", forward, *ways[0])
            running.whenRegistered()
        else:
            startClients(running)
            relay = running.processes["rendezvous"].pid
        tool(running.lab.hostB, "sink", PROGRAM)
        firstByte(running.lab.hostA, FORWARD, 1.0)
        waitFor(lambda: running.path("a") and running.path("b"), 30, "a path")
        roots = {name: running.processes[name].pid for name in ("a", "b")}
        roots["relay"] = relay

        def used() -> dict[str, float]:
            return {n: sum(map(cpuSeconds, family(pid))) for n, pid in roots.items()}

        for _ in range(rounds):
            before = used()
            seconds = transfer(running.lab.hostA, FORWARD, size * _MB, _PATIENCE)
            result.rates.append(size / seconds)
            for name, after in used().items():
                spent = (after - before[name]) / size * 1000
                result.cpu.setdefault(name, []).append(spent)
        session = running.session("a")
        if session is not None:
            result.way = str(session["path"]["transport"])
    return result


def main(rounds: int, size: int, names: list[str]) -> None:
    """
    Run it.
    """
    peer = shutil.which("turnserver") is not None
    if not peer:
        print("coturn's turnserver is not here: there is nothing to compare with")
    for kind in names:
        for other in ("portrestricted", kind):
            ours = measure((kind, other), rounds, size, False)
            print(f"{kind}, {other}: {ours.words()}", flush=True)
            if peer:
                theirs = measure((kind, other), rounds, size, True)
                ratio = ours.rate / theirs.rate
                print(f"  coturn: {theirs.words()}  ours {ratio:.2f} x", flush=True)


if __name__ == "__main__":
    words = sys.argv[1:]
    numbers = [int(word) for word in words if word.isdigit()]
    kinds = [word for word in words if not word.isdigit()]
    unknown = [kind for kind in kinds if kind not in _KINDS]
    if unknown:
        raise SystemExit(
            f"There is no kind {unknown[0]}; expected {', '.join(_KINDS)}."
        )
    rounds, size, *_ = numbers + [3, 20][len(numbers) :]
    main(rounds, size, kinds or list(_KINDS))
