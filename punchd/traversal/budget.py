"""
What attempts to get through may cost the network: the one place of its limits.

Routers of homes have been knocked out by 5,000 flows, and some drop bursts, so:
few new flows a second, few sockets, few probes, one spray at a time, and longer
and longer pauses between attempts.
"""

from __future__ import annotations

from typing import Final

from punchd.nat.birthday import BURST, MAX_PROBES, MAX_SOCKETS, RATE

#: Seconds of pause after the first attempt in vain; it doubles each time.
PAUSE: Final = 30.0
MOST_PAUSE: Final = 3600.0
#: The least after the lease of another spray was in the way.
LEAST_PAUSE: Final = 5.0
#: TCP ports, and connections tried, of one attempt: a spray before leaves them.
MAX_STREAMS: Final = 8
MAX_CONNECTS: Final = 96
#: Packets of one attempt to hosts at which nobody has observed the peer.
MAX_UNOBSERVED: Final = 16


class Budget:
    """
    I am what all sessions of a client share.

    A new flow is a socket's first packet to a destination: NATs make a mapping
    or at least an entry of it.  They are paid out of a bucket that holds L{BURST}
    and gets L{RATE} more a second.

    @ivar flows: how many were granted.
    @ivar refused: how many packets stayed here because of me.
    @ivar probes: packets sent by all attempts.
    @ivar sprays: how many sprays were begun.
    @ivar leases: how often we were allowed to spray behind our public address.
    @ivar leasesRefused: how often somebody else there did.
    """

    def __init__(
        self,
        *,
        rate: float = RATE,
        burst: int = BURST,
        maxSockets: int = MAX_SOCKETS,
        maxProbes: int = MAX_PROBES,
    ) -> None:
        """
        @param rate: new flows a second.
        @param burst: new flows that may come at once.
        @param maxSockets: further sockets of one attempt.
        @param maxProbes: packets of one attempt.
        """
        self.maxSockets = maxSockets
        self.maxProbes = maxProbes
        self.flows = self.refused = self.probes = self.sprays = 0
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled: float | None = None
        self._sprayer: object = None
        self.leases = self.leasesRefused = 0

    def _fill(self, now: float) -> None:
        if self._filled is not None:
            gained = max(0.0, now - self._filled) * self._rate
            self._tokens = min(float(self._burst), self._tokens + gained)
        self._filled = now

    def take(self, wanted: int, now: float) -> int:
        """
        @return: how many new flows may be made now, C{wanted} at the most.
        """
        self._fill(now)
        # Sums of floats are not exact.
        granted = min(wanted, int(self._tokens + 1e-6))
        self._tokens -= granted
        self.flows += granted
        return granted

    def giveBack(self, count: int) -> None:
        """
        Flows that were granted are not made after all.
        """
        self._tokens = min(float(self._burst), self._tokens + count)
        self.flows -= count

    def waitFor(self, wanted: int, now: float) -> float:
        """
        @return: seconds until L{take} would grant C{wanted}, or as many as may
            come at once.
        """
        self._fill(now)
        missing = min(wanted, self._burst) - self._tokens
        return max(0.0, missing / self._rate)

    def beginSpray(self, owner: object) -> bool:
        """
        @return: whether C{owner} may spray: nobody else does.
        """
        if self._sprayer is not None and self._sprayer is not owner:
            return False
        if self._sprayer is None:
            self.sprays += 1
        self._sprayer = owner
        return True

    def endSpray(self, owner: object) -> None:
        """
        C{owner} does not spray any more.
        """
        if self._sprayer is owner:
            self._sprayer = None

    def leased(self, granted: bool) -> None:
        """
        The rendezvous has answered whether we may spray.
        """
        if granted:
            self.leases += 1
        else:
            self.leasesRefused += 1

    @property
    def spraying(self) -> bool:
        """
        Whether a spray is going on.
        """
        return self._sprayer is not None

    def toDict(self) -> dict[str, int]:
        """
        @return: the counts, for status.
        """
        return {
            "flows": self.flows,
            "refused": self.refused,
            "probes": self.probes,
            "sprays": self.sprays,
            "spraying": int(self.spraying),
            "leases": self.leases,
            "leasesRefused": self.leasesRefused,
        }


class Allowance:
    """
    What one attempt may use.

    @ivar sockets: how many sockets it has opened.
    @ivar probes: how many packets it has sent.
    @ivar flows: how many flows it has made.
    @ivar streams: how many TCP ports it has opened.
    @ivar connects: how many TCP connections it has tried.
    @ivar unobserved: how many packets went where the peer only says that it is.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.sockets = self.probes = self.flows = 0
        self.streams = self.connects = self.unobserved = 0
        self._reserved = 0

    def openSocket(self) -> bool:
        """
        @return: whether it may open one more socket.
        """
        if self.sockets >= self.budget.maxSockets:
            return False
        self.sockets += 1
        return True

    def openStream(self) -> bool:
        """
        @return: whether it may open one more TCP port.
        """
        if self.streams >= MAX_STREAMS:
            return False
        self.streams += 1
        return True

    def connect(self, now: float) -> bool:
        """
        @return: whether one more TCP connection may be tried, each a new flow.
        """
        if self.connects >= MAX_CONNECTS or not self.reserve(1, now):
            self.budget.refused += 1
            return False
        self._reserved -= 1
        self.flows += 1
        self.connects += 1
        return True

    def reserve(self, wanted: int, now: float) -> int:
        """
        Set flows aside for a burst.

        @return: how many are set aside now, those of before included.
        """
        self._reserved += self.budget.take(max(0, wanted - self._reserved), now)
        return self._reserved

    def send(self, newFlow: bool, now: float, *, observed: bool = True) -> bool:
        """
        @param observed: whether the rendezvous has observed the peer there.

        @return: whether one more packet may leave.
        """
        spent = self.probes >= self.budget.maxProbes or (
            not observed and self.unobserved >= MAX_UNOBSERVED
        )
        if spent or (newFlow and not self.reserve(1, now)):
            self.budget.refused += 1
            return False
        self.unobserved += not observed
        if newFlow:
            self._reserved -= 1
            self.flows += 1
        self.probes += 1
        self.budget.probes += 1
        return True

    def release(self) -> None:
        """
        What was set aside and not used is free again.
        """
        self.budget.giveBack(self._reserved)
        self._reserved = 0


class Backoff:
    """
    I tell when one may try again what was in vain.
    """

    def __init__(self, pause: float = PAUSE) -> None:
        """
        @param pause: seconds after the first failure.
        """
        self._pause = pause
        self._failures = 0
        self._notBefore = float("-inf")

    def mayTry(self, now: float) -> bool:
        """
        @return: whether the pause is over.
        """
        return now >= self._notBefore

    def failed(self, now: float, wait: float | None = None) -> None:
        """
        An attempt was in vain.

        @param wait: seconds until it is worth another, because somebody else was
            at it, which is no failure of ours.
        """
        if wait is not None:
            self._notBefore = now + max(LEAST_PAUSE, wait)
            return
        pause = min(MOST_PAUSE, self._pause * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._notBefore = now + pause

    def reset(self) -> None:
        """
        It is another network, or it worked: nothing counts any more.
        """
        self._failures = 0
        self._notBefore = float("-inf")
