"""
How often and how fast the product gets a direct path, pair by pair, in the
simulator::

    python bench/rates.py [--seeds=N] [--foreign=RATE] [--loss=SHARE] KIND,KIND ...

Times are virtual seconds from the dial until both sides are direct; probes and
flows are those of the strategies beyond plain checks.
"""

from __future__ import annotations

import argparse
from collections import Counter
from statistics import median

from punchd.testing.clock import SimulationTimeout
from punchd.testing.link import Link
from punchd.testing.pair import Pair
from punchd.testing.scenario import Scenario

PAIRS = (
    "portrestricted,noinputfilter",
    "portrestricted,sequential",
    "sequential,sequential",
    "block1024,portrestricted",
    "symmetric,portrestricted",
)


def once(kinds: list[str], seed: int, foreign: float, loss: float, patience: float):
    """
    @return: seconds or L{None}, the strategies of both sides' paths, and what
        their budgets say.
    """
    options = [
        {"foreign": foreign} if foreign and "sequential" in kind else None
        for kind in kinds
    ]
    link = Link(0.025, loss=loss)
    made = Scenario(*kinds, seed, link=link, optionsA=options[0], optionsB=options[1])
    pair = Pair(made)
    pair.ready(30.0)
    began = pair.clock.seconds()
    seconds = None
    pair.network.runUntil(pair.a.open(pair.identityB.peerId, "echo"), 90.0)
    try:
        pair.network.runUntil(lambda: pair.kinds() == ("direct", "direct"), patience)
        seconds = pair.clock.seconds() - began
    except SimulationTimeout:
        pass
    paths = [session.paths.current for session in pair.sessions()]
    strategies = [path.strategy for path in paths if path is not None]
    spent = [client.context.budget.toDict() for client in (pair.a, pair.b)]
    pair.stop()
    return seconds, strategies, spent


def main() -> None:
    """
    Print one line a pair.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", default=PAIRS)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--foreign", type=float, default=0.0)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--patience", type=float, default=45.0)
    arguments = parser.parse_args()
    for text in arguments.pairs:
        kinds = text.split(",")
        times, strategies = [], Counter()
        probes, flows = [], []
        for seed in range(arguments.seeds):
            seconds, paths, spent = once(
                kinds, seed, arguments.foreign, arguments.loss, arguments.patience
            )
            times += [] if seconds is None else [seconds]
            strategies.update(paths)
            probes.append(max(each["probes"] for each in spent))
            flows.append(max(each["flows"] for each in spent))
        share = len(times) / arguments.seeds
        middle = f"{median(times):.2f} s" if times else "never"
        print(
            f"{' x '.join(kinds)}: direct {len(times)}/{arguments.seeds} ({share:.1%}),"
            f" median {middle}; probes median {median(probes):.0f} most {max(probes)},"
            f" flows median {median(flows):.0f} most {max(flows)}; {dict(strategies)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
