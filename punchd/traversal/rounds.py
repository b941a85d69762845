"""
Rounds: both sides tell each other where they are going to be, and shoot there.

The frame of those strategies that know where to aim; what they differ in is which
sockets they take, and how they know where those will be seen.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from punchd.core import Address

from .field import Field, addressOf
from .verdict import Reason

#: Rounds, for messages may be late.
MOST_ROUNDS: Final = 9
#: When a socket shoots, in units of the peers' round trip.
VOLLEYS: Final = (0.0, 0.5, 1.0, 1.75)
#: How long a round may take to its end, in the same unit.
_ROUND: Final = 3.0
#: Seconds that the peer's half of a round may take.
_PATIENCE: Final = 1.0


class Rounds:
    """
    One attempt.  Subclasses say with which sockets.

    @ivar rounds: how many in which we shot are enough.
    @ivar mostRounds: how many are in any case.
    @ivar failure: what it comes to when they were in vain.
    @ivar waits: whether the peer comes to us, so that a path that it finds is due
        to us, too.
    @ivar field: what there is to work with.
    @ivar bases: the sockets of this round.
    """

    rounds: ClassVar[int] = 3
    mostRounds: ClassVar[int] = MOST_ROUNDS
    failure: ClassVar[Reason] = Reason.NOT_HIT
    waits: bool = False

    def __init__(self, field: Field) -> None:
        self.field = field
        self.bases: list[Address] = []
        self._round = 0
        self._shot = 0
        self._aim: Address | None = None
        self._told = False
        self._volley = 0
        self._fired: float | None = None
        self._until = float("inf")
        self._hosts = frozenset(field.hosts)

    def start(self, now: float) -> None:
        """
        Both sides begin with the first round.
        """
        self._begin(1, now)

    def _begin(self, number: int, now: float) -> None:
        for base in self.bases:
            self.field.close(base)
        self._round = number
        self.bases = []
        self._aim = self._fired = None
        self._told = False
        self._volley = 0
        self._until = now + _PATIENCE + 3 * self.field.rtt
        self.prepare(now)

    def prepare(self, now: float) -> None:
        """
        A round begins: take sockets, and L{tell} when it is known where they are.
        """
        raise NotImplementedError

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        A server sees the socket C{base} at C{mapped}, or does not answer.
        """

    def mayAim(self, aim: Address) -> bool:
        """
        @return: whether the peer may be where it says that it is.
        """
        return aim[0] in self._hosts

    # --- what both sides say

    @property
    def number(self) -> int:
        """
        Which round it is, from 1 on.
        """
        return self._round

    @property
    def hasTold(self) -> bool:
        """
        Whether the peer knows where to aim in this round.
        """
        return self._told

    def tell(self, mapped: Address, now: float) -> None:
        """
        Tell the peer where to aim; shoot as soon as it has told as much.
        """
        self.field.tell({"round": self._round, "at": list(mapped)})
        self.ready(now)

    def ready(self, now: float) -> None:
        """
        There is nothing that the peer has to know, or it knows it.
        """
        self._told = True
        self._fire(now)

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        The peer says where it is going to be.
        """
        number = body.get("round")
        if type(number) is not int or not self._round <= number <= self.mostRounds:
            return
        if number > self._round and not self.field.leader:
            self._begin(number, now)
        if number != self._round or self._aim is not None:
            return
        aim = addressOf(body.get("at"))
        if aim is not None and self.mayAim(aim):
            self._aim = aim
            self._fire(now)

    def _fire(self, now: float) -> None:
        if self._told and self._aim is not None and self._fired is None:
            self._fired = now
            self._shot += 1
            self._until = now + _ROUND * self.field.rtt
            self.timeReached(now)

    # --- time

    def timeReached(self, now: float) -> None:
        """
        Shoot again, or begin again.
        """
        field = self.field
        while self._fired is not None and now >= self._volleyAt():
            ttl = field.openerTtl if self._volley == 0 else None
            self._volley += 1
            assert self._aim is not None
            for base in self.bases:
                field.shoot(base, self._aim, ttl, now)
        if now < self._until or not field.leader:
            return
        if self._shot >= self.rounds or self._round >= self.mostRounds:
            field.end(self.failure, now, rounds=self._shot)
        else:
            self._begin(self._round + 1, now)
            field.tell({"round": self._round})

    def _volleyAt(self) -> float:
        if self._fired is None or self._volley >= len(VOLLEYS):
            return float("inf")
        return self._fired + VOLLEYS[self._volley] * self.field.rtt

    def deadline(self) -> float | None:
        """
        @return: when the next volley, round or end is due.
        """
        due = self._volleyAt()
        if self.field.leader:
            due = min(due, self._until)
        return None if due == float("inf") else due
