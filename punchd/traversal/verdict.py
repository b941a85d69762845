"""
How an attempt to get through ended, and why.

The reasons form one closed list, so that C{docs/} can explain each of them and
L{punchd.traversal.explain} can turn them into advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """
    What became of an attempt.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Reason(Enum):
    """
    Why an attempt ended as it did.
    """

    PROVEN = "path proven by session data"
    NO_ANSWER = "no check was answered"
    ONE_WAY = "checks were answered, but no full-size datagram arrived"
    NO_CANDIDATES = "there was no pair of addresses to try"
    NOT_WANTED = "not wanted by configuration"
    SUPERSEDED = "another path was found first"
    NO_RELAY = "the rendezvous offers no relay"
    ALLOCATION_REFUSED = "the relay refused the allocation"
    RELAY_UNREACHABLE = "the relay did not answer"
    SIGNALING_DOWN = "the rendezvous could not be reached"
    PEER_UNAVAILABLE = "the peer did not answer through the rendezvous"
    NOT_HIT = "no probe met an open port of the other side"
    OUT_OF_REACH = "the ports of both NATs cannot be predicted well enough"
    NOT_MEASURED = "how the NAT chooses ports could not be measured"
    NOT_POSSIBLE = "one of the two machines cannot do it"
    NOT_CONNECTED = "no connection came about"
    PEER_SILENT = "the peer took no part in it"
    BUSY = "another attempt used up the budget"
    SESSION_ENDED = "the session ended before"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The end of one attempt.

    @ivar strategy: what was tried: C{"checks"}, C{"relay"}, C{"restart"}, or the
        name of an L{ITraversalStrategy<punchd.interfaces>} plugin.
    @ivar evidence: what was seen, as plain values: counts, addresses, seconds.
    """

    strategy: str
    outcome: Outcome
    reason: Reason
    evidence: Mapping[str, object] = field(default_factory=dict)

    def toDict(self) -> dict[str, object]:
        """
        @return: the verdict as C{punchd status --json} prints it.
        """
        return {
            "strategy": self.strategy,
            "outcome": self.outcome.value,
            "reason": self.reason.name.lower().replace("_", "-"),
            "evidence": dict(self.evidence),
        }
