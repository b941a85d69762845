"""
Offers that were seen before.
"""

from __future__ import annotations

from collections import Counter, deque

from punchd.errors import ReplayedOffer


class ReplayGuard:
    """
    I remember the dial ids of offers for as long as an offer counts as fresh.

    An offer may be signed up to a window ahead of our clock and is fresh until
    a window after that, so an id is kept for two windows.  When there is no
    room left, new offers are refused: forgetting would let old ones in.
    """

    def __init__(
        self, window: float = 120.0, *, perSender: int = 256, total: int = 8192
    ) -> None:
        """
        @param window: how far from now the time of a fresh offer may be, in
            seconds.
        @param perSender: how many ids of one sender to remember.
        @param total: how many ids to remember.
        """
        self._keep = 2 * window
        self._perSender = perSender
        self._total = total
        self._seen: set[tuple[str, str]] = set()
        self._order: deque[tuple[float, tuple[str, str]]] = deque()
        self._counts: Counter[str] = Counter()

    def check(self, sender: str, dialId: str, now: float) -> None:
        """
        @param now: monotonic seconds.

        @raise ReplayedOffer: the sender used that dial id before, or dials so
            often that it could not be remembered.
        """
        self._forget(now)
        if (sender, dialId) in self._seen:
            raise ReplayedOffer()
        if self._counts[sender] >= self._perSender or len(self._seen) >= self._total:
            raise ReplayedOffer("Too many offers have come lately.")

    def remember(self, sender: str, dialId: str, now: float) -> None:
        """
        An offer was accepted; only those are worth memory.
        """
        self.check(sender, dialId, now)
        self._seen.add((sender, dialId))
        self._counts[sender] += 1
        self._order.append((now + self._keep, (sender, dialId)))

    def __len__(self) -> int:
        return len(self._seen)

    def _forget(self, now: float) -> None:
        while self._order and self._order[0][0] <= now:
            _, key = self._order.popleft()
            self._seen.discard(key)
            self._counts[key[0]] -= 1
            if not self._counts[key[0]]:
                del self._counts[key[0]]
