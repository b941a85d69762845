"""
How a NAT chooses the port of a new mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from random import Random
from typing import Protocol

from punchd.core import Address

#: Is this outside port free?
IsFree = Callable[[int], bool]


class Allocation(Protocol):
    """
    A way to choose ports; one object for one public address of one NAT.
    """

    def choose(
        self, inside: Address, isFree: IsFree, now: float, random: Random
    ) -> int | None:
        """
        @return: the port for a new mapping of C{inside}, or L{None} when there
            is none left.
        """

    def copy(self) -> Allocation:
        """
        @return: the same for another public address.
        """


def anyOf(low: int, high: int, step: int, isFree: IsFree, random: Random) -> int | None:
    """
    @return: a random free port out of C{range(low, high + 1, step)}.
    """
    ports = range(low, high + 1, step)
    for _ in range(64):
        port = ports[int(random.random() * len(ports))]
        if isFree(port):
            return port
    free = [port for port in ports if isFree(port)]
    return free[int(random.random() * len(free))] if free else None


def poisson(mean: float, random: Random) -> int:
    """
    @return: how many of a Poisson process happened.
    """
    if mean > 500:
        return max(0, round(random.gauss(mean, mean**0.5)))
    limit, product, count = exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count


class Preserving:
    """
    The same port outside as inside; a random one when that is taken, as Linux
    does.
    """

    def __init__(self, low: int = 1024, high: int = 65535) -> None:
        self.low = low
        self.high = high

    def choose(
        self, inside: Address, isFree: IsFree, now: float, random: Random
    ) -> int | None:
        """
        @return: see L{Allocation.choose}.
        """
        if isFree(inside[1]):
            return inside[1]
        return anyOf(self.low, self.high, 1, isFree, random)

    def copy(self) -> Preserving:
        """
        @return: see L{Allocation.copy}.
        """
        return Preserving(self.low, self.high)


class Sequential:
    """
    The next port after the last, while other people's flows take ports too.

    @ivar step: the distance; may be negative.
    @ivar foreign: other flows a second, a Poisson process.
    @ivar last: the port given last, random at first.
    """

    def __init__(
        self,
        step: int = 1,
        foreign: float = 0.0,
        low: int = 1024,
        high: int = 65535,
        last: int | None = None,
    ) -> None:
        self.step = step
        self.foreign = foreign
        self.low = low
        self.high = high
        self.last = last
        self._time = 0.0

    def choose(
        self, inside: Address, isFree: IsFree, now: float, random: Random
    ) -> int | None:
        """
        @return: see L{Allocation.choose}.
        """
        size = self.high - self.low + 1
        if self.last is None:
            self.last = self.low + int(random.random() * size)
        elif self.foreign and now > self._time:
            self._advance(poisson(self.foreign * (now - self._time), random))
        self._time = now
        for _ in range(size):
            self._advance(1)
            if isFree(self.last):
                return self.last
        return None

    def _advance(self, count: int) -> None:
        assert self.last is not None
        size = self.high - self.low + 1
        self.last = self.low + (self.last - self.low + count * self.step) % size

    def copy(self) -> Sequential:
        """
        @return: see L{Allocation.copy}.
        """
        return Sequential(self.step, self.foreign, self.low, self.high)


class RandomPorts:
    """
    Any free port of a range.

    @ivar step: 1, or 2 for every second port of the range.
    """

    def __init__(self, low: int = 1024, high: int = 65535, step: int = 1) -> None:
        self.low = low
        self.high = high
        self.step = step

    def choose(
        self, inside: Address, isFree: IsFree, now: float, random: Random
    ) -> int | None:
        """
        @return: see L{Allocation.choose}.
        """
        return anyOf(self.low, self.high, self.step, isFree, random)

    def copy(self) -> RandomPorts:
        """
        @return: see L{Allocation.copy}.
        """
        return type(self)(self.low, self.high, self.step)


class Block:
    """
    Each inside host has a block of C{size} ports, chosen at its first packet;
    a random free one out of it (RFC 7422).
    """

    def __init__(self, size: int = 1024, low: int = 1024, high: int = 65535) -> None:
        self.size = size
        self.low = low
        self.high = high
        self.blocks: dict[str, int] = {}

    def choose(
        self, inside: Address, isFree: IsFree, now: float, random: Random
    ) -> int | None:
        """
        @return: see L{Allocation.choose}.
        """
        first = self.blocks.get(inside[0])
        if first is None:
            taken = set(self.blocks.values())
            starts = range(self.low, self.high - self.size + 2, self.size)
            free = [start for start in starts if start not in taken]
            if not free:
                return None
            first = free[int(random.random() * len(free))]
            self.blocks[inside[0]] = first
        return anyOf(first, first + self.size - 1, 1, isFree, random)

    def copy(self) -> Block:
        """
        @return: see L{Allocation.copy}.
        """
        return Block(self.size, self.low, self.high)


class Parity:
    """
    A random port that is even or odd as the inside one (RFC 4787, section
    4.2.2).
    """

    def __init__(self, low: int = 1024, high: int = 65535) -> None:
        self.low = low
        self.high = high

    def choose(
        self, inside: Address, isFree: IsFree, now: float, random: Random
    ) -> int | None:
        """
        @return: see L{Allocation.choose}.
        """
        first = self.low + (self.low + inside[1]) % 2
        return anyOf(first, self.high, 2, isFree, random)

    def copy(self) -> Parity:
        """
        @return: see L{Allocation.copy}.
        """
        return Parity(self.low, self.high)
