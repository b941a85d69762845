"""
The play: what happens on a stage, and what is told of it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from .stage import Chatter, DemoFailed, Stage, Transfer
from .timeline import WIDTH, Timeline

#: Seconds that each act may take.
_REGISTRATION = 20.0
_FIRST_BYTE = 10.0
_SETTLING = 10.0
_TRANSFER = 20.0
_DETOUR = 10.0
#: How long the direct path is cut at the least.
_CUT = 0.5


class Play:
    """
    I play once.

    @ivar timeline: what has happened so far.
    """

    def __init__(self, stage: Stage, line: Callable[[str], object]) -> None:
        self.stage = stage
        self.timeline = Timeline(line)
        self._line = line
        self._began = 0.0
        self._firstByte = 0.0
        self._transfer: Transfer | None = None
        self._chatter: Chatter | None = None
        self._detour: tuple[float, float] | None = None

    def run(self) -> None:
        """
        Do the job, and tell of it.

        @raise DemoFailed: it could not be done.
        """
        try:
            self._register()
            self._dial()
            self._settle()
            self._carry()
            direct = self.timeline.carried("direct")
            if direct and self.stage.cuttable:
                self._takeDetour()
            status = {letter: self.stage.status(letter) for letter in "AB"}
            traffic = self.stage.traffic()
            why = self.stage.why()
            self._say("demo", "both clients are told to stop")
            self.stage.stop()
            self._finish()
        except BaseException:
            # Whatever was seen may tell why.
            self.timeline.flush()
            raise
        for text in self._summary(status, traffic, why):
            self._line(text)

    # --- acts

    def _register(self) -> None:
        stage, timeline = self.stage, self.timeline
        stage.start()

        def seen() -> bool:
            return all(
                timeline.all(name, who)
                for name, who in (("mapping", "A"), ("mapping", "B"))
            ) and {e.fields["peer"] for e in timeline.all("observed")} == {"A", "B"}

        def registered() -> bool:
            return {e.fields["peer"] for e in timeline.all("registered")} == {"A", "B"}

        if not self._until(registered, _REGISTRATION):
            raise DemoFailed("A and B could not register with the rendezvous.")
        # Without UDP, nothing is ever seen.
        self._until(seen, 2.0)
        self._pause(0.1)

    def _dial(self) -> None:
        stage, timeline = self.stage, self.timeline
        self._began = timeline.zero = stage.greet()
        timeline.say(self._began, "A", "a program connects to punchd, to be led to B")
        if not self._until(stage.greeted, _FIRST_BYTE):
            raise self._failed("No byte reached B and came back")
        now = stage.now()
        self._firstByte = now - self._began
        timeline.say(now, "A", "the program has its first byte back from B's")

    def _settle(self) -> None:
        """
        Wait for the direct path, or for the verdict that there is none.
        """
        timeline = self.timeline

        def settled() -> bool:
            failed = [
                event
                for event in timeline.all("verdict", "A")
                if event.fields["strategy"] == "checks"
                and event.fields["outcome"] == "failed"
            ]
            return timeline.carried("direct") or bool(failed)

        def carried() -> bool:
            return timeline.carried("direct") or timeline.carried("relayed")

        # The bytes need not wait for the verdict.
        if not self._until(settled, 1.0) and carried():
            self._carry()
        if not self._until(lambda: settled() and carried(), _SETTLING):
            raise self._failed("A and B found no path")
        self._pause(0.1)

    def _carry(self) -> None:
        """
        Send bytes, unless that was done.
        """
        if self._transfer is not None:
            return
        stage, timeline = self.stage, self.timeline
        transfer = self._transfer = stage.transfer()
        self._say("A", f"a program sends {_size(transfer.size)} to one of B's")
        self._until(lambda: (transfer.got or transfer.error) is not None, _TRANSFER)
        if transfer.got is None:
            why = transfer.error or f"they take longer than {_TRANSFER:.0f} s"
            raise DemoFailed(f"{_size(transfer.size)} did not arrive: {why}.")
        if transfer.got != transfer.sent:
            raise DemoFailed("B did not receive the bytes that A has sent.")
        rate = _size(transfer.size / transfer.seconds)
        timeline.say(
            stage.now(),
            "B",
            f"got {_size(transfer.size)} at {rate}/s,"
            f" SHA-256 {transfer.got[:8]}... as sent",
        )

    def _takeDetour(self) -> None:
        stage, timeline = self.stage, self.timeline
        chatter = self._chatter = stage.chat()
        self._until(lambda: chatter.received >= 5, _DETOUR)
        cutAt = stage.now()
        stage.cut()
        self._say("demo", "A's router drops all packets between A and B from now on")
        # The other direction is given up a little later.
        if not self._until(lambda: timeline.carried("relayed"), _DETOUR):
            raise DemoFailed("The session did not go on over the relay.")
        relayed = max(e.time for e in timeline.all("path")) - cutAt
        self._pause(max(0.0, _CUT - (stage.now() - cutAt)))
        stage.restore()
        restoredAt = stage.now()
        self._say("demo", "A's router lets packets pass again")
        if not self._until(lambda: timeline.carried("direct"), _DETOUR):
            raise DemoFailed("The session did not return to the direct path.")
        self._detour = (relayed, max(e.time for e in timeline.all("path")) - restoredAt)
        self._pause(0.2)
        chatter.stopped = True
        if not self._until(lambda: chatter.complete, 5.0):
            raise DemoFailed(
                f"Of {chatter.sent} messages, {chatter.received} came back in order."
            )
        self._say(
            "A",
            f"meanwhile {chatter.sent} messages to B came back, all in order",
        )

    def _finish(self) -> None:
        gone = self._until(lambda: len(self.timeline.all("ended")) >= 2, 1.0)
        self.timeline.flush()
        if not gone:
            raise DemoFailed("A or B did not end its session.")

    def _failed(self, what: str) -> DemoFailed:
        """
        @return: what to say, with how A's attempts ended.
        """
        ends = [
            f"{event.fields['strategy']}: {event.fields['reason']}"
            for event in self.timeline.all("verdict", "A")
            if event.fields["outcome"] == "failed"
        ]
        seconds = self.stage.now() - self._began
        because = f" ({'; '.join(dict.fromkeys(ends))})" if ends else ""
        return DemoFailed(f"{what} within {seconds:.0f} s{because}.")

    # --- time

    def _until(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """
        Go on until the predicate is true.

        @return: whether it is, within C{timeout} seconds.
        """
        until = self.stage.now() + timeout
        while not predicate():
            if self.stage.now() >= until:
                return False
            self.timeline.add(self.stage.step())
            self.timeline.flush(self.stage.now())
        return True

    def _pause(self, seconds: float) -> None:
        self._until(lambda: False, seconds)

    def _say(self, who: str, text: str) -> None:
        self.timeline.say(self.stage.now(), who, text)

    # --- the end

    def _summary(
        self,
        status: dict[str, dict[str, Any]],
        traffic: dict[str, tuple[int, int]],
        why: str,
    ) -> Iterator[str]:
        a, b = (status[letter]["sessions"][0] for letter in "AB")
        path, transfer = a["path"], self._transfer
        assert transfer is not None
        trip = 2 * self.stage.delay
        yield ""
        if path["kind"] != "direct":
            yield "Done: A and B talked over the relay; no hole was found."
        elif path["strategy"] in ("host", "mapped"):
            yield "Done: A and B talked directly; there was no need for a hole."
        else:
            yield "Done: A and B talked through the hole that punchd made."
        yield ""
        rtt = "" if path["rtt"] is None else f", {_time(path['rtt'])}"
        yield (
            f"  path        {path['kind']} ({path['strategy']}, {path['transport']}),"
            f" {path['local']} to {path['remote']}{rtt}"
        )
        trips = f", {self._firstByte / trip:.1f} round trips" if trip else ""
        yield f"  first byte  after {_time(self._firstByte)}{trips}"
        if a["secondsToDirect"] is not None:
            yield f"  direct      after {_time(a['secondsToDirect'])}"
        yield (
            f"  bytes       {_size(transfer.size)} in {_time(transfer.seconds)},"
            f" {_size(transfer.size / transfer.seconds)}/s, SHA-256 equal at both ends"
        )
        if self._detour is not None and self._chatter is not None:
            there, back = self._detour
            yield (
                f"  detour      relayed {_time(there)} after the cut, direct again"
                f" {_time(back)} after its end;"
            )
            yield (
                f"              {self._chatter.sent} messages, none lost, the longest"
                f" silence {_time(self._chatter.longest)}"
            )
        yield f"  checks      {a['probesSent']} sent by A, {b['probesSent']} by B"
        label = "routers"
        for letter, (direct, relayed) in traffic.items():
            yield (
                f"  {label:<11} {letter}'s sent {_size(direct)} to the other side,"
                f" {_size(relayed)} to the rendezvous"
            )
            label = ""
        if path["kind"] != "direct":
            yield ""
            yield "`punchd why B` says at A:"
            for line in why.splitlines():
                yield textwrap.fill(
                    line, WIDTH, initial_indent="  ", subsequent_indent="    "
                )


def _size(count: float) -> str:
    units = ["B", "kB", "MB", "GB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        del units[0]
    digits = 0 if units[0] == "B" or count >= 100 else 1
    return f"{count:.{digits}f} {units[0]}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
