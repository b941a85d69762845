"""
The attempts that a session makes to find a path, each with its verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import PeerUnavailable, RelayRefused
from punchd.ice.pair import CandidatePair, CheckState
from punchd.traversal.verdict import Outcome, Reason, Verdict

from .carrier import Carrier
from .context import Context
from .exchange import Exchange
from .paths import PROOF_HASTE, PROOF_INTERVAL

#: Seconds that a pair which answers checks has to carry full-size datagrams.
_PROOF = PROOF_HASTE * PROOF_INTERVAL + 1.0


#: What checks alone find; other paths are the merit of a strategy.
_PLAIN = ("host", "srflx", "prflx", "ipv6", "mapped", "relay")


def _verdict(
    strategy: str, outcome: Outcome, reason: Reason, **evidence: object
) -> Verdict:
    return Verdict(strategy, outcome, reason, evidence)


class Checks:
    """
    I watch the checks of the ICE agent until a direct path is proven, or the
    agent has nothing left to check.
    """

    def __init__(self, context: Context, carrier: Carrier) -> None:
        self._context = context
        self._carrier = carrier
        self._waiting: Deferred[Verdict] | None = None
        self._proof: IDelayedCall | None = None
        self._began = 0.0
        self._sentBefore = 0

    def start(self, again: bool) -> Deferred[Verdict]:
        """
        @param again: whether failed pairs are to be checked anew.
        """
        agent = self._carrier.agent
        assert agent is not None
        self._began = self._context.clock.seconds()
        self._sentBefore = agent.checksSent
        waiting: Deferred[Verdict] = Deferred(self._forget)
        self._waiting = waiting
        if again:
            self._carrier.ice(agent.retry)
        self._carrier.speculate()
        return waiting

    def _forget(self, waiting: object = None) -> None:
        self._waiting = None
        proof, self._proof = self._proof, None
        if proof is not None:
            proof.cancel()

    @property
    def running(self) -> bool:
        """
        Whether there is no verdict yet.
        """
        return self._waiting is not None

    def _evidence(self) -> dict[str, object]:
        agent = self._carrier.agent
        pairs = [] if agent is None else list(agent.pairs)
        direct = [pair for pair in pairs if pair.kind == "direct"]
        sent = 0 if agent is None else agent.checksSent - self._sentBefore
        return {
            "seconds": round(self._context.clock.seconds() - self._began, 3),
            "checksSent": sent,
            "directPairs": len(direct),
            "answered": sum(pair.lastResponse is not None for pair in direct),
            "heardFrom": sum(pair.checksReceived > 0 for pair in direct),
            "remotes": sorted({f"{textOf(pair.remote.address)}" for pair in direct}),
        }

    def _end(self, outcome: Outcome, reason: Reason, **more: object) -> None:
        waiting = self._waiting
        self._forget()
        if waiting is not None:
            waiting.callback(
                Verdict("checks", outcome, reason, {**self._evidence(), **more})
            )

    def proven(self, pair: CandidatePair) -> None:
        """
        A direct pair carries the session.
        """
        if pair.strategy not in _PLAIN:
            self._end(Outcome.CANCELLED, Reason.SUPERSEDED, path=pair.strategy)
            return
        self._end(
            Outcome.SUCCEEDED,
            Reason.PROVEN,
            path=pair.strategy,
            local=textOf(pair.local.base),
            remote=textOf(pair.remote.address),
        )

    def finished(self) -> None:
        """
        The agent has nothing left to check.
        """
        agent = self._carrier.agent
        if self._waiting is None or agent is None:
            return
        direct = [pair for pair in agent.pairs if pair.kind == "direct"]
        if not direct:
            self._end(Outcome.FAILED, Reason.NO_CANDIDATES)
        elif any(pair.state is CheckState.SUCCEEDED for pair in direct):
            # It is being put to the proof now.
            if self._proof is None:
                self._proof = self._context.clock.callLater(_PROOF, self._unproven)
        else:
            self._end(Outcome.FAILED, Reason.NO_ANSWER)

    def _unproven(self) -> None:
        """
        What answered checks had its time to carry data.
        """
        self._proof = None
        agent = self._carrier.agent
        pairs = [] if agent is None else list(agent.pairs)
        works = any(pair.valid and pair.kind == "direct" for pair in pairs)
        self._end(Outcome.FAILED, Reason.ONE_WAY if works else Reason.NO_ANSWER)


class Relaying:
    """
    I get a relayed address, and watch until a relayed path is proven.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: Deferred[Verdict] | None = None
        self._began = 0.0

    def prepare(self) -> None:
        """
        Ask the relay for an address while the peer is being asked: the candidate
        is trickled.
        """
        relay = self._context.relay
        if relay is not None and self._context.mode != "direct":
            relay.whenAllocated().addErrback(lambda _: None)

    def start(self) -> Deferred[Verdict]:
        """
        Ask the relay for an address, if we have none.
        """
        waiting: Deferred[Verdict] = Deferred(self._forget)
        self._waiting = waiting
        self._began = self._context.clock.seconds()
        relay = self._context.relay
        if relay is None:
            self._end(Outcome.FAILED, Reason.NO_RELAY)
        else:
            relay.whenAllocated().addCallbacks(self._allocated, self._refused)
        return waiting

    def _forget(self, waiting: Deferred[Verdict]) -> None:
        self._waiting = None

    @property
    def running(self) -> bool:
        """
        Whether there is no verdict yet.
        """
        return self._waiting is not None

    def _end(self, outcome: Outcome, reason: Reason, **evidence: object) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            seconds = round(self._context.clock.seconds() - self._began, 3)
            waiting.callback(
                Verdict("relay", outcome, reason, {"seconds": seconds, **evidence})
            )

    def _allocated(self, relayed: Address) -> None:
        """
        The candidate reaches the peer through L{Gathering<punchd.net.gathering>}.
        """

    def _refused(self, failure: Failure) -> None:
        error = failure.value
        code = error.code if isinstance(error, RelayRefused) else None
        reason = Reason.ALLOCATION_REFUSED if code else Reason.RELAY_UNREACHABLE
        self._end(Outcome.FAILED, reason, code=code, text=str(error))

    def finished(self, pairs: Sequence[CandidatePair]) -> None:
        """
        The agent has nothing left to check.
        """
        relayed = [pair for pair in pairs if pair.kind == "relayed"]
        tried = any(pair.lastSent is not None for pair in relayed)
        if tried and not any(pair.valid for pair in relayed):
            self._end(Outcome.FAILED, Reason.NO_ANSWER, pairs=len(relayed))

    def proven(self, pair: CandidatePair) -> None:
        """
        A relayed pair carries the session.
        """
        self._end(Outcome.SUCCEEDED, Reason.PROVEN, remote=textOf(pair.remote.address))


class Restart:
    """
    I ask the peer for new paths through the rendezvous (RFC 8445, section 9).
    """

    def __init__(self, context: Context, exchange: Exchange) -> None:
        self._context = context
        self._exchange = exchange
        self.running = False

    def start(self) -> Deferred[Verdict]:
        """
        Send an offer that resumes the session.
        """
        context = self._context
        began = context.clock.seconds()
        self.running = True
        if context.relay is not None and context.mode != "direct":
            # The offer had better not name an address that is lost.
            context.relay.check()
        # What took the paths may have taken the connection, too.
        if context.link.registered:
            context.link.check()
        offered = self._exchange.offerAgain()

        def took(_: object) -> Verdict:
            self.running = False
            return _verdict(
                "restart",
                Outcome.SUCCEEDED,
                Reason.PROVEN,
                seconds=round(self._context.clock.seconds() - began, 3),
            )

        def failed(failure: Failure) -> Verdict:
            self.running = False
            known = failure.check(PeerUnavailable) is not None
            reason = Reason.PEER_UNAVAILABLE if known else Reason.SIGNALING_DOWN
            return _verdict(
                "restart",
                Outcome.FAILED,
                reason,
                seconds=round(self._context.clock.seconds() - began, 3),
                text=failure.getErrorMessage(),
            )

        return offered.addCallbacks(took, failed)


def textOf(address: Address) -> str:
    """
    @return: C{host:port}, with brackets around an IPv6 host.
    """
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
