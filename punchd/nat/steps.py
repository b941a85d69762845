"""
The steps of L{punchd.nat.discovery} and what it tells about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from punchd.core import Address

from .behavior import NatBehavior
from .sample import Sample


class Step(Enum):
    """
    The tests of RFC 5780, by what they ask for.
    """

    MAPPING1 = "mapped address"
    SPARE2 = "mapped address of the second socket"
    SPARE3 = "mapped address of the third socket"
    MAPPING2 = "mapping towards another host"
    MAPPING3 = "mapping towards another port"
    FILTERING2 = "answer from another host"
    FILTERING3 = "answer from another port"
    HAIRPIN = "packet to our own outside address"


@dataclass(frozen=True, slots=True)
class StepEnded:
    """
    Progress.

    @ivar passed: whether there was an answer.
    @ivar mapped: the outside address that it told of.
    """

    test: Step
    passed: bool
    mapped: Address | None = None


@dataclass(frozen=True, slots=True)
class Discovered:
    """
    The end of it.

    @ivar behavior: what was found out.
    @ivar reachable: whether the server answers over UDP at all.
    @ivar rtt: seconds to the server and back, if measured.
    @ivar alternate: the server's other address, if it has one.
    @ivar samples: where sockets of ours were seen, for the port model.
    """

    behavior: NatBehavior
    reachable: bool
    rtt: float | None = None
    alternate: Address | None = None
    samples: tuple[Sample, ...] = ()
