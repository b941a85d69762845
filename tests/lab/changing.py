"""
Changes of the path under a transfer: the direct path is cut, all UDP is, what was cut
is whole again, a host gets another address.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from punchd.testing.lab import waitFor

from .test_roaming import move
from .transfers import MB, Sink, Source, arrived

#: Seconds within which a change has to have happened, and data to flow on it.
_PATIENCE = 45.0

#: A round of changes; the address is changed while the path is direct.
ROUND = ("relay", "direct", "tcp", "direct", "address")


@dataclass(frozen=True)
class Change:
    """
    @ivar what: one of L{ROUND}.
    @ivar seconds: until the path was the new one.
    @ivar stall: the longest silence meanwhile, in seconds.
    @ivar alive: whether a path worked all the time, even so.
    """

    what: str
    seconds: float
    stall: float
    alive: bool


class Changing:
    """
    A transfer from A to B whose path is changed.

    @ivar source: who gives; its last part waits for L{end}.
    @ivar sink: who takes.
    """

    def __init__(self, running: Any, size: int, rate: float) -> None:
        """
        @param running: a L{Product} whose A forwards port 9000 to B's.
        @param rate: bytes a second while the path is changed.
        """
        self._running = running
        self._host = running.lab.hostA.address
        self._number = 10
        self.sink = Sink(running.lab.hostB, 9000)
        self.sink.start()
        self.source = Source(running.lab.hostA, 9000, size, rate=rate, last=size // 4)
        self.source.start()
        for letter in "ab":
            running.whenPath("direct", letter)
        self.sink.whenHas(MB)
        self.sink.takeStall()

    def change(self, what: str) -> Change:
        """
        Change the path, and let a megabyte flow on it.
        """
        lab, running = self._running.lab, self._running
        began = time.monotonic()
        if what == "relay":
            lab.routerA.dropDirect()
        elif what == "tcp":
            lab.routerA.dropUDP()
        elif what == "direct":
            lab.routerA.restore()
        else:
            before = self._host
            self._number += 1
            self._host = f"{before.rpartition('.')[0]}.{self._number}"
            move(lab.hostA, before, self._host)
        waitFor(lambda: self._changed(what), _PATIENCE, what)
        seconds = time.monotonic() - began
        if not running.session("a"):
            raise AssertionError("the session ended")
        self.sink.whenHas(self.sink.count + MB)
        return Change(what, seconds, self.sink.takeStall(), what in ("relay", "direct"))

    def _changed(self, what: str) -> bool:
        session = self._running.session("a")
        if session is None:
            return False
        path = session["path"]
        if what == "relay":
            return bool(path["kind"] == "relayed")
        if what == "tcp":
            # A direct path over TCP will do, too.
            return path["transport"] in ("tcp", "tls")
        direct = path["kind"] == "direct" and path["transport"] == "udp"
        return direct and (what == "direct" or path["local"].startswith(self._host))

    def end(self) -> None:
        """
        Give the rest, and see that all of it came as it was given.
        """
        self.source._rate = 0.0
        self.source.finish()
        arrived(self.source, self.sink, 300)


def report(changes: Sequence[Change]) -> str:
    """
    @return: a line for each change.
    """
    lines = [f"{'change':10}{'seconds':>9}{'stall':>9}"]
    for each in changes:
        note = "" if each.alive else "  (no path worked at first)"
        lines.append(f"{each.what:10}{each.seconds:9.2f}{each.stall:9.2f}{note}")
    alive = [each.stall for each in changes if each.alive]
    cut = [each.stall for each in changes if each.what == "tcp"]
    for what, stalls in (("while a path worked", alive), ("without UDP", cut)):
        if stalls:
            lines.append(f"longest stall {what}: {max(stalls):.2f} s")
    return "\n".join(lines)
