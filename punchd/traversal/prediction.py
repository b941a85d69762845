"""
Prediction: a NAT that gives each destination the port after the last one.

Of the side behind such a NAT, two sockets ask a server where they are seen; then
K sockets send to the peer at once.  They get the K ports after the sample, moved
by the flows that others make meanwhile.  The peer aims at the one port that is
K after the last sample, which is one of them unless K or more foreign flows came
between.  Where both NATs are such, both sides do so, each of its K sockets
aimed at the one port of the other.

A side whose NAT keeps one port for all destinations uses its punching socket, and
after a round in vain a socket without a past: where an early packet, such as a check
over the peer's relay, has taken the punching socket's port, the NAT uses another one
towards everybody new.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import ITraversalStrategy
from punchd.nat.model import Allocation, PortModel
from punchd.nat.predictors import foresee

from .field import Attempt, Field
from .rounds import Rounds

#: Sockets of a burst, and the fewest that one is worth.
SOCKETS: Final = 16
LEAST: Final = 12
#: Sockets that ask where they are seen, at the same time.
_SAMPLES: Final = 2
_MOST_STEP: Final = 64
#: How long the first answer waits for the second, in units of the peers' round
#: trip: it may be lost, and ports are taken all the time.
_GRACE: Final = 0.2


class PredictionAttempt(Rounds):
    """
    One attempt of L{Prediction}.
    """

    # A message that comes late makes a round vain, and some do where packets get lost.
    rounds = 5

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._samples: dict[Address, Address] = {}
        self._waiting: float | None = None
        self._enough = float("inf")

    def prepare(self, now: float) -> None:
        """
        Take K sockets where the NAT counts, two of which ask where they are; and the
        punching socket where it keeps one port.
        """
        self._samples = {}
        self._enough = float("inf")
        self._take(now)

    def _take(self, now: float) -> None:
        field = self.field
        self._waiting = None
        if field.ours.kind is not Allocation.SEQUENTIAL:
            base = None if self.number == 1 else field.open()
            if base is None:
                self._takeMain(now)
            else:
                self.bases = [base]
                field.sample(base, now)
            return
        # Two of them are for the samples; as many more come until we shoot.
        count = min(SOCKETS, field.reserve(SOCKETS, now))
        if count < LEAST:
            self._waiting = now + max(0.02, field.waitFor(LEAST - count, now))
            return
        for _ in range(count):
            base = field.open()
            if base is not None:
                self.bases.append(base)
        for base in self.bases[:_SAMPLES]:
            field.sample(base, now)

    def _takeMain(self, now: float) -> None:
        field = self.field
        if field.main is not None and field.mapped is not None:
            self.bases = [field.main]
            self.tell(field.mapped, now)

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        Where the next sockets will be seen follows from this.
        """
        if self.field.ours.kind is not Allocation.SEQUENTIAL:
            if not self.hasTold and base in self.bases and mapped is not None:
                self.tell(mapped, now)
            return
        if mapped is None or self.hasTold or base not in self.bases[:_SAMPLES]:
            return
        self._samples[base] = mapped
        if len(self._samples) == _SAMPLES:
            self._predict(now)
        else:
            self._enough = now + _GRACE * self.field.rtt

    def _predict(self, now: float) -> None:
        self._enough = float("inf")
        self.tell(self._predicted(now), now)

    def _predicted(self, now: float) -> Address:
        """
        @return: where the peer is to aim.
        """
        ours = self.field.ours
        seen = [self._samples.get(each) for each in self.bases[:_SAMPLES]]
        found = [each for each in seen if each is not None]
        if ours.predictor is not None:
            fresh = [
                (base[1], at) for base, at in zip(self.bases, seen) if at is not None
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
        count = len(self.bases)
        # With very many foreign flows those expected are counted in.
        foreign = ours.drift.rate * self.field.rtt
        ahead = count + max(0, round(foreign - 0.6 * count))
        return (host, ours.after(port, ahead))

    def timeReached(self, now: float) -> None:
        """
        Take the sockets that the budget did not allow, or make do with one sample.
        """
        if self._waiting is not None and now >= self._waiting:
            self._take(now)
        if now >= self._enough:
            self._predict(now)
        super().timeReached(now)

    def deadline(self) -> float | None:
        """
        @return: when there is something to do.
        """
        due = [super().deadline(), self._waiting, self._enough]
        found = min(each for each in due if each is not None)
        return None if found == float("inf") else found


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
        # Checks alone get through where both keep their ports.
        return 0.0 if ours.independent and theirs.independent else found

    def attempt(self, field: Field) -> Attempt:
        """
        @return: our half of an attempt.
        """
        return PredictionAttempt(field)
