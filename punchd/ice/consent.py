"""
Consent and keepalives: the life of a pair after it has worked once
(RFC 7675, 5.1; RFC 8445, 11).

Every valid pair is kept, because the session moves between them.  A pair is
checked every 5 s while it is active, else at the keepalive interval.  A check
without an answer is repeated fast; when all of these stay unanswered, the pair
is lost if somebody had asked (L{Consent.probe}), else doubtful.  Consent itself
ends 30 s after the last response.  A lost pair is checked on with growing
pauses, since NATs and networks come back.
"""

from __future__ import annotations

from collections.abc import Callable

from .context import Context
from .events import LossReason, PairDoubtful, PairLost
from .pair import CandidatePair, CheckState
from .timing import probing

Transmit = Callable[[CandidatePair, float], None]


class Consent:
    """
    The schedule of pairs that are L{SUCCEEDED <CheckState.SUCCEEDED>} or
    L{LOST <CheckState.LOST>}.
    """

    def __init__(self, context: Context, transmit: Transmit) -> None:
        """
        @param transmit: sends one check on a pair.
        """
        self._context = context
        self._timing = context.timing
        self._transmit = transmit

    def settle(self, pair: CandidatePair, now: float) -> None:
        """
        The pair works: all doubt is gone.
        """
        pair.state = CheckState.SUCCEEDED
        pair.series = None
        pair.doubtful = False
        pair.attempts = 0
        pair.unansweredSince = pair.doubtedSince = pair.lostAt = None
        pair.nextCheck = now + self._interval(pair)

    def outdated(self, pair: CandidatePair, sentAt: float) -> bool:
        """
        @return: whether a response to a check of C{sentAt} is older than the
            doubt that a probe is to settle.
        """
        return pair.doubtedSince is not None and sentAt < pair.doubtedSince

    def probe(self, pair: CandidatePair, now: float) -> None:
        """
        Check now, repeat fast, and lose the pair when nothing comes back.  A
        probe that is going on is not begun anew, however often it is asked
        for.
        """
        series = pair.series
        if pair.valid and series is not None and series.told:
            if pair.lastSent is None or now - pair.lastSent >= self._timing.spacing:
                self._send(pair, now)
            return
        pair.attempts = 0
        pair.nextCheck = now + self._pause(pair)
        if pair.valid:
            pair.doubtedSince = now
        self._begin(pair, now, told=pair.valid)

    def check(self, pair: CandidatePair, now: float) -> None:
        """
        Check now and repeat fast, without a verdict but doubt.
        """
        if pair.series is None:
            self._begin(pair, now, told=False)
        else:
            self._send(pair, now)

    def triggered(self, pair: CandidatePair, now: float) -> None:
        """
        The peer's check has arrived: if we had doubts, now is the time to
        check (RFC 8445, 7.3.1.4).
        """
        series = pair.series
        calm = pair.valid and not pair.doubtful
        if calm and (series is None or series.count < 2):
            return
        if pair.lastSent is not None and now - pair.lastSent < self._timing.spacing:
            return
        self.check(pair, now)

    def setActive(self, pair: CandidatePair, active: bool, now: float) -> None:
        """
        Check C{pair} as one that carries data, or as an idle one.
        """
        if pair.active is active:
            return
        pair.active = active
        if pair.valid and pair.series is None and not pair.doubtful:
            last = now if pair.lastResponse is None else pair.lastResponse
            pair.nextCheck = last + self._interval(pair)
            if pair.nextCheck <= now:
                self._begin(pair, now, told=False)

    def reschedule(self, pair: CandidatePair, now: float) -> None:
        """
        The keepalive interval has changed.
        """
        if pair.valid and not pair.active and not pair.doubtful:
            last = now if pair.lastSent is None else pair.lastSent
            pair.nextCheck = max(now, last + self._interval(pair))

    def deadline(self, pair: CandidatePair) -> float:
        """
        @return: when L{timeReached} has something to do for C{pair}.
        """
        due = pair.nextCheck if pair.series is None else pair.series.due
        if not pair.valid:
            return min(due, self._abandonment(pair))
        return min(due, self._expiry(pair))

    def timeReached(self, pair: CandidatePair, now: float) -> None:
        """
        Do what is due for C{pair}.
        """
        if pair.valid and now >= self._expiry(pair):
            self.lose(pair, LossReason.CONSENT_EXPIRED, now)
        elif not pair.valid and now >= self._abandonment(pair):
            pair.state = CheckState.FAILED
            pair.series = pair.lostAt = None
        elif pair.series is not None:
            if now >= pair.series.due:
                self._continue(pair, now)
        elif now >= pair.nextCheck:
            if pair.valid and not pair.doubtful:
                self._begin(pair, now, told=False)
            else:
                self._send(pair, now)
                self._pauseNow(pair, now)

    def lose(self, pair: CandidatePair, reason: LossReason, now: float) -> None:
        """
        The pair is valid no longer.
        """
        pair.state = CheckState.LOST
        pair.lostAt = now
        pair.doubtful = pair.heard = False
        pair.series = None
        pair.attempts = 0
        self._pauseNow(pair, now)
        self._context.nomination.withdraw(pair)
        self._context.events.append(PairLost(pair, reason))

    def _continue(self, pair: CandidatePair, now: float) -> None:
        series = pair.series
        assert series is not None
        if not series.ended(now):
            self._send(pair, now)
            series.sent(now)
            return
        pair.series = None
        if series.told and pair.valid:
            self.lose(pair, LossReason.PROBE_UNANSWERED, now)
            return
        if pair.valid and not pair.doubtful:
            pair.doubtful = True
            self._context.events.append(PairDoubtful(pair))
        self._pauseNow(pair, now)

    def _begin(self, pair: CandidatePair, now: float, *, told: bool) -> None:
        rtt = self._context.rttOf(pair)
        pair.series = probing(now, rtt, self._timing, told=told)
        self._send(pair, now)
        pair.series.sent(now)

    def _send(self, pair: CandidatePair, now: float) -> None:
        if pair.unansweredSince is None:
            pair.unansweredSince = now
        self._transmit(pair, now)

    def _pause(self, pair: CandidatePair) -> float:
        timing = self._timing
        most = timing.mostDoubtWait if pair.valid else timing.mostRevivalWait
        return min(2.0 ** min(pair.attempts, 16), most)

    def _pauseNow(self, pair: CandidatePair, now: float) -> None:
        pair.nextCheck = now + self._pause(pair)
        pair.attempts += 1

    def _interval(self, pair: CandidatePair) -> float:
        if pair.active:
            return self._timing.consentInterval * self._context.jitter(0.8, 1.2)
        return self._context.keepalive * self._context.jitter(0.8, 1.0)

    def _expiry(self, pair: CandidatePair) -> float:
        """
        @return: when consent ends; never, while no check is unanswered.
        """
        since = pair.unansweredSince
        if since is None:
            return float("inf")
        last = since if pair.lastResponse is None else pair.lastResponse
        timing = self._timing
        return max(last + timing.consentTimeout, since + timing.grace)

    def _abandonment(self, pair: CandidatePair) -> float:
        lostAt = pair.lostAt
        return (0.0 if lostAt is None else lostAt) + self._timing.revivalTime
