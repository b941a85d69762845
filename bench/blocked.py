"""
Transfers of hosts that UDP does not reach: over TCP, over TLS, and through a proxy.

    python -m bench.blocked [ROUNDS] [MEGABYTES] [KIND ...]

3 rounds of 20 megabytes by default, of C{proxyonly}, C{tcp443} and C{udpblocked}, each
with a host that UDP reaches and with one of its own kind.  Prints megabytes a second.
"""

from __future__ import annotations

import statistics
import sys

from punchd.testing.lab import waitFor
from punchd.testing.lab.product import Product
from punchd.testing.lab.proxy import startProxy

from .products import (
    FORWARD,
    PROGRAM,
    firstByte,
    products,
    startClients,
    tool,
    transfer,
)

_KINDS = ("proxyonly", "tcp443", "udpblocked")
_MB = 1_000_000
_PATIENCE = 120.0


def _proxies(running: Product, kinds: tuple[str, str]) -> None:
    """
    Start the proxies that hosts of these kinds need.
    """
    lab = running.lab
    for host, router, kind in zip((lab.hostA, lab.hostB), "AB", kinds):
        if kind == "proxyonly":
            space = lab.routers[f"router{router}"]
            host.environment["https_proxy"] = startProxy(space, running.folder)


def measure(kinds: tuple[str, str], rounds: int, size: int) -> tuple[list[float], str]:
    """
    @return: the rates of the rounds, in megabytes a second, and what the relay is
        reached by.
    """
    with products(*kinds, start=False) as running:
        _proxies(running, kinds)
        startClients(running)
        tool(running.lab.hostB, "sink", PROGRAM)
        firstByte(running.lab.hostA, FORWARD, 1.0)
        waitFor(lambda: running.path("a") and running.path("b"), 30, "a path")
        rates = []
        for _ in range(rounds):
            seconds = transfer(running.lab.hostA, FORWARD, size * _MB, _PATIENCE)
            rates.append(size / seconds)
        session = running.session("a")
        return rates, "?" if session is None else str(session["path"]["transport"])


def main(rounds: int, size: int, names: list[str]) -> None:
    """
    Run it.
    """
    print(f"{'hosts':28}{'by':6}{'MB/s':>6}  each")
    for kind in names:
        for other in ("portrestricted", kind):
            rates, way = measure((kind, other), rounds, size)
            each = " ".join(f"{rate:.1f}" for rate in rates)
            median = statistics.median(rates)
            print(f"{f'{kind}, {other}':28}{way:6}{median:6.1f}  {each}", flush=True)


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
