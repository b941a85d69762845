"""
ITraversalStrategy: both sides take a socket that nobody knows yet, and tell each other
where it is seen.
"""

from typing import Any

from zope.interface import implementer

from punchd.interfaces import ITraversalStrategy
from punchd.traversal.field import addressOf
from punchd.traversal.verdict import Reason

#: When to shoot, in round trips after both know where to; the first shot opens our NAT
#: and does not get as far as the peer's.
VOLLEYS = (0.0, 0.6, 1.2)
PATIENCE = 2.0


class Attempt:
    """
    Our half of an attempt (L{punchd.traversal.field.Attempt}).
    """

    def __init__(self, field: Any) -> None:
        self._field = field
        self._base = self._aim = self._began = None
        self._told = False
        self._shots = 0
        self._until = 0.0

    def start(self, now: float) -> None:
        """
        Ask a server where a fresh socket is seen.
        """
        self._until = now + PATIENCE
        self._base = self._field.open()
        if self._base is not None:
            self._field.sample(self._base, now)

    def sampled(self, base: Any, mapped: Any, now: float) -> None:
        """
        Tell the peer.
        """
        if mapped is not None:
            self._field.tell({"at": list(mapped)})
            self._told = True
            self._begin(now)

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        The peer tells us.
        """
        self._aim = addressOf(body.get("at"))
        self._begin(now)

    def _begin(self, now: float) -> None:
        if self._told and self._aim is not None and self._began is None:
            self._began = now
            self.timeReached(now)

    def timeReached(self, now: float) -> None:
        """
        Shoot, or give up.
        """
        while self._next() <= now:
            ttl = 2 if self._shots == 0 else None
            self._shots += 1
            self._field.shoot(self._base, self._aim, ttl, now)
        if now >= self._until and self._field.leader:
            self._field.end(Reason.NOT_HIT, now)

    def _next(self) -> float:
        if self._began is None or self._shots >= len(VOLLEYS):
            return float("inf")
        return self._began + VOLLEYS[self._shots] * self._field.rtt

    def deadline(self) -> float:
        """
        @return: when L{timeReached} has something to do.
        """
        return min(self._next(), self._until)


@implementer(ITraversalStrategy)
class NewPort:
    """
    Both sides take a socket that nobody knows yet.
    """

    name = "new-port"

    def odds(self, ours: Any, theirs: Any) -> float:
        """
        @see: L{ITraversalStrategy.odds}.
        """
        return 0.3 if ours.independent and theirs.independent else 0.0

    def attempt(self, field: Any) -> Any:
        """
        @see: L{ITraversalStrategy.attempt}.
        """
        return Attempt(field)


newPort = NewPort()
