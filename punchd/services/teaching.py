"""
What sessions learn about pairs of networks, and are told the next time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from punchd.nat.model import PortModel
from punchd.session.context import Context
from punchd.stun.address import prefixOf

from .memory import Lesson, Memory
from .upkeep import Upkeep

#: Seconds for which a port model that was measured some other time may be used:
#: what changes from minute to minute is sampled anew all the same.
_GOOD: Final = 86400.0


class Teaching:
    """
    I am the L{Lessons<punchd.session.learning.Lessons>} of a client.
    """

    def __init__(self, context: Context, memory: Memory, upkeep: Upkeep) -> None:
        self._context = context
        self._memory = memory
        self._upkeep = upkeep

    def recall(self, hosts: Collection[str]) -> Lesson | None:
        """
        @param hosts: where the rendezvous sees the peer.

        @return: the latest lesson about the two networks.
        """
        ours, theirs = self._upkeep.network.prefix, _prefixOf(hosts)
        lesson = self._memory.lesson(ours, theirs) if ours and theirs else None
        if lesson is not None and lesson.openerTtl:
            if not self._upkeep.network.openerTtl:
                # It was neither measured now nor remembered of the network.
                self._context.openerTtl = lesson.openerTtl
        return lesson

    def model(self) -> PortModel | None:
        """
        @return: how our NAT chooses ports, unless it is seen at a new address.
        """
        network, context = self._upkeep.network, self._context
        if not 0 <= context.wallClock() - network.modelled < _GOOD:
            return None
        try:
            found = PortModel.fromDict(network.model, context.clock.seconds())
        except ValueError:
            return None
        mapped = context.gathering.mapped.get(4)
        known = mapped is not None and mapped[0] in dict(found.hosts)
        return found if known and found.samples else None

    def learn(
        self,
        hosts: Collection[str],
        strategy: str,
        ourNat: str,
        theirNat: str,
        seconds: float,
    ) -> None:
        """
        This got through.
        """
        relay = self._context.relay
        way = None if relay is None else relay.way
        self._memory.noteLesson(
            Lesson(
                self._upkeep.network.prefix,
                _prefixOf(hosts),
                ourNat,
                theirNat,
                strategy,
                round(seconds, 3),
                openerTtl=self._context.openerTtl or 0,
                relay="" if way is None else way.kind,
            )
        )
        self._memory.saveSoon(self._context.clock)

    def unlearn(self, lesson: Lesson) -> None:
        """
        It did not, this time.
        """
        self._memory.unlearn(lesson)
        self._memory.saveSoon(self._context.clock)


def _prefixOf(hosts: Collection[str]) -> str:
    """
    @return: the network of a peer that is seen there; IPv4 has the NATs.
    """
    for host in sorted(hosts, key=lambda each: (":" in each, each)):
        return prefixOf(host)
    return ""
