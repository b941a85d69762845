"""
C{punchd ping}.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.python import usage

from punchd.services.control import MAX_PINGS

from .command import Console, PeerCommand

#: How long the client may take for each ping, in seconds.
PATIENCE = 5.0

#: And for the session, when there is none yet.
DIAL = 30.0


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
        peer = self.stateFolder().resolve(self["peer"])
        count = self["count"]
        times = self.askClient(
            console, "ping", timeout=DIAL + PATIENCE * count, peer=peer, count=count
        )
        for line in report(self["peer"], times):
            console.line(line)
        return 0 if any(t is not None for t in times) else 1


def report(peer: str, times: list[float | None]) -> Iterator[str]:
    """
    @return: what to print for these round trips, in seconds.
    """
    for number, seconds in enumerate(times, 1):
        took = "no answer" if seconds is None else f"{seconds * 1000:.1f} ms"
        yield f"{peer} {number}: {took}"
    good = [t * 1000 for t in times if t is not None]
    summary = f"{len(good)} of {len(times)} answered"
    if good:
        summary += (
            f"; least, mean and most: {min(good):.1f}, "
            f"{sum(good) / len(good):.1f} and {max(good):.1f} ms"
        )
    yield summary
