"""
Where a TCP port of ours can be reached, as far as servers can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from punchd.core import Address
from punchd.ice.candidate import Candidate, CandidateType, isPairable, tcpCandidate
from punchd.stun.address import isForbiddenPeer

#: Ports that are told of a NAT that gives one after another.
AHEAD: Final = 6
#: Candidates that are taken from the peer.
MOST: Final = 16
#: Ports further apart do not follow each other.
_MOST_STEP: Final = 16


class TCPMapping(StrEnum):
    """
    How a NAT chooses outside ports for TCP.
    """

    OPEN = "none"
    INDEPENDENT = "endpoint-independent"
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    UNKNOWN = "unknown"


@dataclass
class OwnPort:
    """
    One TCP port of ours, and what servers say of it.

    @ivar asked: how many servers.
    @ivar answers: where they see it, L{None} for those that did not say.
    """

    base: Address
    asked: int
    answers: list[Address | None] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """
        Whether no more is to come.
        """
        return len(self.answers) >= self.asked

    @property
    def seen(self) -> list[Address]:
        """
        Where it was seen.
        """
        return [each for each in self.answers if each is not None]

    def mapping(self) -> TCPMapping:
        """
        @return: what the answers say of the NAT.
        """
        seen = self.seen
        if self.base in seen or not (seen or isForbiddenPeer(self.base[0])):
            return TCPMapping.OPEN
        if len(seen) < 2:
            return TCPMapping.UNKNOWN
        if len(set(seen)) == 1:
            return TCPMapping.INDEPENDENT
        ports = [port for _, port in seen]
        sameHost = len({host for host, _ in seen}) == 1
        if sameHost and max(ports) - min(ports) <= _MOST_STEP:
            return TCPMapping.SEQUENTIAL
        return TCPMapping.RANDOM

    def candidates(self) -> list[Candidate]:
        """
        @return: where the peer is to connect to, in this order.
        """
        base, seen, mapping = self.base, self.seen, self.mapping()
        host = tcpCandidate(base, base, CandidateType.HOST)
        if mapping is TCPMapping.OPEN:
            return [host]
        found = list(dict.fromkeys(seen))
        if mapping is TCPMapping.SEQUENTIAL:
            # The order of two connections made at once is not known.
            ports = sorted(port for _, port in seen)
            step = ports[-1] - ports[-2]
            nexts = [ports[-1] + step * ahead for ahead in range(1, AHEAD + 1)]
            found = [(seen[0][0], port) for port in nexts if port < 65536]
        elif mapping is TCPMapping.RANDOM:
            # None is right, but one opens the peer's NAT for the host.
            del found[1:]
        elif mapping is TCPMapping.UNKNOWN and seen:
            # Many NATs keep the port if they can.
            found = list(dict.fromkeys([*seen, (seen[0][0], base[1])]))
        reflexive = [tcpCandidate(each, base, CandidateType.SRFLX) for each in found]
        return [*reflexive, host]


def admitted(told: Sequence[object]) -> list[Candidate]:
    """
    @return: those of the peer that may be connected to.
    """
    found = []
    for each in told[:MOST]:
        if not isinstance(each, Mapping):
            continue
        try:
            candidate = Candidate.fromDict(each)
        except ValueError:
            continue
        if candidate.transport == "tcp" and isPairable(candidate.address):
            found.append(candidate)
    return found
