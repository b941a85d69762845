"""
How much is done for sources that have proven nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from .address import prefixOf


class PrefixLimit:
    """
    I let each network, an IPv4 /24 or an IPv6 /56, have a burst and then a
    rate, and all networks together likewise.  I remember a bounded number of
    networks, however many sources an attacker makes up.

    @ivar refused: how often I said no.
    """

    def __init__(
        self,
        rate: float = 50.0,
        burst: float = 200.0,
        *,
        totalRate: float = 8000.0,
        maximum: int = 4096,
    ) -> None:
        """
        @param rate: what a network may do a second in the long run.
        @param burst: what a quiet network may do at once.
        @param totalRate: what all may do together in a second.
        @param maximum: how many networks to remember.
        """
        self._rate = rate
        self._burst = burst
        self._totalRate = totalRate
        self._maximum = maximum
        self._total = totalRate
        self._totalAt = 0.0
        # Network to (tokens, time), least recently used first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.refused = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, host: str, now: float) -> bool:
        """
        @return: whether to do one more thing for C{host}, which is counted.
        """
        self._total = min(
            self._totalRate, self._total + (now - self._totalAt) * self._totalRate
        )
        self._totalAt = now
        try:
            prefix = prefixOf(host)
        except ValueError:
            prefix = ""
        buckets = self._buckets
        tokens, at = buckets.pop(prefix, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        allowed = tokens >= 1.0 and self._total >= 1.0
        if allowed:
            tokens -= 1.0
            self._total -= 1.0
        else:
            self.refused += 1
        buckets[prefix] = (tokens, now)
        if len(buckets) > self._maximum:
            buckets.popitem(last=False)
        return allowed


class NoLimit:
    """
    I allow everything.
    """

    refused: Final = 0

    def allows(self, host: str, now: float) -> bool:
        """
        @return: True.
        """
        return True
