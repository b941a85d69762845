"""
Prediction: a NAT that gives each destination the port after the last one.

Of the side behind such a NAT, two sockets ask a server where they are seen; then
K sockets send to the peer at once.  They get the K ports after the sample, moved
by the flows that others make meanwhile.  The peer aims at the one port that is
K after the last sample, which is one of them unless K or more foreign flows came
between.  Where both NATs are such, both sides do so, each of its K sockets
aimed at the one port of the other.

A side whose NAT keeps one port for all destinations uses its punching socket.
If both do, the plain checks should have worked and the port may be stuck; then
both take a fresh socket.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import ITraversalStrategy
from punchd.nat.model import Allocation, PortModel
from punchd.nat.predictors import foresee

from .field import Attempt, Field, addressOf
from .verdict import Reason

#: Sockets of a burst, and the fewest that one is worth.
SOCKETS: Final = 16
LEAST: Final = 12
#: Rounds in which both sides shot; and all, for messages may be late.
ROUNDS: Final = 3
MOST_ROUNDS: Final = 9
#: When a socket shoots, in units of the peers' round trip.
VOLLEYS: Final = (0.0, 0.5, 1.0, 1.75)
#: Sockets that ask where they are seen, at the same time.
_SAMPLES: Final = 2
_MOST_STEP: Final = 64
#: How long the first answer waits for the second, in units of the peers' round
#: trip: it may be lost, and ports are taken all the time.
_GRACE: Final = 0.2
#: How long a round may take to its end, in the same unit.
_ROUND: Final = 3.0
#: Seconds that the peer's half of a round may take.
_PATIENCE: Final = 1.0


class PredictionAttempt:
    """
    One attempt of L{Prediction}.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        self._round = 0
        self._shot = 0
        self._bases: list[Address] = []
        self._samples: dict[Address, Address] = {}
        self._aim: Address | None = None
        self._told = False
        self._volley = 0
        self._fired: float | None = None
        self._waiting: float | None = None
        self._until = self._enough = float("inf")
        self._hosts = frozenset(field.hosts)

    # --- a round

    def start(self, now: float) -> None:
        """
        Both sides begin with the first round.
        """
        self._begin(1, now)

    def _begin(self, number: int, now: float) -> None:
        for base in self._bases:
            self._field.close(base)
        self._round = number
        self._bases = []
        self._samples = {}
        self._aim = self._fired = None
        self._told = False
        self._volley = 0
        self._enough = float("inf")
        self._until = now + _PATIENCE + 3 * self._field.rtt
        self._prepare(now)

    def _prepare(self, now: float) -> None:
        field = self._field
        self._waiting = None
        if field.ours.kind is not Allocation.SEQUENTIAL:
            fresh = field.ours.independent and field.theirs.independent
            if fresh:
                self._sampleFresh(now)
            elif field.main is not None and field.mapped is not None:
                self._bases = [field.main]
                self._tell(field.mapped, now)
            return
        # Two of them are for the samples; as many more come until we shoot.
        count = min(SOCKETS, field.reserve(SOCKETS, now))
        if count < LEAST:
            self._waiting = now + max(0.02, field.waitFor(LEAST - count, now))
            return
        for _ in range(count):
            base = field.open()
            if base is not None:
                self._bases.append(base)
        for base in self._bases[:_SAMPLES]:
            field.sample(base, now)

    def _sampleFresh(self, now: float) -> None:
        base = self._field.open()
        if base is not None:
            self._bases = [base]
            self._field.sample(base, now)

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        Where the next sockets will be seen follows from this.
        """
        if mapped is None or self._told or base not in self._bases[:_SAMPLES]:
            return
        if self._field.ours.kind is not Allocation.SEQUENTIAL:
            self._tell(mapped, now)
            return
        self._samples[base] = mapped
        if len(self._samples) == _SAMPLES:
            self._tell(self._predicted(now), now)
        else:
            self._enough = now + _GRACE * self._field.rtt

    def _predicted(self, now: float) -> Address:
        """
        @return: where the peer is to aim.
        """
        ours = self._field.ours
        seen = [self._samples.get(each) for each in self._bases[:_SAMPLES]]
        found = [each for each in seen if each is not None]
        if ours.predictor is not None:
            fresh = [
                (base[1], at) for base, at in zip(self._bases, seen) if at is not None
            ]
            aim = foresee(ours, fresh, now)
            if aim is not None:
                return aim
        host, port = found[-1]
        if seen[-1] is None:
            # The last that asked has the port after this one.
            port = ours.after(port, 1)
        step = port - found[0][1]
        if found[0][0] == host and 0 < abs(step) <= _MOST_STEP and step % ours.step:
            # Nobody came between these two, unlike those of the model.
            ours = replace(ours, step=step)
        count = len(self._bases)
        # With very many foreign flows those expected are counted in.
        foreign = ours.drift.rate * self._field.rtt
        ahead = count + max(0, round(foreign - 0.6 * count))
        return (host, ours.after(port, ahead))

    def _tell(self, mapped: Address, now: float) -> None:
        self._told = True
        self._enough = float("inf")
        self._field.tell({"round": self._round, "at": list(mapped)})
        self._fire(now)

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        The peer says where it is going to be.
        """
        number = body.get("round")
        if type(number) is not int or not self._round <= number <= MOST_ROUNDS:
            return
        if number > self._round and not self._field.leader:
            self._begin(number, now)
        if number != self._round or self._aim is not None:
            return
        aim = addressOf(body.get("at"))
        if aim is not None and aim[0] in self._hosts:
            self._aim = aim
            self._fire(now)

    def _fire(self, now: float) -> None:
        if self._told and self._aim is not None and self._fired is None:
            self._fired = now
            self._shot += 1
            self._until = now + _ROUND * self._field.rtt
            self.timeReached(now)

    # --- time

    def timeReached(self, now: float) -> None:
        """
        Shoot again, or begin again.
        """
        field = self._field
        if self._waiting is not None and now >= self._waiting:
            self._prepare(now)
        if now >= self._enough:
            self._tell(self._predicted(now), now)
        while self._fired is not None and now >= self._volleyAt():
            ttl = field.openerTtl if self._volley == 0 else None
            self._volley += 1
            assert self._aim is not None
            for base in self._bases:
                field.shoot(base, self._aim, ttl, now)
        if now < self._until or not field.leader:
            return
        if self._shot >= ROUNDS or self._round >= MOST_ROUNDS:
            field.end(Reason.NOT_HIT, now, rounds=self._shot)
        else:
            self._begin(self._round + 1, now)
            field.tell({"round": self._round})

    def _volleyAt(self) -> float:
        if self._fired is None or self._volley >= len(VOLLEYS):
            return float("inf")
        return self._fired + VOLLEYS[self._volley] * self._field.rtt

    def deadline(self) -> float | None:
        """
        @return: when the next volley, round or end is due.
        """
        due = min(self._volleyAt(), self._enough)
        if self._waiting is not None:
            due = min(due, self._waiting)
        if self._field.leader:
            due = min(due, self._until)
        return None if due == float("inf") else due


@implementer(ITraversalStrategy)
class Prediction:
    """
    Both sides aim at the next ports of NATs that count.
    """

    name = "predicted"

    def odds(self, ours: PortModel, theirs: PortModel) -> float:
        """
        @return: the probability that it gets through.
        """
        found = 1.0
        for model in (ours, theirs):
            if model.kind is Allocation.SEQUENTIAL:
                share = max((share for _, share in model.hosts), default=0.0)
                found *= 0.95 * model.confidence * share
            elif not model.independent:
                return 0.0
        if ours.independent and theirs.independent:
            # Else the checks would have got through.
            return 0.3
        return found

    def attempt(self, field: Field) -> Attempt:
        """
        @return: our half of an attempt.
        """
        return PredictionAttempt(field)
