"""
An allocation on a relay by one of the ways to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from punchd.core import Address, Entropy
from punchd.interfaces import IRelayLeg, IRelayReceiver
from punchd.turn.client import (
    AllocationFailed,
    AllocationLost,
    Released,
    State,
)
from punchd.turn.runclient import RunClient

from .driver import Driver
from .legs import carrierOf
from .ways import RelayCredentials, Way

#: What a core is told of where a stream's frames came to: it does not matter.
_HERE: Final[Address] = ("", 0)


@implementer(IRelayReceiver)
class Attempt:
    """
    I am one allocation, from the first packet to the last.

    @ivar way: where it leads.
    @ivar core: the allocation, once the server can be spoken to.
    @ivar driver: its loop.
    """

    def __init__(
        self,
        way: Way,
        leg: IRelayLeg,
        credentials: RelayCredentials,
        clock: IReactorTime,
        entropy: Entropy,
        rtt: float | None,
        happened: Callable[[Attempt, object], None],
        flush: Callable[[], None],
    ) -> None:
        """
        @param rtt: seconds to the server and back over UDP, if known.
        @param happened: called with me and each event of the core.
        @param flush: called when all that came at one time was told.
        """
        self.way = way
        self.leg = leg
        self.core: RunClient | None = None
        self.driver: Driver | None = None
        self._credentials = credentials
        self._clock = clock
        self._entropy = entropy
        self._rtt = rtt
        self._happened = happened
        self._flush = flush
        self._leaving = False
        self._over = False

    @property
    def over(self) -> bool:
        """
        Whether nothing more comes of it.
        """
        return self._over

    def begin(self) -> None:
        """
        Go to the server, and ask it for an address.
        """
        self.leg.open(self)

    def abandon(self) -> None:
        """
        Nobody needs it: give back what the server may have given.
        """
        if self._over or self._leaving:
            return
        core, driver = self.core, self.driver
        if core is not None and driver is not None:
            self._leaving = True
            driver.call(core.release)
            if self.way.transport == "udp" and core.state is State.RELEASING:
                # The answer tells that it arrived.
                return
        self._end()

    def drop(self) -> None:
        """
        As L{abandon}, but at once: there is no time to hear an answer.
        """
        if not self._over and self.core is not None and self.driver is not None:
            if not self._leaving:
                self._leaving = True
                self.driver.call(self.core.release)
        self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        if self.driver is not None:
            self.driver.stop()
        self.leg.close()

    def _told(self, event: object) -> None:
        if self._over:
            return
        if not self._leaving:
            if isinstance(event, (AllocationFailed, AllocationLost)):
                self._end()
            self._happened(self, event)
        elif isinstance(event, (Released, AllocationFailed, AllocationLost)):
            self._end()

    # --- IRelayReceiver

    def ready(self) -> None:
        """
        @see: L{IRelayReceiver.ready}.
        """
        if self._over:
            return
        reliable = carrierOf(self.way).reliable
        core = RunClient(self.leg.server, entropy=self._entropy, reliable=reliable)
        if self._rtt is not None and not reliable:
            core.rtt = self._rtt
        self.core = core
        self.driver = Driver(core, self.leg.send, self._told, self._clock)
        known = self._credentials
        self.driver.call(
            core.allocate, known.username, known.password, known.realm, known.nonce
        )

    def framesReceived(self, frames: list[bytes]) -> None:
        """
        @see: L{IRelayReceiver.framesReceived}.
        """
        if self.driver is not None and self.core is not None:
            run = (frames, _HERE, self.core.server)
            self.driver.call(self.core.runsReceived, [run])
            self._flush()

    def lost(self, reason: str) -> None:
        """
        @see: L{IRelayReceiver.lost}.
        """
        allocated = self.core is not None and self.core.relayed is not None
        if self._over:
            return
        self._end()
        if not self._leaving:
            event = AllocationLost(reason) if allocated else AllocationFailed(0, reason)
            self._happened(self, event)
