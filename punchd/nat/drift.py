"""
How many flows of others come between two of ours, where a NAT hands out its
ports one after another.

They are a Poisson process whose rate is unknown.  With probability one half
there is nobody else (a home at night); else the rate is exponentially
distributed with a mean of 20 a second.  What is known after some samples is
again of that form, with a gamma distribution, so that what to expect can be
written down: a negative binomial distribution.  Real traffic is Poisson over a
second or so (Klinec and Matyas, 2014), so old samples teach the rate only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Final

#: The prior: the probability that there is nobody else, and the gamma
#: distribution's shape and time.
QUIET: Final = 0.5
SHAPE: Final = 1.0
SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Drift:
    """
    What is known of the rate of foreign flows.

    @ivar quiet: the probability that there are none.
    @ivar shape: of the gamma distribution of the rate otherwise: 1 + the flows
        that were seen.
    @ivar seconds: the time in which they were seen, and a little.
    """

    quiet: float = QUIET
    shape: float = SHAPE
    seconds: float = SECONDS

    @property
    def rate(self) -> float:
        """
        Foreign flows a second, the expected value.
        """
        return (1 - self.quiet) * self.shape / self.seconds

    def probability(self, count: int, elapsed: float) -> float:
        """
        @return: the probability of C{count} foreign flows in C{elapsed} seconds.
        """
        quiet = self.quiet if count == 0 else 0.0
        if elapsed <= 0:
            return float(count == 0)
        share = elapsed / (self.seconds + elapsed)
        some = (
            lgamma(self.shape + count)
            - lgamma(count + 1)
            - lgamma(self.shape)
            + self.shape * log(1 - share)
            + count * log(share)
        )
        return quiet + (1 - self.quiet) * exp(some)

    def quantile(self, probability: float, elapsed: float, limit: int = 4096) -> int:
        """
        @return: how many foreign flows there are at most in C{elapsed} seconds,
            with this probability.
        """
        total, count = 0.0, 0
        while count < limit:
            total += self.probability(count, elapsed)
            if total >= probability:
                break
            count += 1
        return count


def learn(gaps: Sequence[tuple[int, float]]) -> tuple[float, Drift]:
    """
    @param gaps: between two flows of ours each: the foreign flows, and the
        seconds.

    @return: the logarithm of the probability to see just that, and what is
        known thereafter.
    """
    total = sum(count for count, _ in gaps)
    # Of two flows in one instant it is unknown which came first at the NAT.
    times = [max(elapsed, 0.001) for _, elapsed in gaps]
    span = sum(times)
    some = (
        sum(
            count * log(elapsed) - lgamma(count + 1)
            for (count, _), elapsed in zip(gaps, times)
        )
        + SHAPE * log(SECONDS)
        - lgamma(SHAPE)
        + lgamma(SHAPE + total)
        - (SHAPE + total) * log(SECONDS + span)
    )
    evidence = (1 - QUIET) * exp(some) if some > -700 else 0.0
    if total == 0:
        quiet = QUIET / (QUIET + evidence)
        return log(QUIET + evidence), Drift(quiet, SHAPE, SECONDS + span)
    return log(1 - QUIET) + some, Drift(0.0, SHAPE + total, SECONDS + span)
