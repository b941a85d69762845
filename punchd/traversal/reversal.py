"""
Reversal: one side can be reached by anybody, so the other one comes to it.

Plain checks go both ways and find that side, unless the other one's punching socket
is stuck (L{punchd.traversal.fresh}).  Then the side that can be reached need not be
told where the other one is, nor send first: it says at which of its addresses it
can be reached, and a fresh socket of the other side sends there.  That works whatever
ports the other side's NAT chooses, and needs no server.
"""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from punchd.interfaces import ITraversalStrategy
from punchd.nat.model import PortModel

from .field import Attempt, Field
from .rounds import Rounds
from .verdict import Reason

#: It takes a packet or two, so it comes before all others.
_ODDS: Final = 0.999
#: Where the one who would come was seen by no server over UDP, TCP comes before.
_UNSEEN: Final = 0.4
#: Rounds; a side that waits cannot tell whether the other one shot.
_ROUNDS: Final = 2


class ReversalAttempt(Rounds):
    """
    One attempt of L{Reversal}.
    """

    rounds = mostRounds = _ROUNDS
    failure = Reason.NO_ANSWER

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.waits = field.ours.open

    def prepare(self, now: float) -> None:
        """
        Tell where we are, if everybody gets in there; take a fresh socket to come to
        the peer.
        """
        field = self.field
        if field.theirs.open:
            base = field.open()
            self.bases = [] if base is None else [base]
        doors = field.doors
        if doors:
            self.tell(doors[(self.number - 1) % len(doors)], now)
        else:
            self.ready(now)


@implementer(ITraversalStrategy)
class Reversal:
    """
    Who cannot be reached comes to who can.
    """

    name = "reversal"

    def odds(self, ours: PortModel, theirs: PortModel) -> float:
        """
        @return: the probability that it gets through.
        """
        found = 0.0
        for opened, comes in ((ours, theirs), (theirs, ours)):
            if opened.open:
                found = max(found, _ODDS if comes.samples else _UNSEEN)
        return found

    def attempt(self, field: Field) -> Attempt:
        """
        @return: our half of an attempt.
        """
        return ReversalAttempt(field)
