"""
What workers tell of what they relay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from punchd.core import Address
from punchd.turn.claims import Claims
from punchd.turn.events import AllocationClosed, AllocationOpened
from punchd.turn.limits import Spent

from .passing import Passing
from .traffic import Living
from .workerclaims import ClaimRoutes, claimOf, reservedOf
from .workerorders import spentOf, spentRecords
from .workerpipe import Record, withAddresses
from .workerprocess import Child


class Hearing:
    """
    I see to it that the process with the directory, and the other ones if it concerns
    them, know of it.

    @ivar passing: knows what connections workers have.
    """

    def __init__(
        self,
        rendezvous: Any,
        children: Sequence[Child],
        tellOthers: Callable[[Child | None, Record], None],
    ) -> None:
        """
        @param rendezvous: the L{punchd.services.rendezvous.Rendezvous}.
        @param tellOthers: tells a record to all but one of the workers.
        """
        self._rendezvous = rendezvous
        self._processes = len(children) + 1
        self._tellOthers = tellOthers
        self._claims = ClaimRoutes(rendezvous, children)
        self.passing = Passing(children)
        self.proven = self.passing.proven
        self.left = self.passing.left

    def ownClaims(self) -> Claims:
        """
        @return: what the relay of this process asks others with.
        """
        return Claims(0, self._processes, self._claims.ask)

    def ownSpent(self, spent: list[Spent]) -> None:
        """
        This process has passed so much.
        """
        for record in spentRecords(spent):
            self._tellOthers(None, record)

    def spent(self, child: Child, spent: list[Any]) -> None:
        """
        A worker has passed so much.
        """
        relay, driver = self._rendezvous.relay, self._rendezvous.datagrams.driver
        if relay is not None and driver is not None:
            driver.call(relay.spentElsewhere, spentOf(spent))
        self._tellOthers(child, ("spent", spent))

    def came(self, outside: Address) -> None:
        """
        A worker has a relayed address.
        """
        relay, driver = self._rendezvous.relay, self._rendezvous.datagrams.driver
        if relay is not None and driver is not None:
            driver.call(relay.came, outside)

    def claim(self, child: Child, *claim: str) -> None:
        """
        A worker asks for what another process has reserved.
        """
        self._claims.asked(child.number, claimOf(claim))

    def ceded(self, child: Child, asker: int, claim: Any, found: Any) -> None:
        """
        A worker answers that.
        """
        self._claims.answered(asker, claimOf(claim), reservedOf(found))

    def gone(self, child: Child) -> None:
        """
        A worker has died.
        """
        self._claims.gone(child.number)
        self.passing.gone(child)

    def report(
        self,
        child: Child,
        counters: dict[str, int],
        ports: dict[str, int],
        living: list[Living],
    ) -> None:
        """
        What a worker has counted so far.
        """
        child.counters, child.ports = Counter(counters), Counter(ports)
        child.living = living

    def alive(self, child: Child) -> None:
        """
        That is what it was before: that a worker says so is enough (L{Child.silence}).
        """

    def opened(self, child: Child, event: dict[str, Any]) -> None:
        """
        A worker has a client more.
        """
        self._rendezvous.relayed(AllocationOpened(**withAddresses(event)))

    def closed(self, child: Child, event: dict[str, Any]) -> None:
        """
        It has one less.
        """
        self._rendezvous.relayed(AllocationClosed(**withAddresses(event)))
