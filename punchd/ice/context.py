"""
What the parts of one agent share.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from punchd.core import Datagram, Entropy

from .checklist import Checklist
from .credentials import Credentials
from .delivery import Mark
from .events import Event, Nominated
from .nomination import Nomination, Roles
from .pair import CandidatePair
from .timing import Timing


@dataclass(slots=True)
class Context:
    """
    @ivar local: our credentials.
    @ivar remote: the peer's, once they are known.
    @ivar rtt: the round trip to expect of pairs that were never answered.
    @ivar keepalive: seconds between the checks of an idle pair.
    @ivar openerTtl: the hop limit of the first checks on a pair, L{None} for the
        system's.
    @ivar openersUntil: until when the peer cannot have begun, once there was a
        first of these.
    @ivar marks: of the checks among C{datagrams}, which are still to leave.
    @ivar checksSent: transmissions, all pairs together.
    @ivar garbage: what came in vain, by reason.
    """

    local: Credentials
    roles: Roles
    checklist: Checklist
    timing: Timing
    entropy: Entropy
    rtt: float
    keepalive: float
    remote: Credentials | None = None
    nomination: Nomination = field(default_factory=Nomination)
    datagrams: list[Datagram] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    garbage: Counter[str] = field(default_factory=Counter)
    checksSent: int = 0
    openerTtl: int | None = None
    openersUntil: float | None = None

    def rttOf(self, pair: CandidatePair) -> float:
        """
        @return: measured, or else expected.
        """
        return self.rtt if pair.rtt is None else pair.rtt

    def agreed(self, pair: CandidatePair, isNew: bool) -> None:
        """
        Tell of a nomination, if it is one.
        """
        if isNew:
            self.events.append(Nominated(pair))

    def jitter(self, least: float, most: float) -> float:
        """
        @return: a random number between both.
        """
        part = int.from_bytes(self.entropy(2), "big") / 0xFFFF
        return least + (most - least) * part
