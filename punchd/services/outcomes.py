"""
What became of dials, for the statistics of the rendezvous.

It is told once for each dial, when the path has settled or the session is over;
nothing waits for that, and a rendezvous that does not want to know is not told again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds after which the path of a session has settled: strategies take some.
SETTLE: Final = 15.0

#: What a path may be made possible by; everything else is another plugin's.
_PLAIN = ("host", "srflx", "prflx", "mapped", "ipv6", "opener")
_MORE = ("reversal", "fresh", "predicted", "spray", "optimistic", "tcp")
STRATEGIES: Final = frozenset({*_PLAIN, *_MORE, "relay", "none"})


class Outcomes:
    """
    I tell in time.
    """

    def __init__(self, clock: IReactorTime, tell: Callable[[str, str], None]) -> None:
        """
        @param tell: called with a dial id and the peer.
        """
        self._clock = clock
        self._tell = tell
        self._due: dict[str, tuple[str, IDelayedCall]] = {}

    def dialled(self, dialId: str, peer: str) -> None:
        """
        A dial has begun.
        """
        call = self._clock.callLater(SETTLE, self.settled, dialId)
        self._due[dialId] = peer, call

    def settled(self, dialId: str) -> None:
        """
        It is clear what became of it; nothing happens if that was told.
        """
        peer, call = self._due.pop(dialId, (None, None))
        if call is not None and call.active():
            call.cancel()
        if peer is not None:
            self._tell(dialId, peer)

    def stop(self) -> None:
        """
        Tell the rest.
        """
        for dialId in list(self._due):
            self.settled(dialId)
