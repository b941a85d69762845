"""
Which way to a relay is worth trying first, by what is known of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime

from .ways import RelayCredentials, Way

#: Seconds before the next way to the relay is tried as well, at the least.
HEAD_START: Final = 0.25
#: Seconds after which a server that has not been heard over UDP is thought not to
#: be reached by it.
SILENT: Final = 1.0


class Chances:
    """
    I know the ways, and what speaks for each.

    @ivar ways: in the order in which to try them if nothing else is known.
    @ivar credentials: those for the relay of the rendezvous.
    @ivar udpHeard: whether the rendezvous answers over UDP.
    @ivar rtt: seconds to the rendezvous and back over UDP, if known.
    @ivar preferred: the L{kind<Way.kind>} of way that was the best here before.
    @ivar best: the way that was the best since the network has changed.
    """

    def __init__(self, clock: IReactorTime, ways: Sequence[Way]) -> None:
        self.ways = list(ways)
        self.credentials: RelayCredentials | None = None
        self.udpHeard = False
        self.rtt: float | None = None
        self.preferred = ""
        self.best: Way | None = None
        self._clock = clock
        self._since = clock.seconds()

    def use(self, ways: Sequence[Way]) -> None:
        """
        The ways are these now.
        """
        self.ways = list(ways)
        self._since = self._clock.seconds()

    def unheard(self) -> None:
        """
        Whether the rendezvous answers over UDP is to be found out anew.
        """
        self.udpHeard = False
        self._since = self._clock.seconds()

    def networkChanged(self) -> None:
        """
        What was the best way may be none any more.
        """
        self.best, self.preferred = None, ""
        self.unheard()

    def _usable(self) -> list[Way]:
        return [way for way in self.ways if way.credentials or self.credentials]

    def order(self) -> list[Way]:
        """
        @return: the ways for which there are credentials, the best first.
        """
        ways = self._usable()
        best = self.best
        if best is None and not self.udpHeard:
            best = next((way for way in ways if way.kind == self.preferred), None)
        if best in ways and best.transport != "udp":
            ways.remove(best)
            ways.insert(0, best)
        return ways

    def streams(self) -> list[Way]:
        """
        @return: those that do without UDP.
        """
        return [way for way in self.order() if way.transport != "udp"]

    def better(self, way: Way | None) -> list[Way]:
        """
        @return: the ways by UDP that would be preferred to one if UDP worked.
        """
        ways = self._usable()
        before = ways[: ways.index(way)] if way in ways else []
        return [each for each in before if each.transport == "udp"]

    def headStart(self, way: Way) -> float:
        """
        @return: seconds before the next way is tried as well.
        """
        silent = self._clock.seconds() - self._since >= SILENT and not self.udpHeard
        if way.transport == "udp" and silent:
            return 0.0
        return max(HEAD_START, 3 * (self.rtt or 0.0))
