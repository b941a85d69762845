"""
Optimism: no server has seen a side's UDP packets, but most NATs keep the port.

A firewall that drops what goes to a STUN server's port, or a server that is busy,
leaves a side without a public address to tell.  The rendezvous has seen that side's
TCP connection, though, so its public address is known, and the outside port is
likely to be that of the socket.  So both sides tell the address at which they are
seen, or believe to be, and shoot from their punching sockets.

It is a guess that takes a round trip and a half dozen packets, so it comes before
what takes longer.
"""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import ITraversalStrategy
from punchd.nat.model import Allocation, PortModel

from .field import Attempt, Field
from .rounds import Rounds
from .verdict import Reason

#: Not so probable, but much sooner over than TCP.
_ODDS: Final = 0.6
_GUESSED: Final = (Allocation.UNKNOWN, Allocation.PRESERVING)


class OptimisticAttempt(Rounds):
    """
    One attempt of L{Optimistic}.
    """

    rounds = 1
    failure = Reason.NO_ANSWER
    # Who is not seen has checked the right pair all along.
    waits = True

    def prepare(self, now: float) -> None:
        """
        Tell where the punching socket should be.
        """
        field = self.field
        if field.main is None:
            return
        host = field.publicHost
        at = field.mapped or (None if host is None else (host, field.main[1]))
        if at is not None:
            self.bases = [field.main]
            self.tell(at, now)

    def mayAim(self, aim: Address) -> bool:
        """
        @return: whether we would shoot there: nobody has observed the peer, so the
            field decides.
        """
        return self.field.claim(aim)


@implementer(ITraversalStrategy)
class Optimistic:
    """
    The NAT will have kept the port.
    """

    name = "optimistic"

    def odds(self, ours: PortModel, theirs: PortModel) -> float:
        """
        @return: the probability that it gets through; 0 where servers have told
            more.
        """
        models = (ours, theirs)
        if any(not m.independent and m.kind not in _GUESSED for m in models):
            return 0.0
        return _ODDS if any(not m.samples for m in models) else 0.0

    def attempt(self, field: Field) -> Attempt:
        """
        @return: our half of an attempt.
        """
        return OptimisticAttempt(field)
