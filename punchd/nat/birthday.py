"""
The arithmetic of sprays: one side opens k sockets, each of which gets an
outside port unknown to the other, which probes m different ports of the N that
there may be.

No two sockets have one port and no port is probed twice, so both are draws
without replacement, and the chance that none of the probes meets any of the
sockets is C(N-k, m) / C(N, m).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, lgamma
from typing import Final

#: The caps of one attempt: routers have been knocked out by 5,000 flows.
MAX_SOCKETS: Final = 256
MAX_PROBES: Final = 1750

#: Flows (socket, destination) a second, after the opening burst.
RATE: Final = 50.0
BURST: Final = 16

#: The ports that a NAT hands out unless it is known to do otherwise.
PORTS: Final = 65536 - 1024


def _logChoose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def hitProbability(ports: int, sockets: int, probes: int) -> float:
    """
    @param ports: how many outside ports are possible, N.
    @param sockets: how many of them are open, k.
    @param probes: how many different ones are tried, m.

    @return: the probability that one of the probes meets a socket,
        1 - C(N-k, m)/C(N, m).

    @raise ValueError: a number is negative.
    """
    if min(ports, sockets, probes) < 0:
        raise ValueError("a count is negative")
    sockets, probes = min(sockets, ports), min(probes, ports)
    if not sockets or not probes:
        return 0.0
    if sockets + probes > ports:
        return 1.0
    if min(sockets, probes) <= 64:
        # The product is exact; the difference of logarithms of huge numbers
        # is good to nine digits only.
        miss = 1.0
        for i in range(min(sockets, probes)):
            miss *= 1 - max(sockets, probes) / (ports - i)
        return 1 - miss
    return -expm1(_logChoose(ports - sockets, probes) - _logChoose(ports, probes))


def repeatingProbability(ports: int, sockets: int, probes: int) -> float:
    """
    @return: the same for a prober who may try a port twice: 1 - (1 - k/N)^m.
    """
    if not ports:
        return 0.0
    return 1 - (1 - min(sockets, ports) / ports) ** probes


def expectedProbes(ports: int, sockets: int) -> float:
    """
    @return: how many different probes it takes on average until one meets a
        socket: (N+1)/(k+1).
    """
    return (ports + 1) / (sockets + 1)


def probesFor(ports: int, sockets: int, probability: float) -> int:
    """
    @return: the least number of different probes that reach C{probability}.

    @raise ValueError: there is no socket, or the probability is not below 1.
    """
    if not 0 <= probability < 1 or sockets < 1:
        raise ValueError("expected at least one socket and a probability below 1")
    low, high = 0, ports
    while low < high:
        middle = (low + high) // 2
        if hitProbability(ports, sockets, middle) >= probability:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True, slots=True)
class Spray:
    """
    The size of a spray.

    @ivar sockets: to be opened on the side whose ports are unknown.
    @ivar probes: different ports to be tried by the other side.
    @ivar probability: that one meets the other.
    @ivar seconds: how long it takes both sides under L{RATE} and L{BURST}.
    """

    sockets: int
    probes: int
    probability: float
    seconds: float


def sizeSpray(
    ports: int,
    probability: float = 0.98,
    *,
    maxSockets: int = MAX_SOCKETS,
    maxProbes: int = MAX_PROBES,
    quota: int | None = None,
) -> Spray:
    """
    The spray that reaches C{probability} with the fewest flows on both sides
    together, or the best one that the caps allow.

    @param ports: how many outside ports are possible.
    @param quota: how many ports the NAT gives to one customer, if it does;
        the sockets take an eighth of them at most, since everything else in
        the house lives on the rest.
    """
    if quota is not None:
        maxSockets = min(maxSockets, max(1, quota // 8))
    maxSockets = max(1, min(maxSockets, ports))
    maxProbes = max(1, min(maxProbes, ports))
    wanted = min(probability, 0.999999)
    best: tuple[int, int] | None = None
    for sockets in _counts(maxSockets):
        if hitProbability(ports, sockets, maxProbes) < wanted:
            continue
        probes = max(1, probesFor(ports, sockets, wanted))
        if best is None or sockets + probes < sum(best):
            best = (sockets, probes)
    sockets, probes = best or (maxSockets, maxProbes)
    return Spray(
        sockets,
        probes,
        hitProbability(ports, sockets, probes),
        max(0, max(sockets, probes) - BURST) / RATE,
    )


def _counts(maximum: int) -> list[int]:
    found = {maximum, *range(1, min(maximum, 32) + 1), *range(32, maximum, 8)}
    return sorted(found)


def bothUnknown(ports: int, tuplesA: int, tuplesB: int) -> float:
    """
    @param tuplesA: how many (socket, destination port) one side tries.

    @return: the probability that a pair fits where both sides' ports are
        random: about 1 - e^(-ab/N²), which no decent budget makes large.
    """
    return -expm1(-tuplesA * tuplesB / ports**2) if ports else 0.0


def afterRounds(probability: float, rounds: int) -> float:
    """
    @return: the probability that one of several independent rounds succeeds.
    """
    return 1 - (1 - probability) ** rounds
