"""
Keeping bindings alive at the least cost: how long the NAT in use keeps one is
measured in the background, once a network, and the keepalive follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.nat.keepalive import Keepalive, Lifetime
from punchd.nat.lifetime import BindingTested, LifetimeEnded
from punchd.session.context import Context
from punchd.stun.address import prefixOf

from .memory import Memory, Network
from .status import NatStatus
from .survey import Knowledge, Survey

#: Seconds after the survey of the NAT: dials come first.
PAUSE: Final = 10.0

#: Seconds after which it is looked again whether it is quiet enough to begin.
AGAIN: Final = 5.0

#: Seconds for which a measurement is good; older ones are confirmed, which takes
#: four flows.
GOOD: Final = 7 * 86400.0


class Observing(Protocol):
    """
    Who asks the rendezvous again and again; L{punchd.services.presence.Presence}.
    """

    def setKeepalive(self, seconds: float) -> None:
        """
        Ask every so many seconds from now on.
        """


class Upkeep:
    """
    I decide how often a packet has to pass on an idle path.

    @ivar network: what is known of the network that we are in.
    @ivar fixed: whether the user has decided.
    @ivar onEntered: called with each network that we come to.
    """

    log = Logger()

    def __init__(
        self,
        context: Context,
        memory: Memory,
        observing: Observing,
        busy: Callable[[], bool],
        hurry: Callable[[], object],
        interval: float | None = None,
    ) -> None:
        """
        @param busy: whether something is going on that further flows would
            disturb.
        @param hurry: called when the interval has become shorter.
        @param interval: what the user wants, L{None} for what is measured.
        """
        self._context = context
        self._memory = memory
        self._observing = observing
        self._busy = busy
        self._hurry = hurry
        self.fixed = interval is not None
        self.network = Network("")
        self.onEntered: Callable[[Network], object] = lambda network: None
        self._keepalive = Keepalive()
        self._survey = Survey(context.socket.network)
        self._server: Address | None = None
        self._waiting: IDelayedCall | None = None
        context.mappingMoved = self.moved
        if interval is not None:
            context.keepalive = interval

    @property
    def lifetime(self) -> float | None:
        """
        Seconds for which the NAT keeps a binding that was answered, as far as
        they were measured.
        """
        found = self.network.twoWay
        return None if found is None else found.low

    # --- facts

    def seen(self, host: str) -> None:
        """
        The rendezvous sees us at this host.
        """
        prefix = prefixOf(host)
        if prefix and prefix != self.network.prefix:
            self.stop()
            self._enter(self._memory.network(prefix))

    def surveyed(self, knowledge: Knowledge, server: Address) -> None:
        """
        The NAT was surveyed.
        """
        nat = f"{knowledge.behavior.mapping.value}, {knowledge.allocation}"
        clock = self._context.clock
        if nat != self.network.nat:
            self.stop()
            before = self.network
            network = self._memory.network(before.prefix, nat)
            # Whatever the NAT is, this is where we are.
            network.openerTtl = before.openerTtl or network.openerTtl
            network.relay = before.relay or network.relay
            self._enter(network)
        self.network.model = knowledge.model.toDict(clock.seconds())
        self.network.modelled = self._context.wallClock()
        self._memory.noteNetwork(self.network)
        self._memory.saveSoon(clock)
        self._server = server
        age = self._context.wallClock() - self.network.measured
        if not self.fixed and not self._survey.running and not 0 <= age < GOOD:
            self._later(PAUSE)

    def moved(self, silence: float) -> None:
        """
        The NAT has moved a mapping of ours.

        @param silence: the seconds for which nothing had passed.
        """
        before = self._keepalive.interval
        after = self._keepalive.mappingMoved(silence)
        if after < before and not self.fixed:
            self.log.info(
                "The NAT moved our port after {silence:.0f} s of silence: a keepalive"
                " every {seconds:.1f} s from now on",
                silence=silence,
                seconds=after,
                event="mapping-moved",
            )
            self._use()

    # --- measuring

    def _enter(self, network: Network) -> None:
        self.network = network
        self._keepalive = Keepalive(self.lifetime)
        self._use()
        self.onEntered(network)

    def _later(self, delay: float) -> None:
        if self._waiting is None:
            self._waiting = self._context.clock.callLater(delay, self._measure)

    def _measure(self) -> None:
        self._waiting = None
        if self._busy():
            self._later(AGAIN)
            return
        assert self._server is not None
        network = self.network

        def ended(found: LifetimeEnded) -> None:
            if network is not self.network:
                return
            if found.twoWay is None or not found.twoWay.low:
                self.log.debug(
                    "The binding lifetime was not measured: {why}", why=found.reason
                )
                return
            network.twoWay, network.oneWay = found.twoWay, found.oneWay
            network.measured = self._context.wallClock()
            self._memory.noteNetwork(network)
            self._memory.saveSoon(self._context.clock)
            self._measured(found.twoWay)
            self.log.info(
                "Our NAT keeps a silent binding for {seconds:.0f} s: a keepalive"
                " every {interval:.1f} s",
                seconds=found.twoWay.low,
                interval=self._keepalive.interval,
                event="lifetime",
            )

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                self.log.failure("Measuring the binding lifetime failed", failure)

        self._survey.lifetime(
            self._server,
            rtt=self._context.rtt,
            twoWay=network.twoWay,
            oneWay=network.oneWay,
            progress=self._progress,
        ).addCallbacks(ended, failed).addErrback(failed)

    def _progress(self, event: object) -> None:
        if isinstance(event, BindingTested) and not event.oneWay:
            # Shorter bindings than was thought are no news that can wait.
            if not event.alive and event.seconds <= self._keepalive.interval:
                self._measured(Lifetime(event.seconds / 2, event.seconds))

    def _measured(self, lifetime: Lifetime) -> None:
        self._keepalive.measured(lifetime.low)
        self._use()

    def _use(self) -> None:
        context = self._context
        interval = self._keepalive.interval
        if self.fixed or interval == context.keepalive:
            return
        before, context.keepalive = context.keepalive, interval
        self._observing.setKeepalive(interval)
        if interval < before:
            self._hurry()

    def stop(self) -> None:
        """
        Measure no more; what is known is kept.
        """
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._survey.stop()

    def complete(self, nat: NatStatus) -> NatStatus:
        """
        @return: the same, with what is known of the lifetime.
        """
        nat["bindingLifetime"] = self.lifetime
        oneWay = self.network.oneWay
        nat["oneWayLifetime"] = None if oneWay is None else oneWay.low
        nat["keepaliveInterval"] = round(self._context.keepalive, 3)
        return nat
