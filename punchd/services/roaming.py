"""
Noticing that this machine went somewhere else: to other addresses, to another
network, or to sleep and back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from punchd.interfaces import INetwork

#: Seconds between looks at the addresses, where nobody tells of changes and
#: where somebody does.
POLL = 2.0
TOLD_POLL = 15.0
#: Addresses come and go in groups: a change is acted on so many seconds after
#: the last one.
DEBOUNCE = 0.1


#: Makes what notices sleep, such as L{punchd.net.clock.SleepDetector}, from a clock
#: and what to call.
MakeSleepDetector = Callable[[Any, Callable[[float], None]], Any]


class Roamer(Protocol):
    """
    Who has to know; L{punchd.services.client.PunchClient}.
    """

    def networkChanged(self) -> None:
        """
        Our addresses are others than before, or time has passed unnoticed.
        """


class Roaming(Service):
    """
    I watch the addresses of this machine.
    """

    log = Logger()

    def __init__(
        self,
        network: INetwork,
        roamer: Roamer,
        makeSleepDetector: MakeSleepDetector | None = None,
    ) -> None:
        """
        @param makeSleepDetector: makes an object with C{start} and C{stop} that
            calls its second argument after each sleep of the machine, with the
            seconds that it took.
        """
        self._network = network
        self._clock = network.reactor
        self._roamer = roamer
        self._hosts: frozenset[str] = frozenset()
        self._polling: IDelayedCall | None = None
        self._settling: IDelayedCall | None = None
        self._stopWatching: Callable[[], None] | None = None
        self._sleep = None
        if makeSleepDetector is not None:
            self._sleep = makeSleepDetector(self._clock, self._woke)

    def startService(self) -> None:
        """
        Begin to watch.
        """
        super().startService()
        self._hosts = self._look()
        self._stopWatching = self._network.watchHosts(self._told)
        self._poll()
        if self._sleep is not None:
            self._sleep.start()

    def stopService(self) -> None:
        """
        Stop watching.
        """
        super().stopService()
        for call in (self._polling, self._settling):
            if call is not None and call.active():
                call.cancel()
        self._polling = self._settling = None
        if self._stopWatching is not None:
            self._stopWatching()
            self._stopWatching = None
        if self._sleep is not None:
            self._sleep.stop()

    def _look(self) -> frozenset[str]:
        return frozenset(host for host, _ in self._network.localHosts())

    def _poll(self) -> None:
        interval = POLL if self._stopWatching is None else TOLD_POLL
        self._polling = self._clock.callLater(interval, self._poll)
        self._told()

    def _told(self) -> None:
        """
        Something may have changed: look once it has settled.
        """
        if self._settling is not None and self._settling.active():
            self._settling.reset(DEBOUNCE)
        else:
            self._settling = self._clock.callLater(DEBOUNCE, self._settled)

    def _settled(self) -> None:
        self._settling = None
        hosts = self._look()
        if hosts == self._hosts:
            return
        gone, come = sorted(self._hosts - hosts), sorted(hosts - self._hosts)
        self._hosts = hosts
        self.log.info(
            "Our addresses have changed: {gone} gone, {come} new",
            gone=", ".join(gone) or "none",
            come=", ".join(come) or "none",
            event="roamed",
        )
        self._roamer.networkChanged()

    def _woke(self, seconds: float) -> None:
        self.log.info("The machine slept for {seconds:.0f} s", seconds=seconds)
        self._roamer.networkChanged()
