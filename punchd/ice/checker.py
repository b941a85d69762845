"""
Connectivity checks, the side that asks (RFC 8445, 7.2).
"""

from __future__ import annotations

from punchd.core import Address, Datagram
from punchd.stun.address import isPublic, packHost
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, MessageClass, Method, request

from .candidate import Candidate, CandidateType, checkPriority, foundation
from .consent import Consent
from .context import Context
from .events import (
    LocalCandidateLearned,
    PairReported,
    PairSucceeded,
    RoleChanged,
)
from .pair import CandidatePair, CheckState
from .pending import Pending, Transmission
from .report import Report
from .timing import opening

ROLE_CONFLICT = 487
_TRANSACTION_ID = 12


class Checker:
    """
    Sends checks and judges the responses.

    @ivar consent: keeps the schedule of pairs that have worked.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._timing = context.timing
        self._pending = Pending(context.timing.memory)
        self._burst = context.timing.burst
        self._slot = float("-inf")
        self.consent = Consent(context, self._transmit)

    # --- sending ------------------------------------------------------------

    def replenish(self) -> None:
        """
        A new round may begin with a burst.
        """
        self._burst = self._timing.burst

    def serve(self, now: float) -> None:
        """
        Start the checks of waiting pairs: a burst, then one every Ta
        (RFC 8445, 6.1.4.2).
        """
        context = self._context
        if context.remote is None:
            return
        while (pair := context.checklist.nextWaiting()) is not None:
            if self._burst > 0:
                self._burst -= 1
            elif now < self._slot:
                return
            self._slot = now + self._timing.ta
            self._start(pair, now)

    def trigger(self, pair: CandidatePair, now: float, *, isNew: bool) -> None:
        """
        The peer's check has arrived on C{pair}: check it at once, for now its
        NAT lets us in (RFC 8445, 7.3.1.4).  Only a pair that was not known
        waits for its turn, because it may need a binding.
        """
        context = self._context
        if pair.state in (CheckState.SUCCEEDED, CheckState.LOST):
            self.consent.triggered(pair, now)
        elif context.remote is None or isNew:
            context.checklist.trigger(pair)
        elif pair.state is not CheckState.IN_PROGRESS or self._spaced(pair, now):
            self._start(pair, now)

    def probe(self, pair: CandidatePair, now: float) -> None:
        """
        Check C{pair} at once, whatever its state.
        """
        if self._context.remote is None:
            return
        if pair.state in (CheckState.SUCCEEDED, CheckState.LOST):
            self.consent.probe(pair, now)
        elif self._spaced(pair, now):
            self._start(pair, now)

    def timeReached(self, now: float) -> None:
        """
        Send what is due, give up what is over.
        """
        if self._context.remote is None:
            return
        for pair in list(self._context.checklist):
            if pair.state in (CheckState.SUCCEEDED, CheckState.LOST):
                self.consent.timeReached(pair, now)
            elif pair.state is CheckState.IN_PROGRESS:
                self._continue(pair, now)
        self.serve(now)

    def deadline(self) -> float | None:
        """
        @return: when L{timeReached} has something to do.
        """
        if self._context.remote is None:
            return None
        least = float("inf")
        for pair in self._context.checklist:
            state = pair.state
            if state is CheckState.SUCCEEDED or state is CheckState.LOST:
                due = self.consent.deadline(pair)
            elif state is CheckState.IN_PROGRESS and pair.series is not None:
                due = pair.series.due
            elif state is CheckState.WAITING:
                due = self._slot
            else:
                continue
            if due < least:
                least = due
        return None if least == float("inf") else least

    def _spaced(self, pair: CandidatePair, now: float) -> bool:
        last = pair.lastSent
        return last is None or now - last >= self._timing.spacing

    def _start(self, pair: CandidatePair, now: float) -> None:
        self._context.checklist.started(pair)
        pair.state = CheckState.IN_PROGRESS
        pair.series = opening(now, self._context.rttOf(pair), self._timing)
        self._transmit(pair, now)
        pair.series.sent(now)

    def _continue(self, pair: CandidatePair, now: float) -> None:
        series = pair.series
        if series is None or now < series.due:
            return
        if not series.ended(now):
            self._transmit(pair, now)
            series.sent(now)
            return
        pair.series = None
        pair.heard = False
        if pair.lostAt is None:
            pair.state = CheckState.FAILED
        else:
            # It has worked once: go on as before this round.
            pair.state = CheckState.LOST
            pair.nextCheck = now + self._timing.mostRevivalWait

    def shoot(self, pair: CandidatePair, ttl: int | None, now: float) -> None:
        """
        Send one check on a pair that is perhaps not on the list.
        """
        if self._context.remote is not None:
            self._send(pair, ttl, now)

    def _opener(self, pair: CandidatePair, now: float) -> int | None:
        """
        @return: the hop limit of a check: a small one for the first ones on a pair
            if the peer's NAT is closed yet, for there are NATs that give the port
            of a packet that came too early to nobody any more, and firewalls that
            shut out who sent one.
        """
        context = self._context
        if context.openerTtl is None or pair.kind == "relayed" or not _isBeyond(pair):
            return None
        if context.openersUntil is None:
            context.openersUntil = now + self._timing.answerTime
        if pair.checksReceived or not (
            pair.lastSent is None or now < context.openersUntil
        ):
            return None
        return context.openerTtl

    def heard(self, now: float) -> None:
        """
        The peer has begun: nothing of ours comes too early.
        """
        if self._context.openersUntil is not None:
            self._context.openersUntil = now

    def _transmit(self, pair: CandidatePair, now: float) -> None:
        self._send(pair, self._opener(pair, now), now)

    def _send(self, pair: CandidatePair, ttl: int | None, now: float) -> None:
        context = self._context
        remote = context.remote
        assert remote is not None
        transactionId = context.entropy(_TRANSACTION_ID)
        nominates = context.nomination.chosen is pair
        message = request(
            Method.BINDING,
            transactionId,
            (Attribute.USERNAME, f"{remote.ufrag}:{context.local.ufrag}"),
            (Attribute.PRIORITY, checkPriority(pair.local)),
            context.roles.attribute,
        )
        if nominates:
            message.add(Attribute.USE_CANDIDATE, True)
        message.add(Attribute.SESSION_REPORT, pair.received.value)
        mark = pair.delivery.mark(now)
        context.marks.append(mark)
        sent = Transmission(pair, now, context.roles.controlling, nominates, mark)
        self._pending.add(transactionId, sent)
        pair.lastSent = pair.lastLeft = now
        context.checksSent += 1
        context.datagrams.append(
            Datagram(
                message.serialize(key=remote.key),
                pair.local.base,
                pair.remote.address,
                ttl,
            )
        )

    # --- responses ----------------------------------------------------------

    def responseReceived(
        self, message: Message, local: Address, remote: Address, now: float
    ) -> str | None:
        """
        Judge a response (RFC 8445, 7.2.5).

        @return: why it was ignored, or L{None}.
        """
        context = self._context
        sent = self._pending.get(message.transactionId)
        if sent is None:
            return "response to nothing we sent"
        pair = sent.pair
        if pair.key != (local, remote):
            # RFC 8445, 7.2.5.2.1: not symmetric.
            return "response from elsewhere"
        if context.remote is None or not message.checkIntegrity(context.remote.key):
            return "response without integrity"
        if message.unknownRequired:
            return "response with unknown attributes"
        self._pending.answered(message.transactionId)
        if pair not in context.checklist:
            adopted = context.checklist.adopt(pair)
            if adopted is None:
                return "response on a forgotten pair"
            pair = adopted
        if message.messageClass is MessageClass.ERROR:
            return self._errorReceived(pair, sent, message, now)
        mapped = message.get(Attribute.XOR_MAPPED_ADDRESS)
        if mapped is None:
            return "response without an address"
        pair.lastReceived = pair.lastResponse = now
        pair.resting = False
        pair.measured(now - sent.sentAt)
        pair.mapped = mapped
        self._learn(pair, mapped)
        self._succeed(pair, sent, message, now)
        return None

    def _succeed(
        self, pair: CandidatePair, sent: Transmission, message: Message, now: float
    ) -> None:
        context = self._context
        fresh = self.reported(pair, message, now)
        value = message.get(Attribute.SESSION_REPORT)
        if not pair.valid:
            pair.delivery.restart()
        if value is not None:
            pair.delivery.answered(sent.mark, value[0], now)
        was = pair.state
        series = pair.series
        current = not self.consent.outdated(pair, sent.sentAt)
        if current:
            self.consent.settle(pair, now)
            context.checklist.started(pair)
        if not pair.valid:
            return
        chosen = context.nomination.chosen is pair
        if chosen and not sent.nominates and not pair.nominated:
            # USE-CANDIDATE still has to get through.
            pair.series = series
        if was is not CheckState.SUCCEEDED:
            context.events.append(PairSucceeded(pair))
            context.agreed(pair, context.nomination.succeeded(pair))
        if fresh or (current and was is CheckState.SUCCEEDED):
            context.events.append(PairReported(pair))
        if chosen and sent.nominates:
            context.agreed(pair, context.nomination.agreed(pair))

    def reported(self, pair: CandidatePair, message: Message, now: float) -> bool:
        """
        Take the peer's report from a request or a response.

        @return: whether it says something new.
        """
        value = message.get(Attribute.SESSION_REPORT)
        if value is None:
            return False
        known = Report() if pair.reported is None else pair.reported
        fresh = known.newer(value)
        pair.delivery.reported(fresh, now)
        if fresh or pair.reported is None:
            pair.reported = Report(*value)
        return fresh

    def _errorReceived(
        self, pair: CandidatePair, sent: Transmission, message: Message, now: float
    ) -> str | None:
        code, _ = message.get(Attribute.ERROR_CODE, (0, ""))
        if code != ROLE_CONFLICT:
            if pair.unsettled:
                pair.state = CheckState.FAILED
                pair.series = None
                self._context.checklist.started(pair)
            return f"error response {code}"
        pair.lastReceived = now
        if self._context.roles.refused(sent.controlling):
            self.roleChanged()
        if pair.unsettled:
            self._start(pair, now)
        return None

    def roleChanged(self) -> None:
        """
        We have taken the other role.
        """
        context = self._context
        if not context.roles.controlling:
            context.nomination.chosen = None
        context.events.append(RoleChanged(context.roles.controlling))

    def _learn(self, pair: CandidatePair, mapped: Address) -> None:
        """
        An address of ours that we did not know is a peer-reflexive candidate
        (RFC 8445, 7.2.5.3.1).
        """
        checklist = self._context.checklist
        if checklist.knowsLocal(mapped):
            return
        kind = CandidateType.PRFLX
        base = pair.local.base
        candidate = Candidate(
            mapped,
            kind,
            checkPriority(pair.local),
            foundation(kind, base[0], pair.remote.address[0]),
            base,
            relatedAddress=base,
            source=kind.value,
        )
        if checklist.learnLocal(candidate):
            self._context.events.append(LocalCandidateLearned(candidate))


def _isBeyond(pair: CandidatePair) -> bool:
    """
    @return: whether the remote address is that of a NAT, or may be behind a firewall
        of its own: over IPv6, one of another site (RFC 6177, section 2).
    """
    host = pair.remote.address[0]
    if pair.remote.type is not CandidateType.HOST:
        return pair.remote.type is not CandidateType.RELAY
    if ":" not in host or not isPublic(host):
        return False
    return packHost(host)[:6] != packHost(pair.local.base[0])[:6]
