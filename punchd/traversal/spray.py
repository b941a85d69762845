"""
Spray: one side's ports are random, the other's NAT keeps one port for all.

The first, the opener, opens many sockets, each of which sends one packet to the
other's known address that opens its own NAT only.  The other, the searcher,
tries different ports in an order without a pattern, until one of them is that
of a socket: the birthday paradox makes that soon.  How many of both are needed
follows from the range of ports that was measured
(L{punchd.nat.birthday.sizeSpray}).  When nearly all have been tried, each of the many
sockets sends a packet that gets through where its port was tried too early.

The searcher takes a socket without a past, if it gets one: an early packet, such as
a check over the opener's relay, may have taken the punching socket's port, so that
the NAT uses another one towards everybody new.
"""

from __future__ import annotations

from math import gcd
from typing import Any, Final

from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import ITraversalStrategy
from punchd.nat.birthday import BURST, hitProbability, sizeSpray
from punchd.nat.birthday import Spray as Size
from punchd.nat.model import Allocation, PortModel

from .field import Attempt, Field, addressOf
from .verdict import Reason

#: The probability that a spray is sized for, if the caps allow it.
WANTED: Final = 0.998
#: Seconds after which a socket's binding is refreshed.
REFRESH: Final = 10.0
#: Seconds that the whole may take.
PATIENCE: Final = 45.0
#: Seconds after which the searcher's NAT is about to forget whom it tried first:
#: Linux remembers a flow without an answer for 30, and the opener's sockets take 5.
_KEPT: Final = 24.0
_PAUSE: Final = 0.02
_RANDOM: Final = (Allocation.RANDOM, Allocation.BLOCK, Allocation.PARITY)


def sizeOf(model: PortModel) -> Size:
    """
    @param model: of the opener's NAT.

    @return: how many sockets and probes to use.
    """
    ports = rangeOf(model)
    quota = ports if model.kind is Allocation.BLOCK else None
    return sizeSpray(ports, WANTED, quota=quota)


def rangeOf(model: PortModel) -> int:
    """
    @return: how many outside addresses the opener's sockets may get, odd ones
        and even ones.
    """
    return max(1, len(model.ports()) * len(model.hosts))


class Shuffle:
    """
    Numbers below C{count} in an order without a pattern, each once.
    """

    def __init__(self, count: int, seed: bytes) -> None:
        """
        @param seed: 8 random octets.
        """
        self._count = max(1, count)
        self._offset = int.from_bytes(seed[:4], "big") % self._count
        factor = int.from_bytes(seed[4:], "big") % self._count
        while gcd(factor, self._count) != 1:
            factor += 1
        self._factor = factor

    def __getitem__(self, index: int) -> int:
        return (index * self._factor + self._offset) % self._count


class Opener:
    """
    The half with many sockets.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        self._wanted = sizeOf(field.ours).sockets
        self._bases: list[Address] = []
        self._peer: Address | None = None
        self._nextAt: float | None = None
        self._until = float("inf")
        self._refreshAt = float("inf")
        self._refreshed = 0
        self._reaching = False
        self._told = False

    def start(self, now: float) -> None:
        """
        Wait for the other's address.
        """
        self._until = now + PATIENCE

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        Where the other is, or that it has tried all, or given up.
        """
        at = addressOf(body.get("at"))
        if at is not None and self._peer is None and at[0] in self._field.hosts:
            self._peer = at
            self._nextAt = now
            self.timeReached(now)
        elif body.get("tried") and not self._reaching:
            # The other has tried some of these ports too early, and lets in who
            # answers from there.  Before, this might have cost it its own port.
            self._reaching = True
            self._refreshed = 0
            self._refreshAt = now
            self.timeReached(now)
        elif body.get("over"):
            self._end(now)

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        Nothing was asked.
        """

    def timeReached(self, now: float) -> None:
        """
        Open what the budget allows; refresh what is old.
        """
        if self._nextAt is not None and now >= self._nextAt:
            self._open(now)
        if now >= self._refreshAt:
            self._refresh(now)
        if now >= self._until:
            self._end(now)

    def _open(self, now: float) -> None:
        field = self._field
        assert self._peer is not None
        granted = field.reserve(min(self._wanted - len(self._bases), BURST), now)
        for _ in range(granted):
            base = field.open()
            if base is None:
                self._wanted = len(self._bases)
                break
            self._bases.append(base)
            field.shoot(base, self._peer, field.openerTtl, now)
        if not self._told and self._bases:
            self._told = True
            field.tell({"go": True})
        if len(self._bases) < self._wanted:
            self._nextAt = now + max(_PAUSE, field.waitFor(1, now))
        else:
            self._nextAt = None
            self._refreshAt = min(self._refreshAt, now + field.rtt)

    def _refresh(self, now: float) -> None:
        assert self._peer is not None
        if not self._bases:
            return
        base = self._bases[self._refreshed % len(self._bases)]
        self._refreshed += 1
        ttl = None if self._reaching else self._field.openerTtl
        self._field.shoot(base, self._peer, ttl, now)
        pause = REFRESH / len(self._bases) if self._refreshed > len(self._bases) else 0
        self._refreshAt = now + max(_PAUSE, pause)

    def _end(self, now: float) -> None:
        self._field.end(Reason.NOT_HIT, now, socketsOpened=len(self._bases))

    def deadline(self) -> float | None:
        """
        @return: when there is something to do.
        """
        due = min(self._until, self._refreshAt)
        return due if self._nextAt is None else min(due, self._nextAt)


class Searcher:
    """
    The half that tries ports.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        theirs = field.theirs
        self._hosts = [h for h, _ in theirs.hosts if h in field.hosts]
        self._ports = theirs.ports()
        self._total = len(self._ports) * len(self._hosts)
        self._wanted = min(sizeOf(theirs).probes, self._total)
        # The opener's sockets send once more, each at its time.
        self._answers = _PAUSE * sizeOf(theirs).sockets
        self._order = Shuffle(self._total, field.entropy(8))
        self._sent = 0
        self._base: Address | None = None
        self._reachedAt: float | None = None
        self._nextAt: float | None = None
        self._until = float("inf")

    def start(self, now: float) -> None:
        """
        Say where we are; the other opens its NAT first.
        """
        self._until = now + PATIENCE
        self._base = self._field.open() if self._total else None
        if self._base is None:
            self._takeMain(now)
        else:
            self._field.sample(self._base, now)

    def _takeMain(self, now: float) -> None:
        field = self._field
        self._base = field.main
        if self._base is None or field.mapped is None or not self._total:
            field.end(Reason.NO_CANDIDATES, now)
        else:
            field.tell({"at": list(field.mapped)})

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        The other has opened the first of its sockets.
        """
        ready = self._base is not None and self._nextAt is None
        if body.get("go") and ready and not self._sent:
            self._nextAt = now
            self._reachedAt = now + _KEPT
            self.timeReached(now)

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        That is where the other's sockets have to send to.
        """
        if mapped is None:
            self._takeMain(now)
        else:
            self._field.tell({"at": list(mapped)})

    def timeReached(self, now: float) -> None:
        """
        Try as many ports as the budget allows.
        """
        field = self._field
        if self._nextAt is not None and now >= self._nextAt:
            assert self._base is not None
            for _ in range(field.reserve(min(self._wanted - self._sent, BURST), now)):
                each = self._order[self._sent]
                host = self._hosts[each % len(self._hosts)]
                port = self._ports[each // len(self._hosts)]
                if not field.shoot(self._base, (host, port), None, now):
                    self._wanted = self._sent
                    break
                self._sent += 1
            if self._sent < self._wanted:
                self._nextAt = now + max(_PAUSE, field.waitFor(1, now))
            else:
                self._nextAt = None
                self._until = min(self._until, now + 4 * field.rtt + self._answers)
            done = self._nextAt is None
            if self._reachedAt is not None and (done or now >= self._reachedAt):
                self._reachedAt = None
                field.tell({"tried": True})
        if now >= self._until:
            field.tell({"over": True})
            field.end(Reason.NOT_HIT, now, portsTried=self._sent, range=self._total)

    def deadline(self) -> float | None:
        """
        @return: when there is something to do.
        """
        return self._until if self._nextAt is None else min(self._until, self._nextAt)


@implementer(ITraversalStrategy)
class Spray:
    """
    One side opens many ports, and the other one tries many.
    """

    name = "spray"

    def odds(self, ours: PortModel, theirs: PortModel) -> float:
        """
        @return: the probability that it gets through.
        """
        for opener, searcher in ((ours, theirs), (theirs, ours)):
            if opener.kind in _RANDOM and searcher.independent:
                size = sizeOf(opener)
                return hitProbability(rangeOf(opener), size.sockets, size.probes)
        return 0.0

    def attempt(self, field: Field) -> Attempt:
        """
        @return: our half of an attempt.
        """
        return Searcher(field) if field.ours.independent else Opener(field)
