"""
The ICE agent: which pairs of addresses work, now and later (RFC 8445).

It gathers nothing and carries nothing: candidates are given to it, datagrams
of the session are only counted.  A relayed candidate is one like any other;
that its datagrams take the way through a relay is the shell's affair.

Where it departs from the RFCs, docs/protocol/ice.rst says so and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from punchd.core import Address, Datagram, Entropy
from punchd.errors import MalformedMessage
from punchd.stun.message import MessageClass, Method, parse

from .candidate import Candidate
from .checker import Checker
from .checklist import Checklist
from .context import Context
from .credentials import Credentials
from .events import ChecksFinished, Event, LossReason, PairLost
from .nomination import Roles
from .pair import CandidatePair, CheckState
from .responder import Responder
from .timing import Limits, Timing
from .view import View

_NO_LIMITS = Limits()
_NO_TIMING = Timing()


class Agent(View):
    """
    I am one agent with one component.  I obey the contract of
    L{punchd.core.Core}; my events are those of L{punchd.ice.events}.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        credentials: Credentials,
        tieBreaker: int,
        entropy: Entropy,
        timing: Timing = _NO_TIMING,
        limits: Limits = _NO_LIMITS,
    ) -> None:
        """
        @param controlling: the role to begin with; the peer should have the
            other one.
        @param credentials: ours, which the peer has to be told.
        @param tieBreaker: 64 random bits.
        """
        roles = Roles(controlling, tieBreaker, entropy)
        self._context = Context(
            credentials,
            roles,
            Checklist(roles, limits),
            timing,
            entropy,
            timing.assumedRtt,
            timing.keepalive,
        )
        self._checker = Checker(self._context)
        self._responder = Responder(self._context, self._checker)
        self._announced = False
        self._finished = False
        self._deadline: float | None = None
        self._stale = False

    # --- commands -----------------------------------------------------------

    def addLocalCandidate(self, candidate: Candidate, now: float) -> bool:
        """
        Take a candidate of ours, which the peer has to be told.

        @return: whether it was taken; if not, C{garbage} says why.
        """
        why = self._context.checklist.addLocal(candidate)
        return self._taken(why, now)

    def removeLocalCandidate(self, candidate: Candidate, now: float) -> None:
        """
        The base of C{candidate} is gone, as with a relay's allocation or an
        interface's address: so are its pairs.
        """
        self._removed(self._context.checklist.removeLocal(candidate), now)

    def removeRemoteCandidate(self, address: Address, now: float) -> None:
        """
        Nobody will be at that address of the peer any more, as with a relay that
        stops.
        """
        self._removed(self._context.checklist.removeRemote(address), now)

    def _removed(self, pairs: Sequence[CandidatePair], now: float) -> None:
        for pair in pairs:
            wasValid = pair.valid
            pair.state = CheckState.FAILED
            pair.series = None
            self._context.nomination.forget(pair)
            if wasValid:
                lost = PairLost(pair, LossReason.CANDIDATE_REMOVED)
                self._context.events.append(lost)
        self._settle(now)

    def addRemoteCandidate(self, candidate: Candidate, now: float) -> bool:
        """
        Take a candidate of the peer, and begin to check it.

        @return: whether it was taken; if not, C{garbage} says why.
        """
        return self._taken(self._context.checklist.addRemote(candidate), now)

    def _taken(self, why: str | None, now: float) -> bool:
        if why is not None:
            self._context.garbage[why] += 1
        self._settle(now)
        return why is None

    def setRemoteCredentials(self, credentials: Credentials, now: float) -> None:
        """
        Now checks can be sent: those that answer early ones first.
        """
        self._context.remote = credentials
        self._settle(now)

    def endOfCandidates(self, now: float) -> None:
        """
        No more remote candidates are to come by signaling.
        """
        self._announced = True
        self._settle(now)

    def setRtt(self, seconds: float, now: float | None = None) -> None:
        """
        Tell the round trip to expect between the hosts; it paces the first
        repetitions of checks that begin after this.
        """
        self._context.rtt = max(0.0, seconds)

    def setKeepalive(self, seconds: float, now: float | None = None) -> None:
        """
        Set the interval between the checks of an idle pair, which is shortened
        by up to 20 % at random.

        @param seconds: infinite for an owner who calls L{keepalive}.
        @param now: let it count for the current interval too.
        """
        self._context.keepalive = seconds
        if now is not None:
            for pair in self._context.checklist:
                self._checker.consent.reschedule(pair, now)
        self._stale = True

    def setActive(self, pair: CandidatePair, active: bool, now: float) -> None:
        """
        Say whether data flow on C{pair}: it is checked every 5 s ± 20 %, and
        at once if its last response is older.
        """
        self._checker.consent.setActive(pair, active, now)
        self._settle(now)

    def probe(self, pair: CandidatePair, now: float) -> None:
        """
        Check C{pair} at once because it is in doubt, or for a fresh report.
        The answer is told by L{PairReported
        <punchd.ice.events.PairReported>} and ends C{pair.probed}; if none
        comes to 5 checks within 2 s or more, L{PairLost
        <punchd.ice.events.PairLost>} does.  Responses to checks that were sent
        before do not count.
        """
        if pair in self._context.checklist:
            self._checker.probe(pair, now)
            self._settle(now)

    def keepalive(self, pairs: Iterable[CandidatePair], now: float) -> None:
        """
        Check these pairs, unless that goes on already, for an owner who keeps the
        time of keepalives itself.
        """
        for pair in pairs:
            if pair.valid and pair.series is None and pair in self._context.checklist:
                self._checker.consent.check(pair, now)
        self._settle(now)

    def nominate(self, pair: CandidatePair, now: float) -> bool:
        """
        Tell the peer to use C{pair}; may be called again for a better one.

        @return: whether we may: we are controlling and the pair is valid.
        """
        context = self._context
        if not context.roles.controlling or not pair.valid:
            return False
        if context.nomination.chosen is not pair:
            context.nomination.chosen = pair
            self._checker.consent.check(pair, now)
            self._settle(now)
        return True

    def setOpener(self, ttl: int | None, now: float | None = None) -> None:
        """
        We begin before the peer does: let the first checks on each pair with a
        NAT at its other end open ours without reaching that one.

        @param ttl: the hop limit of those checks, L{None} for no such thing.
        """
        self._context.openerTtl = ttl

    def shoot(
        self,
        local: Candidate,
        remote: Address,
        ttl: int | None,
        now: float,
    ) -> None:
        """
        Send one check to where the peer may be, outside of the check list: only
        if it is answered, or the peer's check comes the other way, there is a
        pair.  C{local.source} names the strategy.

        @param local: where from; its base need not be one of a candidate that
            the peer knows, and is paired with nothing else.
        @param ttl: the hop limit, L{None} for the system's.
        """
        pair = self._context.checklist.shot(local, remote, local.source)
        self._checker.shoot(pair, ttl, now)
        self._settle(now)

    def forgetShots(self, now: float) -> None:
        """
        No more is to come of earlier shots.
        """
        self._context.checklist.forgetShots()

    def retry(self, now: float) -> None:
        """
        Begin a new round for all pairs that are not valid.
        """
        for pair in self._context.checklist:
            if not pair.valid:
                pair.state = CheckState.WAITING
                pair.series = None
                pair.heard = False
        self._checker.replenish()
        self._settle(now)

    def sessionDatagramReceived(
        self, size: int, local: Address, remote: Address, now: float, count: int = 1
    ) -> None:
        """
        Genuine datagrams of the session have come: count them for the report
        to the peer.  Cheap enough to be called for each.

        @param size: of the largest of them.
        @param count: how many came.
        """
        pair = self._context.checklist.find(local, remote)
        if pair is None:
            self._context.garbage["session datagram off any pair"] += count
        else:
            pair.received.note(size, count)

    # --- handlers -----------------------------------------------------------

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        STUN has come from C{remote} to C{local}, the base of a pair.
        """
        why = self._judge(data, local, remote, now)
        if why is not None:
            self._context.garbage[why] += 1
        self._settle(now)

    def _judge(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> str | None:
        """
        @return: why the datagram came in vain, or L{None}.
        """
        try:
            message = parse(data)
        except MalformedMessage:
            return "malformed message"
        if message.method != Method.BINDING:
            return "another method"
        if not message.hasFingerprint:
            return "message without a fingerprint"
        if message.messageClass is MessageClass.REQUEST:
            return self._responder.requestReceived(message, local, remote, now)
        if message.messageClass is MessageClass.INDICATION:
            # A keepalive (RFC 8445, 11); it proves nothing.
            return None
        return self._checker.responseReceived(message, local, remote, now)

    def timeReached(self, now: float) -> None:
        """
        The deadline has passed; a call before it changes nothing.
        """
        self._checker.timeReached(now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        """
        After whatever happened: start what may start, and tell when nothing
        is left to do.
        """
        self._checker.serve(now)
        self._stale = True
        busy = any(pair.unsettled for pair in self._context.checklist)
        if busy:
            self._finished = False
        elif self._announced and not self._finished:
            self._finished = True
            self._context.events.append(ChecksFinished())

    # --- drains -------------------------------------------------------------

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the datagrams to send now, oldest first.
        """
        marks, self._context.marks = self._context.marks, []
        for mark in marks:
            mark.set()
        found, self._context.datagrams = self._context.datagrams, []
        return found

    def takeEvents(self) -> Sequence[Event]:
        """
        @return: what happened since the last call, oldest first.
        """
        found, self._context.events = self._context.events, []
        return found

    def deadline(self) -> float | None:
        """
        @return: when L{timeReached} wants to be called, or L{None}.
        """
        if self._stale:
            self._stale = False
            self._deadline = self._checker.deadline()
        return self._deadline
