"""
The agent's constants, and runs of transmissions as deadlines.

A check is not one retransmitted STUN transaction here but a L{Series} of
transmissions with an id each, see docs/protocol/ice.rst.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """
    All in seconds, unless it is a count or a factor.

    @ivar ta: the pace of first checks once the burst is used up; 50 ms by
        default in RFC 8445, 14.2, 20 ms is well supported by NATs.
    @ivar burst: how many first checks may leave at once.
    @ivar assumedRtt: the round trip when nobody has told or measured one.
    @ivar leastWait: the shortest wait between transmissions of a check.
    @ivar growth: by which waits grow after the first two.
    @ivar mostWait: the longest wait between transmissions of a check.
    @ivar checkTime: how long a pair is checked before it fails.
    @ivar spacing: a triggered transmission is left out when another left less
        than this before.
    @ivar consentInterval: between checks of an active pair, ±20 % (RFC 7675,
        5.1).
    @ivar consentTimeout: consent ends this long after the last authenticated
        response (RFC 7675, 5.1).
    @ivar grace: and no sooner than this after the first check that got no
        answer, for pairs whose keepalives are far apart.
    @ivar keepalive: between checks of an idle pair, less up to 20 %; Tr in
        RFC 8445, 11.
    @ivar probes: transmissions of a probe.
    @ivar leastProbeWait: the shortest wait between them.
    @ivar mostProbeWait: the longest.
    @ivar probeTime: the least time until a probe counts as unanswered.
    @ivar mostDoubtWait: the longest wait between checks of a doubtful pair.
    @ivar mostRevivalWait: the longest wait between checks of a lost pair.
    @ivar revivalTime: after this, a lost pair is checked no longer.
    @ivar answerTime: the least time that our answer takes until the peer begins
        with checks, however near it is.
    @ivar memory: how long a response to a transmission is still accepted.
    """

    ta: float = 0.02
    burst: int = 16
    assumedRtt: float = 0.05
    leastWait: float = 0.02
    growth: float = 1.5
    mostWait: float = 0.5
    checkTime: float = 8.0
    spacing: float = 0.005
    consentInterval: float = 5.0
    consentTimeout: float = 30.0
    grace: float = 10.0
    keepalive: float = 15.0
    probes: int = 5
    leastProbeWait: float = 0.05
    mostProbeWait: float = 0.4
    probeTime: float = 2.0
    mostDoubtWait: float = 5.0
    mostRevivalWait: float = 15.0
    revivalTime: float = 600.0
    answerTime: float = 0.025
    memory: float = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """
    @ivar pairs: of the check list (RFC 8445, 6.1.2.5).
    @ivar signalled: remote candidates that came by signaling.
    @ivar learned: remote candidates that came by checks.
    @ivar learnedLocal: local candidates that came by responses.
    @ivar relayedOnly: whether a pair must have a relayed end.
    """

    pairs: int = 100
    signalled: int = 20
    learned: int = 10
    learnedLocal: int = 10
    relayedOnly: bool = False


class Series:
    """
    A run of transmissions on one pair.

    @ivar started: when it began.
    @ivar due: when the next transmission, or the verdict, is due.
    @ivar end: when it counts as unanswered.
    @ivar told: whether somebody doubts the pair and asked for a verdict.
    @ivar count: how many transmissions there were.
    """

    __slots__ = (
        "_growth",
        "_most",
        "_repeats",
        "_times",
        "_wait",
        "count",
        "due",
        "end",
        "started",
        "told",
    )

    def __init__(
        self,
        now: float,
        end: float,
        wait: float,
        growth: float,
        most: float,
        *,
        repeats: int = 1,
        times: int | None = None,
        told: bool = False,
    ) -> None:
        """
        @param wait: the first wait.
        @param repeats: how many waits are as short as the first.
        @param times: the most transmissions, if that is limited.
        """
        self.started = now
        self.due = now
        self.end = end
        self.told = told
        self.count = 0
        self._wait = wait
        self._growth = growth
        self._most = most
        self._repeats = repeats
        self._times = times

    def sent(self, now: float) -> None:
        """
        A transmission has left: put the next one on the clock.
        """
        self.count += 1
        wait = self._wait
        if self.count >= self._repeats:
            self._wait = min(wait * self._growth, self._most)
        if self._times is not None and self.count >= self._times:
            self.due = self.end
        else:
            self.due = min(now + wait, self.end)

    def ended(self, now: float) -> bool:
        """
        @return: whether it is over without an answer.
        """
        return now >= self.end


def opening(now: float, rtt: float, timing: Timing) -> Series:
    """
    @return: the transmissions of a check that has to open a hole.  The far
        NAT eats the first one as a rule, so the second and the third follow
        half a round trip later each.
    """
    wait = min(max(rtt / 2, timing.leastWait), timing.mostWait)
    return Series(
        now,
        now + timing.checkTime,
        wait,
        timing.growth,
        timing.mostWait,
        repeats=2,
    )


def probing(now: float, rtt: float, timing: Timing, *, told: bool = False) -> Series:
    """
    @return: the transmissions of a check on a pair that has worked: nothing
        needs opening, so the second waits for the answer to the first.
    """
    wait = first = min(max(rtt * 1.5, timing.leastProbeWait), timing.mostProbeWait)
    total = 0.0
    for _ in range(timing.probes - 1):
        total += wait
        wait = min(wait * timing.growth, timing.mostProbeWait)
    return Series(
        now,
        now + max(timing.probeTime, total + 1.5 * rtt),
        first,
        timing.growth,
        timing.mostProbeWait,
        times=timing.probes,
        told=told,
    )
