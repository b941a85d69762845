"""
Connectivity checks, the side that answers (RFC 8445, 7.3).

Nothing is ever sent to who does not know our password: an error response to
an unauthenticated request would only be of use to whom forges its source.
"""

from __future__ import annotations

from punchd.core import Address, Datagram
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, failure, success

from .candidate import isPairable
from .checker import ROLE_CONFLICT, Checker
from .context import Context
from .events import CheckReceived, PairReported, RemoteCandidateLearned
from .nomination import Verdict
from .pair import CandidatePair

_BAD_REQUEST = 400
_UNKNOWN_ATTRIBUTE = 420
_MOST_PRIORITY = (1 << 31) - 1


class Responder:
    """
    Answers checks and draws what is to be drawn from them.
    """

    def __init__(self, context: Context, checker: Checker) -> None:
        self._context = context
        self._checker = checker

    def requestReceived(
        self, message: Message, local: Address, remote: Address, now: float
    ) -> str | None:
        """
        Judge and answer a request.

        @return: why it was ignored or refused, or L{None}.
        """
        context = self._context
        why = self._suspicion(message, local, remote)
        if why is not None:
            return why
        unknown = message.unknownRequired
        if unknown:
            refusal = failure(
                message, _UNKNOWN_ATTRIBUTE, "", (Attribute.UNKNOWN_ATTRIBUTES, unknown)
            )
            self._reply(refusal, local, remote)
            return "request with unknown attributes"
        priority = message.get(Attribute.PRIORITY)
        if priority is None:
            self._reply(failure(message, _BAD_REQUEST), local, remote)
            return "request without a priority"
        verdict = context.roles.judge(message)
        if verdict is Verdict.REFUSED:
            self._reply(failure(message, ROLE_CONFLICT), local, remote)
            return None
        if verdict is Verdict.SWITCHED:
            self._checker.roleChanged()
        pair, isNew = self._pairOf(local, remote, min(priority, _MOST_PRIORITY), now)
        # What the session has delivered is told even when it is nothing.
        report = (0, 0) if pair is None else pair.received.value
        answer = success(
            message,
            (Attribute.XOR_MAPPED_ADDRESS, remote),
            (Attribute.SESSION_REPORT, report),
        )
        self._reply(answer, local, remote)
        if pair is None:
            return "request on more pairs than there is room for"
        self._note(pair, message, now)
        self._checker.trigger(pair, now, isNew=isNew)
        return None

    def _suspicion(
        self, message: Message, local: Address, remote: Address
    ) -> str | None:
        """
        @return: what is wrong with a request that is not to be answered.
        """
        context = self._context
        username = message.get(Attribute.USERNAME, "")
        ours, _, theirs = username.partition(":")
        if ours != context.local.ufrag:
            return "request to another user"
        if context.remote is not None and theirs != context.remote.ufrag:
            return "request from another user"
        if not context.checklist.isBase(local):
            return "request to an address that is no candidate"
        if not isPairable(remote):
            return "request from an address that cannot be paired"
        if not message.checkIntegrity(context.local.key):
            return "request without integrity"
        return None

    def _pairOf(
        self, local: Address, remote: Address, priority: int, now: float
    ) -> tuple[CandidatePair | None, bool]:
        """
        @return: the pair of this 5-tuple, and whether it was made just now.
        """
        context = self._context
        pair = context.checklist.find(local, remote)
        if pair is not None:
            return pair, False
        pair, candidate = context.checklist.learnRemote(
            local, remote, priority, now, context.timing.checkTime
        )
        if candidate is not None:
            context.events.append(RemoteCandidateLearned(candidate))
        return pair, True

    def _note(self, pair: CandidatePair, message: Message, now: float) -> None:
        context = self._context
        pair.lastReceived = pair.lastLeft = now
        pair.resting = False
        pair.checksReceived += 1
        if not pair.heard:
            pair.heard = True
            self._checker.heard(now)
            context.events.append(CheckReceived(pair))
        if self._checker.reported(pair, message, now) and pair.valid:
            context.events.append(PairReported(pair))
        if message.get(Attribute.USE_CANDIDATE) and not context.roles.controlling:
            context.agreed(pair, context.nomination.asked(pair))

    def _reply(self, message: Message, local: Address, remote: Address) -> None:
        data = message.serialize(key=self._context.local.key)
        self._context.datagrams.append(Datagram(data, local, remote))
