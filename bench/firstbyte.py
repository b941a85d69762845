"""
From connect() on a forward, with no session to that peer, to the first byte
that comes back.

    python -m bench.firstbyte [RUNS] [CASE ...]

In the kernel lab with 25 ms each way between any two hosts.  Cold dials are made
by client processes that have just registered; for warm dials the processes
stay, and only the session is gone.  With 10 % of all packets lost, what counts
is how many dials bring the byte within 2 s.

TCP=bbr, or another name, in the environment sets the congestion control of all hosts.
"""

from __future__ import annotations

import os
import sys
import time

from punchd.testing.lab.product import Product

from .products import (
    FORWARD,
    PROGRAM,
    distribution,
    firstByte,
    products,
    startClients,
    tool,
    whenNoSession,
)

CONGESTION = os.environ.get("TCP")
DELAY = 0.025
RTT = 2 * DELAY
LINGER = "--linger=0.5"
RUNS = 20
PATIENCE = 20.0
IN_TIME = 2.0

#: Which NATs A and B are behind.
PAIRS = {
    "direct": ("portrestricted", "portrestricted"),
    "relayed": ("symmetric", "symmetric"),
}
CASES = [f"{kind}-{how}" for kind in PAIRS for how in ("cold", "warm", "loss")]


def dial(product: Product, kind: str) -> float | None:
    """
    @return: seconds to the first byte, and no session left.
    """
    taken = firstByte(product.hosts["a"], FORWARD, PATIENCE)
    if taken is None:
        print(f"  no byte within {PATIENCE:g} s", file=sys.stderr)
    elif product.path("a") != kind:
        # It may have begun on the relay; but it has to get there.
        product.whenPath(kind)
    return taken


def measure(kind: str, how: str, runs: int) -> list[float | None]:
    """
    @return: seconds to the first byte, by run.
    """
    found: list[float | None] = []
    conditions = {"delay": DELAY, "congestion": CONGESTION}
    with products(*PAIRS[kind], start=False, **conditions) as product:
        tool(product.hosts["b"], "echo", PROGRAM)
        for number in range(runs):
            if how != "warm" or not number:
                startClients(product, LINGER)
            if how == "warm" and not number:
                firstByte(product.hosts["a"], FORWARD, PATIENCE)
                whenNoSession(product)
            line = product.lab.line
            assert line is not None
            if how == "loss":
                line.set(loss=10.0)
            taken = dial(product, kind)
            line.set(loss=0.0)
            found.append(taken)
            if how == "warm":
                whenNoSession(product)
                # Away from what ends a session.
                time.sleep(0.2)
            else:
                product.end("a")
                product.end("b")
    return found


def main() -> None:
    """
    Print a line for each case.
    """
    words = sys.argv[1:]
    runs = int(words.pop(0)) if words and words[0].isdigit() else RUNS
    cases = words or CASES
    unknown = [case for case in cases if case not in CASES]
    if unknown:
        raise SystemExit(f"{unknown[0]}: expected one of {' '.join(CASES)}.")
    print(f"{'':14} {'ms':^31}  {'round trips of 50 ms':^27}")
    print(
        f"{'':14} {'min median    p95     max':>31}  {'min median    p95    max':>27}"
    )
    for case in cases:
        kind, how = case.split("-")
        found = measure(kind, how, runs)
        came = [each for each in found if each is not None]
        line = f"{case:14} {distribution(came, RTT)}" if came else case
        if how == "loss":
            soon = sum(each <= IN_TIME for each in came)
            line += f"  {soon} of {runs} within {IN_TIME:g} s"
        print(line, flush=True)


if __name__ == "__main__":
    main()
