"""
A transfer whose path is changed: direct, relayed, without UDP, from another address.

    python -m bench.changes [MEGABYTES] [CHANGES]

1000 megabytes and 20 changes by default, in the kernel lab.  Prints how long each
change took and the longest silence at it; ends with an error when a byte differs or
the stream is reset.
"""

from __future__ import annotations

import sys
from itertools import cycle, islice

from tests.lab.changing import ROUND, Changing, report
from tests.lab.transfers import MB

from .products import products

_RATE = 4 * MB


def main(size: int, count: int) -> None:
    """
    Run it.
    """
    with products("portrestricted", "portrestricted", start=False) as running:
        running.startClient("a", "--forward=tcp:9000=b/sink")
        running.startClient("b", "--publish=sink=tcp:127.0.0.1:9000")
        running.whenRegistered()
        changing = Changing(running, size, _RATE)
        changes = [changing.change(what) for what in islice(cycle(ROUND), count)]
        changing.end()
        session = running.session("a")
        print(report(changes))
        print(f"{changing.sink.count} bytes, identical; one stream, never reset")
        print(f"path changes: {session['pathChanges'] if session else '?'}")


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:]]
    main((sizes[0] if sizes else 1000) * MB, sizes[1] if len(sizes) > 1 else 20)
