"""
What an idle session costs, in packets an hour, in the simulator::

    python -m bench.idle [--lifetime=S] [--keepalive=S] [KIND,KIND ...]

A path that carries nothing is kept by one check and its answer an interval, the
relayed path behind it likewise, and the mapping of the socket by one question to
the rendezvous.  TCP packets are segments of the connection to the rendezvous,
acknowledgements left out.
"""

from __future__ import annotations

import argparse
from collections import Counter

from punchd.testing.pair import Pair
from punchd.testing.scenario import Scenario

PAIRS = (
    "portrestricted,portrestricted",
    "restricted,symmetric",
    "sequential,sequential",
    "symmetric,symmetric",
)

#: Seconds before the hour that is counted: the dial, and what is measured.
BEFORE = 900.0


def hour(kinds: list[str], lifetime: float, options: dict[str, float]):
    """
    @return: packets sent by the first host by what they are for, the interval and
        the kind of path.
    """
    made = Scenario(*kinds, 1, udpLifetime=lifetime)
    pair = Pair(made, linger=1e9, **options)
    pair.ready(30.0)
    stream, collector = pair.open()
    stream.write(b"hello")
    pair.network.runUntil(collector.whenReceived(5), 30.0)
    pair.network.advance(BEFORE)
    capture = pair.network.capture(matches=lambda r: r.where == "hostA")
    pair.network.advance(3600.0)
    found: Counter[str] = Counter()
    for record in capture.stop():
        if record.protocol == "tcp":
            found["signaling"] += 1
        elif not record.destination[0].startswith("203.0.113."):
            found["direct"] += 1
        elif record.payload[0] & 0xC0 == 0x40:
            found["through the relay"] += 1
        elif record.destination[1] == 3478:
            found["rendezvous"] += 1
        else:
            found["to the peer's relay"] += 1
    session = pair.sessions()[0]
    interval = session.context.keepalive
    kind = pair.kinds()[0]
    pair.stop()
    return found, interval, kind


def main() -> None:
    """
    Print a line for each pair.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("::")[0])
    parser.add_argument("pairs", nargs="*", default=PAIRS)
    parser.add_argument("--lifetime", type=float, default=120.0)
    parser.add_argument("--keepalive", type=float)
    options = parser.parse_args()
    given = {} if options.keepalive is None else {"keepalive": options.keepalive}
    for each in options.pairs:
        found, interval, kind = hour(each.split(","), options.lifetime, given)
        parts = ", ".join(f"{count} {name}" for name, count in found.most_common())
        total = sum(found.values())
        print(f"{each}: {kind}, keepalive {interval:g} s: {total} an hour ({parts})")


if __name__ == "__main__":
    main()
