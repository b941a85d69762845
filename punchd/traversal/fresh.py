"""
A fresh socket: the punching socket's port is stuck.

Both NATs keep one port for all destinations, so plain checks should have got
through.  If they did not, a flow may hang: a router whose line was down when the
flow began, or one that gave the port to somebody's early packet, remembers it as
long as we send, and sends the packets nowhere.  So both sides take a socket that
has no past, ask where it is seen, and shoot; three of them, one after another.
"""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import ITraversalStrategy
from punchd.nat.model import PortModel

from .field import Attempt, Field
from .rounds import Rounds

#: How probable it is: a firewall may be the reason as well.
_ODDS: Final = 0.3


class FreshAttempt(Rounds):
    """
    One attempt of L{Fresh}.
    """

    def prepare(self, now: float) -> None:
        """
        Take a socket that has never sent.
        """
        base = self.field.open()
        if base is not None:
            self.bases = [base]
            self.field.sample(base, now)

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        That is where the peer will see it, too.
        """
        if mapped is not None and base in self.bases and not self.hasTold:
            self.tell(mapped, now)


@implementer(ITraversalStrategy)
class Fresh:
    """
    Both sides leave a port that is stuck.
    """

    name = "fresh"

    def odds(self, ours: PortModel, theirs: PortModel) -> float:
        """
        @return: the probability that it gets through.
        """
        return _ODDS if ours.independent and theirs.independent else 0.0

    def attempt(self, field: Field) -> Attempt:
        """
        @return: our half of an attempt.
        """
        return FreshAttempt(field)
