"""
The one loop between a core object and the world.

Whatever happens to a core object - a datagram, a command, its deadline - goes
in here.  After each entry the loop sends what the core wants to send, delivers
what it has to tell, does both again until there is nothing left, and arms one
delayed call at the core's deadline.

An event handler may call commands of the same core through L{Driver.call}: the
command runs at once and only queues in the core; the loop that is delivering
the event goes on to drain it.  So the order of events is the order in which
the core produced them, and the stack does not grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address, Core, Datagram
from punchd.interfaces import IBatchReceiver

_T = TypeVar("_T")

#: Seconds by which a delayed call may come early and still meet its deadline:
#: sums of floats are not exact.
_EARLY = 1e-6

#: Seconds until the next attempt, after the core failed at its deadline; it
#: may want the same time again.
_AFTER_FAILURE = 1.0


@implementer(IBatchReceiver)
class Driver:
    """
    I feed one core object, drain it and keep its time.

    @ivar core: the core object.
    """

    _log = Logger()

    def __init__(
        self,
        core: Core,
        send: Callable[[Sequence[Datagram]], None],
        deliver: Callable[[Any], None],
        clock: IReactorTime,
    ) -> None:
        """
        @param send: takes the datagrams that the core wants to send, never an
            empty sequence.
        @param deliver: takes one event.  What it raises is logged, and the loop
            goes on.
        @param clock: should be monotonic; see L{punchd.net.clock}.
        """
        self.core = core
        self._send = send
        self._deliver = deliver
        self._clock = clock
        self._seconds = clock.seconds
        self._last = float("-inf")
        self._armed: IDelayedCall | None = None
        self._armedFor = 0.0
        self._draining = False
        self._stopped = False

    def now(self) -> float:
        """
        @return: seconds, never less than what was returned before.
        """
        now: float = self._seconds()
        if now > self._last:
            self._last = now
            return now
        return self._last

    # --- entries -------------------------------------------------------------

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        A datagram has come for the core.
        """
        if self._stopped:
            return
        try:
            self.core.datagramReceived(data, local, remote, self.now())
        except Exception:
            self._log.failure("A datagram made {core!r} fail", core=self.core)
        if not self._draining:
            self._drain()

    def datagramsReceived(
        self, datagrams: Iterable[tuple[bytes, Address, Address]]
    ) -> None:
        """
        Several datagrams, each (data, local, remote), have come at one time.
        They are drained once.
        """
        if self._stopped:
            return
        now = self.now()
        receive = self.core.datagramReceived
        for data, local, remote in datagrams:
            try:
                receive(data, local, remote, now)
            except Exception:
                self._log.failure("A datagram made {core!r} fail", core=self.core)
        if not self._draining:
            self._drain()

    def call(self, command: Callable[..., _T], *args: Any) -> _T:
        """
        Run a command of the core, with the time as its last argument.

        @return: what the command returns.

        @raise Exception: what the command raises; the core is drained anyway.
        """
        try:
            return command(*args, self.now())
        finally:
            self.wake()

    def wake(self) -> None:
        """
        The core was touched by other means: drain it.
        """
        if not self._draining and not self._stopped:
            self._drain()

    def stop(self) -> None:
        """
        Send what the core has ready, and do nothing any more: no event is
        delivered, no datagram accepted, no call left armed.
        """
        if self._stopped:
            return
        self._stopped = True
        self._disarm()
        try:
            datagrams = self.core.takeDatagrams()
        except Exception:
            self._log.failure("{core!r} failed at its end", core=self.core)
            return
        if datagrams:
            self._sendAll(datagrams)

    # --- the loop ------------------------------------------------------------

    def _drain(self) -> None:
        self._draining = True
        core = self.core
        try:
            while not self._stopped:
                datagrams = core.takeDatagrams()
                if datagrams:
                    self._sendAll(datagrams)
                events = core.takeEvents()
                if events:
                    self._deliverAll(events)
                elif not datagrams:
                    break
            if not self._stopped:
                self._arm(core.deadline())
        except Exception:
            self._log.failure("{core!r} failed", core=core)
            self._retryLater()
        finally:
            self._draining = False

    def _sendAll(self, datagrams: Sequence[Datagram]) -> None:
        try:
            self._send(datagrams)
        except Exception:
            self._log.failure("Datagrams of {core!r} were not sent", core=self.core)

    def _deliverAll(self, events: Sequence[object]) -> None:
        for event in events:
            if self._stopped:
                return
            try:
                self._deliver(event)
            except Exception:
                self._log.failure("{event!r} could not be handled", event=event)

    def _arm(self, deadline: float | None) -> None:
        if deadline is None:
            self._disarm()
            return
        call = self._armed
        if call is None:
            delay = max(0.0, deadline - self.now())
            self._armed = self._clock.callLater(delay, self._timeReached)
        elif deadline < self._armedFor:
            call.reset(max(0.0, deadline - self.now()))
        else:
            # A call that comes too early arms itself anew: cheaper than moving
            # it with every packet that pushes the deadline away.
            return
        self._armedFor = deadline

    def _disarm(self) -> None:
        call, self._armed = self._armed, None
        if call is not None:
            call.cancel()

    def _timeReached(self) -> None:
        self._armed = None
        deadline = self.core.deadline()
        now = self.now()
        if deadline is not None and deadline <= now + _EARLY:
            self._last = now = max(now, deadline)
            try:
                self.core.timeReached(now)
            except Exception:
                self._log.failure("The deadline made {core!r} fail", core=self.core)
                self._retryLater()
                return
        self._drain()

    def _retryLater(self) -> None:
        if not self._stopped:
            self._disarm()
            self._armedFor = self.now() + _AFTER_FAILURE
            self._armed = self._clock.callLater(_AFTER_FAILURE, self._timeReached)
