"""
Whether one TCP forward fills long paths and fast ones, beside kernel TCP over the
same bare path in the same run.

    python -m bench.windows [--seconds S] [--path direct|relay] [CASE ...]

A case is a round trip in ms, C{x}, and a rate in Mbit/s: C{250x100} and C{1x1000}
unless told.  The path's queue has room for one product of the two, or a megabyte.  The
rate is that of the last two thirds of the time: what it takes to start up is told in a
column of its own, the seconds until a tenth of a second was nine tenths full.
"""

from __future__ import annotations

import argparse
import time

from .flows import Flow, Flows, controls
from .products import products

_SECONDS = 24.0
_CASES = ("250x100", "1x1000")
#: The least room that a queue has, in bytes.
_QUEUE = 1e6
#: Of the rate, what a segment's headers leave.
_PAYLOAD = 1448 / 1500
#: What is left out of the rate, and which part of it counts as full.
_START = 1 / 3
_FULL = 0.9


def _line(name: str, flow: Flow, full: float) -> str:
    """
    @param full: bytes a second that the path carries.
    """
    rate = flow.rate(_START)
    first = flow.reached(_FULL * full)
    seconds = "never" if first is None else f"{first:.1f} s"
    return f"{name:8} {rate / 1e6:8.2f} MB/s {rate / full:6.2f} {seconds:>8}"


def measure(case: str, seconds: float, path: str) -> None:
    """
    Print a line for each contender.
    """
    roundTrip, megabits = map(float, case.split("x"))
    delay, rate = roundTrip / 2000, megabits * 1e6 / 8
    queue = max(2 * delay * rate, _QUEUE)
    full = rate * _PAYLOAD
    with products("open", "open", start=False, delay=delay) as running:
        line = running.lab.line
        assert line is not None
        line.set(rate=rate, queue=queue)
        flows = Flows(running, path)
        print(
            f"{roundTrip:g} ms, {megabits:g} Mbit/s: {full / 1e6:.1f} MB/s at most, "
            f"queue {queue / 1e6:.1f} MB; rate, part of it, when first full",
            flush=True,
        )
        for control in (None, *controls()):
            # Both queues get empty.
            time.sleep(1 + 4 * delay)
            dropped = line.counts()["dropped"]
            flow = flows.send(control, seconds)
            words = _line(control or "punchd", flow, full)
            words += f"  {line.counts()['dropped'] - dropped:.0f} dropped"
            if control is None:
                gigabytes = sum(flow.slots) / 1e9
                a, b = (used / gigabytes for used in flow.cpu)
                words += f"  CPU-s/GB {a:.1f} + {b:.1f}"
            print(words, flush=True)


def main() -> None:
    """
    Measure each case.
    """
    parser = argparse.ArgumentParser(prog="bench.windows")
    parser.add_argument("--seconds", type=float, default=_SECONDS)
    parser.add_argument("--path", choices=("direct", "relay"), default="direct")
    parser.add_argument("cases", nargs="*", default=_CASES)
    options = parser.parse_args()
    for case in options.cases:
        measure(case, options.seconds, options.path)


if __name__ == "__main__":
    main()
