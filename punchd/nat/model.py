"""
What a NAT is believed to do when it chooses outside ports: which ports are to be
expected, and how probable each of them is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nlargest
from typing import Any, Final, NamedTuple

from punchd.core import Address

from .drift import Drift

#: The ports of a NAT of which nothing else is known.
LOW: Final = 1024
HIGH: Final = 65535

#: The most predictions in one answer.
MAX_PREDICTIONS: Final = 1750

#: The seconds from a sample to the shot for which L{PortModel.range} is made.
HORIZON: Final = 1.0

#: More foreign flows than these are not looked for.
_MAX_DRIFT: Final = 4096

#: A sequential model's range leaves out so much.
_TAIL: Final = 0.005


class Allocation(StrEnum):
    """
    How a NAT chooses the outside port of a new mapping.
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    PARITY = "parity"
    BLOCK = "block"
    RANDOM = "random"
    UNKNOWN = "unknown"


class Prediction(NamedTuple):
    """
    An outside address that the next mapping may get.
    """

    host: str
    port: int
    probability: float


class Anchor(NamedTuple):
    """
    The last port that a sequential NAT gave out at one of its hosts.

    @ivar time: when, in seconds.
    """

    host: str
    port: int
    time: float


@dataclass(frozen=True, slots=True)
class PortModel:
    """
    What is believed of one NAT, or of several in a row, which look like one.

    @ivar kind: see L{Allocation}.
    @ivar confidence: the probability that C{kind} is right, given the samples.
    @ivar samples: how many there were.
    @ivar low: the lowest port that is given out.
    @ivar high: the highest.
    @ivar stride: the distance of the ports in this range, 1 or 2.
    @ivar step: the distance from one port to the next of a sequential NAT.
    @ivar drift: the foreign flows of a sequential NAT.
    @ivar preserving: how often the outside port was the socket's own, a share.
    @ivar hosts: the outside hosts with the share of mappings of each.
    @ivar anchors: of a sequential NAT.
    @ivar mapped: the outside addresses of sockets, by local port; not sent to
        peers but for the first.
    @ivar used: outside ports that are taken by sockets of ours.
    @ivar open: whether there is an address at which everybody gets in.
    @ivar predictor: the L{IPortPredictor<punchd.interfaces>} plugin that explains
        the samples better than we can; not sent to peers.
    @ivar observed: what it explains.
    """

    kind: Allocation = Allocation.UNKNOWN
    confidence: float = 0.0
    samples: int = 0
    low: int = LOW
    high: int = HIGH
    stride: int = 1
    step: int = 0
    drift: Drift = field(default_factory=Drift)
    preserving: float = 0.0
    hosts: tuple[tuple[str, float], ...] = ()
    anchors: tuple[Anchor, ...] = ()
    mapped: tuple[tuple[int, Address], ...] = ()
    used: frozenset[int] = frozenset()
    open: bool = False
    predictor: Any = field(default=None, compare=False, repr=False)
    observed: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    # --- what is expected

    def predict(
        self,
        now: float,
        *,
        ahead: int = 0,
        count: int = 64,
        localPort: int | None = None,
    ) -> list[Prediction]:
        """
        Where will a new mapping be?

        @param now: when it will be made, in seconds.
        @param ahead: how many flows of ours will be made before it.
        @param count: how many predictions to return at the most.
        @param localPort: the port of the socket, if that is known; of those
            that keep one mapping, the first one that was sampled unless told.

        @return: the most probable addresses first; the probabilities sum up to
            1 at the most.
        """
        count = min(count, MAX_PREDICTIONS)
        return nlargest(
            count,
            self._expected(now, ahead, count, localPort),
            key=lambda each: each.probability,
        )

    def _expected(
        self, now: float, ahead: int, count: int, localPort: int | None
    ) -> Iterator[Prediction]:
        sure = self.confidence
        if self.kind is Allocation.SEQUENTIAL:
            yield from self._next(now, ahead, count)
        elif self.kind is Allocation.ENDPOINT_INDEPENDENT and self._known(localPort):
            host, port = self._known(localPort) or ("", 0)
            yield Prediction(host, port, sure)
        elif self.kind in (Allocation.ENDPOINT_INDEPENDENT, Allocation.PRESERVING):
            if localPort is not None and self.preserving:
                for host, share in self.hosts:
                    yield Prediction(host, localPort, sure * share * self.preserving)
        else:
            ports = self.ports(localPort)
            taken = sum(port in ports for port in self.used)
            free = max(1, len(ports) - taken)
            for host, share in self.hosts:
                found = 0
                for port in ports:
                    if port not in self.used:
                        yield Prediction(host, port, sure * share / free)
                        found += 1
                        if found >= count:
                            break

    def _known(self, localPort: int | None) -> Address | None:
        if localPort is None:
            return self.mapped[0][1] if self.mapped else None
        return dict(self.mapped).get(localPort)

    def _next(self, now: float, ahead: int, count: int) -> Iterator[Prediction]:
        shares = dict(self.hosts)
        for anchor in self.anchors:
            elapsed = max(0.0, now - anchor.time)
            share = self.confidence * shares.get(anchor.host, 0.0)
            # The distribution has one peak: enough on either side of it.
            peak = min(self.drift.rate * elapsed, _MAX_DRIFT)
            first = max(0, int(peak) - count) if self.drift.quiet < 0.01 else 0
            for foreign in range(first, int(peak) + count + 1):
                probability = self.drift.probability(foreign, elapsed)
                yield Prediction(
                    anchor.host,
                    self.after(anchor.port, 1 + ahead + foreign),
                    share * probability,
                )

    def after(self, port: int, count: int) -> int:
        """
        @return: the port that a sequential NAT gives out C{count} flows after
            C{port}.
        """
        size = self.high - self.low + 1
        return self.low + (port - self.low + count * self.step) % size

    def aim(self, now: float, sockets: int) -> Prediction | None:
        """
        The one port at which a burst of ours is to be expected: the peer sends
        there while C{sockets} sockets of ours send to the peer at once, so
        that between none and C{sockets} - 1 foreign flows may come before.

        @param now: when the burst will leave, in seconds.

        @return: the port, and the probability that one of ours gets it, or
            L{None} where ports are not sequential.
        """
        if self.kind is not Allocation.SEQUENTIAL or not self.anchors:
            return None
        shares = dict(self.hosts)
        anchor = max(self.anchors, key=lambda each: shares.get(each.host, 0.0))
        elapsed = max(0.0, now - anchor.time)
        last = self.drift.quantile(1 - _TAIL, elapsed) + 1
        odds = [self.drift.probability(k, elapsed) for k in range(last)]
        best, at = max(
            (sum(odds[max(0, m - sockets + 1) : m + 1]), -m)
            for m in range(last + sockets - 1)
        )
        share = self.confidence * shares.get(anchor.host, 0.0)
        return Prediction(
            anchor.host, self.after(anchor.port, 1 - at), min(1.0, share * best)
        )

    # --- where to spray

    def ports(self, localPort: int | None = None) -> range:
        """
        @param localPort: the socket's port, which decides over odd and even
            where parity is kept.

        @return: the ports that are possible, where they are not sequential.
        """
        if self.kind is Allocation.PARITY and localPort is not None:
            return range(self.low + (self.low + localPort) % 2, self.high + 1, 2)
        return range(self.low, self.high + 1, self.stride)

    @property
    def range(self) -> tuple[int, int]:
        """
        The lowest and the highest port to expect within L{HORIZON} seconds of
        the last sample.  Where a sequential NAT begins anew at its lowest port
        the second is the lower number.
        """
        return self.rangeAt(HORIZON)

    def rangeAt(self, elapsed: float) -> tuple[int, int]:
        """
        @param elapsed: the seconds since the last sample.

        @return: the same for another time.
        """
        if self.kind is Allocation.SEQUENTIAL and self.anchors:
            port = self.anchors[-1].port
            most = self.drift.quantile(1 - _TAIL, elapsed)
            ends = self.after(port, 1), self.after(port, 1 + most)
            return ends if self.step > 0 else ends[::-1]
        if self.kind is Allocation.ENDPOINT_INDEPENDENT and self.mapped:
            port = self.mapped[0][1][1]
            return port, port
        return self.low, self.high

    @property
    def size(self) -> int:
        """
        How many outside addresses are possible within L{HORIZON} seconds of the
        last sample.
        """
        low, high = self.range
        if self.kind is Allocation.SEQUENTIAL:
            span = (high - low) % (self.high - self.low + 1)
            return (span // max(1, abs(self.step)) + 1) * max(1, len(self.anchors))
        if self.kind is Allocation.ENDPOINT_INDEPENDENT and self.mapped:
            return 1
        # Of a socket whose port is known; a spray chooses its sockets.
        stride = 2 if self.kind is Allocation.PARITY else self.stride
        return ((high - low) // stride + 1) * max(1, len(self.hosts))

    @property
    def independent(self) -> bool:
        """
        Whether the peer can send to the port that the rendezvous sees.
        """
        return self.kind in (Allocation.ENDPOINT_INDEPENDENT, Allocation.PRESERVING)

    # --- in other forms

    def toDict(self, now: float) -> dict[str, Any]:
        """
        @see: L{punchd.nat.exchange}.
        """
        from .exchange import toDict

        return toDict(self, now)

    @classmethod
    def fromDict(cls, value: object, now: float) -> PortModel:
        """
        @raise ValueError: it is not the form of a model.

        @see: L{punchd.nat.exchange}.
        """
        from .exchange import fromDict

        return fromDict(value, now)

    def describe(self) -> str:
        """
        @return: one sentence in plain words.
        """
        from .exchange import describe

        return describe(self)
