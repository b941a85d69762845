"""
Candidate pairs: 5-tuples on which the agents may meet (RFC 8445, 6.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from punchd.core import Address

from .candidate import Candidate, CandidateType
from .delivery import Delivery
from .report import Report
from .timing import Series

#: What identifies a pair: where it sends from, and where to.
Key = tuple[Address, Address]

#: Candidates of these sources give their name to a path, whatever their type.
_TELLING = (
    "tcp",
    "spray",
    "predicted",
    "fresh",
    "reversal",
    "optimistic",
    "opener",
    "mapped",
)
#: And those of these do not.
_PLAIN = tuple(str(each.value) for each in CandidateType)


class CheckState(Enum):
    """
    RFC 8445, 6.1.2.6, without Frozen and with one more.
    """

    #: No check was sent yet, or a new round has been asked for.
    WAITING = "waiting"
    #: Checks are being sent, none was answered.
    IN_PROGRESS = "in-progress"
    #: A check was answered, and consent has not been lost since.
    SUCCEEDED = "succeeded"
    #: It was valid once; it is checked at growing intervals.
    LOST = "lost"
    #: Nothing is sent unless the peer's check arrives or a round begins.
    FAILED = "failed"


def pairPriority(controlling: int, controlled: int) -> int:
    """
    RFC 8445, 6.1.2.3, from the priorities of the two agents' candidates.
    """
    least, most = sorted((controlling, controlled))
    return (least << 32) + 2 * most + (controlling > controlled)


@dataclass(eq=False, slots=True)
class CandidatePair:
    """
    To others than the agent, everything here is read-only.

    @ivar local: ours; C{local.base} is what checks leave from.
    @ivar remote: the peer's.
    @ivar mapped: how the peer sees us on this pair, once it has answered.
    @ivar rtt: the smoothed round trip in seconds, from checks.
    @ivar lastSent: when the last check left.
    @ivar lastLeft: when the last check or response left, and so renewed the
        bindings of our NATs.
    @ivar lastReceived: when anything authenticated came last.
    @ivar lastResponse: when the last authenticated response came: the base of
        consent (RFC 7675, 5.1).
    @ivar received: what of the session has arrived here on this pair.
    @ivar delivery: what becomes of what we send on it.
    @ivar reported: what of ours the peer says has arrived there, or L{None}.
    @ivar nominated: whether it is the pair that the controlling agent chose.
    @ivar active: whether it is checked as one that carries data.
    @ivar doubtful: whether it is valid but several checks in a row got no
        answer.
    @ivar resting: whether nobody keeps it alive, and it has not been heard of
        since that was so.
    @ivar heard: whether a check of the peer arrived in this round.
    @ivar checksReceived: how many of them arrived altogether.
    """

    local: Candidate
    remote: Candidate
    state: CheckState = CheckState.WAITING
    mapped: Address | None = None
    rtt: float | None = None
    lastSent: float | None = None
    lastLeft: float | None = None
    lastReceived: float | None = None
    lastResponse: float | None = None
    received: Report = field(default_factory=Report)
    delivery: Delivery = field(default_factory=Delivery)
    reported: Report | None = None
    nominated: bool = False
    active: bool = False
    doubtful: bool = False
    resting: bool = False
    heard: bool = False
    checksReceived: int = 0

    # What the agent's parts keep here, each its own.
    nominateOnSuccess: bool = False
    series: Series | None = None
    nextCheck: float = 0.0
    attempts: int = 0
    unansweredSince: float | None = None
    doubtedSince: float | None = None
    lostAt: float | None = None

    @property
    def key(self) -> Key:
        """
        What identifies it.
        """
        return (self.local.base, self.remote.address)

    @property
    def valid(self) -> bool:
        """
        Whether the session may use it.
        """
        return self.state is CheckState.SUCCEEDED

    @property
    def probed(self) -> bool:
        """
        Whether a probe that somebody asked for is still unanswered.
        """
        return self.doubtedSince is not None

    @property
    def unsettled(self) -> bool:
        """
        Whether a round of checks is going on or about to begin.
        """
        return self.state in (CheckState.WAITING, CheckState.IN_PROGRESS)

    @property
    def kind(self) -> str:
        """
        C{"relayed"} when either candidate is, else C{"direct"}.
        """
        relay = CandidateType.RELAY
        relayed = self.local.type is relay or self.remote.type is relay
        return "relayed" if relayed else "direct"

    @property
    def transport(self) -> str:
        """
        C{"udp"} or C{"tcp"}: how datagrams travel between the two of us.
        """
        return self.local.transport

    @property
    def strategy(self) -> str:
        """
        What made the path possible, in one word.
        """
        if self.kind == "relayed":
            return "relay"
        sources = (self.local.source, self.remote.source)
        for each in _TELLING:
            if each in sources:
                return each
        if self.local.source not in _PLAIN:
            # Somebody else's strategy opened the socket.
            return self.local.source
        if self.local.family == 6:
            return "ipv6"
        if self.remote.type is not CandidateType.HOST:
            return str(self.remote.type.value)
        # The peer has no NAT; perhaps we have one.
        seen = self.mapped is None or self.mapped == self.local.base
        return "host" if seen else "srflx"

    def priority(self, controlling: bool) -> int:
        """
        @param controlling: whether we are.

        @return: the greater, the earlier it is checked.
        """
        ours, theirs = self.local.priority, self.remote.priority
        if controlling:
            return pairPriority(ours, theirs)
        return pairPriority(theirs, ours)

    def measured(self, sample: float) -> None:
        """
        Take one round-trip time into account.
        """
        sample = max(sample, 0.0)
        self.rtt = sample if self.rtt is None else self.rtt + (sample - self.rtt) / 4

    def __repr__(self) -> str:
        local, remote = self.local.base, self.remote.address
        return (
            f"<CandidatePair {local[0]}:{local[1]} -> {remote[0]}:{remote[1]}"
            f" {self.state.value} {self.strategy}>"
        )
