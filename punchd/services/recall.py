"""
What was learned about the network that we are in, put to use before it is measured
again: the hop limit of openers, and how its relay is reached.
"""

from __future__ import annotations

from punchd.net.ways import Way
from punchd.session.context import Context

from .memory import Memory, Network
from .presence import Presence
from .upkeep import Upkeep


class Recall:
    """
    I join what is remembered of networks with who measures it.

    What was measured now goes before what was remembered, and takes its place.
    """

    def __init__(
        self, context: Context, memory: Memory, upkeep: Upkeep, presence: Presence
    ) -> None:
        self._context = context
        self._memory = memory
        self._upkeep = upkeep
        self._presence = presence
        upkeep.onEntered = self.entered
        presence.openerTtl.onFound = self.found
        presence.relaying.onRelayed = self.relayed

    def entered(self, network: Network) -> None:
        """
        This is the network that we are in.
        """
        presence = self._presence
        presence.relaying.prefer(network.relay)
        presence.openerTtl.recall(network.openerTtl or None)
        found = presence.openerTtl.found
        if found is not None:
            # It was measured before it was known where we are.
            self.found(found)

    def found(self, ttl: int) -> None:
        """
        The hop limit of openers was measured.
        """
        network = self._upkeep.network
        if network.openerTtl != ttl:
            network.openerTtl = ttl
            self._note(network)

    def relayed(self, way: Way) -> None:
        """
        A relay is reached this way.
        """
        network = self._upkeep.network
        if network.relay != way.kind:
            network.relay = way.kind
            self._presence.relaying.prefer(way.kind)
            self._note(network)

    def _note(self, network: Network) -> None:
        self._memory.noteNetwork(network)
        self._memory.saveSoon(self._context.clock)
