"""
C{punchd ping}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import deferLater
from twisted.python import usage

from punchd.services.asking import ask
from punchd.services.control import MAX_PINGS

from .command import Console, PeerCommand

#: How long the client may take for each ping, in seconds.
PATIENCE = 5.0

#: And for the session, when there is none yet.
DIAL = 30.0

#: Seconds between an answer and the next ping.
PAUSE = 1.0


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MAX_PINGS:
        raise ValueError
    return count


class PingOptions(PeerCommand):
    """
    Measure the round trip to a peer through the session.
    """

    synopsis = "[--count=N] PEER"
    optParameters = [
        ["count", "c", "4", f"How many times, 1 to {MAX_PINGS}."],
    ]

    def postOptions(self) -> None:
        """
        @raise usage.UsageError: the count is no count.
        """
        try:
            self["count"] = _count(self["count"])
        except ValueError:
            raise usage.UsageError(
                f"--count={self['count']}: expected a number from 1 to {MAX_PINGS}."
            ) from None

    def run(self, console: Console) -> int:
        """
        @return: 0 when the peer answered at least once, else 1.
        """
        folder = self.stateFolder()
        peer = folder.resolve(self["peer"])

        async def work(reactor: Any) -> list[float | None]:
            times: list[float | None] = []
            for number in range(1, self["count"] + 1):
                if times:
                    await deferLater(reactor, PAUSE)
                # One by one, so that each is told when it is there.
                times += await ask(
                    reactor, folder, "ping", DIAL + PATIENCE, peer=peer, count=1
                )
                console.line(f"{self['peer']} {number}: {_took(times[-1])}")
                console.out.flush()
            return times

        times = console.wait(work)
        console.line(summary(times))
        return 0 if any(t is not None for t in times) else 1


def _took(seconds: float | None) -> str:
    return "no answer" if seconds is None else f"{seconds * 1000:.1f} ms"


def summary(times: Sequence[float | None]) -> str:
    """
    @return: what to print of all these round trips, in seconds.
    """
    good = [t * 1000 for t in times if t is not None]
    text = f"{len(good)} of {len(times)} answered"
    if good:
        text += (
            f"; least, mean and most: {min(good):.1f}, "
            f"{sum(good) / len(good):.1f} and {max(good):.1f} ms"
        )
    return text
