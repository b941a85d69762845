"""
One TCP forward over a long path that loses packets, beside kernel TCP over the same
path, with each congestion control that the kernel has.

    python -m bench.lossy [--rounds N] [--seconds S] [--delay MS] [--loss PERCENT]
                          [--path direct|relay]

50 ms one way and 1 % in each direction by default, between two hosts with public
addresses in the kernel lab, in turns; each round has other losses.  To the relay and
from there it is half of both, so that the way over it is no worse.  qh3 has no choice
of congestion control: it is CUBIC (a loss leaves 0.7 of the window), so that the ratio
to C{cubic} says most.  Where losses bound the window, TCP's rate goes with the size
of its segments: ours carry about 1,170 bytes, the kernel's 1,448.
"""

from __future__ import annotations

import argparse
import statistics

from .flows import Flows, controls
from .products import products

_ROUNDS = 5
_SECONDS = 20.0
_DELAY = 50.0
_LOSS = 1.0


def main() -> None:
    """
    Measure.
    """
    parser = argparse.ArgumentParser(prog="bench.lossy")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--seconds", type=float, default=_SECONDS)
    parser.add_argument("--delay", type=float, default=_DELAY)
    parser.add_argument("--loss", type=float, default=_LOSS)
    parser.add_argument("--path", choices=("direct", "relay"), default="direct")
    options = parser.parse_args()
    delay = options.delay / 1000
    with products("open", "open", start=False, delay=delay) as running:
        line = running.lab.line
        assert line is not None
        flows = Flows(running, options.path)
        print(f"{2 * options.delay:g} ms, {options.loss:g} % loss, {options.path}")
        contenders = (None, *controls())
        rates: dict[str | None, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name in contenders:
                part = 0.5 if name is None and options.path == "relay" else 1.0
                line.set(delay=delay * part, loss=options.loss * part)
                rates[name].append(flows.send(name, options.seconds).rate())
        ours = statistics.median(rates[None])
        for name in contenders:
            rate = statistics.median(rates[name])
            each = " ".join(f"{one / 1e6:.2f}" for one in rates[name])
            words = f"{name or 'punchd':8} {rate / 1e6:6.2f} MB/s  ({each})"
            if name is not None:
                words += f"  punchd is {ours / rate:.2f} of it"
            print(words, flush=True)
        session = running.session("a")
        if session is not None:
            print(f"{session['path']['kind']}, {session['pathChanges']} path changes")


if __name__ == "__main__":
    main()
