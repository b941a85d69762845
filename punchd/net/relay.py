"""
The relay that a client uses: one allocation on one TURN server for all sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address, Entropy
from punchd.errors import RelayRefused
from punchd.interfaces import IRunReceiver
from punchd.turn.client import Allocated, AllocationLost

from .attempt import Attempt
from .carriage import Carriage, Former
from .chances import SILENT, Chances
from .legs import makeLeg
from .proxy import ProxyFor, noProxy
from .punching import PunchingSocket
from .race import Complaints, Race
from .relaytimes import Idleness, Replacement, Return
from .runs import RunReceiver
from .udp import Run
from .ways import RelayCredentials, Way
from .wishes import Wishes

__all__ = ["Relay", "RelayCredentials"]

#: Seconds for which an allocation is kept that nobody uses.
IDLE: Final = 300.0


@implementer(IRunReceiver)
class Relay(RunReceiver):
    """
    I allocate when somebody needs it, by the first way that works, and keep the
    allocation until it has been idle for long.

    @ivar onChanged: called when L{relayed} has changed.
    @ivar chances: what is known of the ways to relays.
    @ivar former: the address before this one, which is kept for a while.
    @ivar wishes: whom to let in, for whom; true if there is anything.
    """

    log = Logger()

    def __init__(
        self,
        socket: PunchingSocket,
        ways: Sequence[Way],
        clock: IReactorTime,
        entropy: Entropy,
        onChanged: Callable[[], None],
        *,
        proxyFor: ProxyFor = noProxy,
        wishes: Wishes | None = None,
        heardAt: Callable[[], float | None] = lambda: None,
    ) -> None:
        """
        @param ways: how to get to relays, in the order in which to try.
        @param heardAt: tells when the rendezvous has answered over UDP last.
        @param wishes: what is wanted of it already.
        """
        self.onChanged = onChanged
        self.chances = Chances(clock, ways)
        self.former = Former(clock)
        self._proxyFor = proxyFor
        self._socket = socket
        self._clock = clock
        self._entropy = entropy
        self._race: Race | None = None
        self._carriage: Carriage | None = None
        # All that may get something by the punching socket.
        self._udp: list[Attempt] = []
        self._idleness = Idleness(clock, IDLE, self.giveBack)
        self._replacement = Replacement(clock, self._lives, self._raceStreams)
        self._return = Return(clock, heardAt, self._raceUDP)
        self.wishes = wishes or Wishes()
        self._waiting: list[Deferred[Address]] = []
        self._complaints = Complaints()

    @property
    def ways(self) -> Sequence[Way]:
        """
        How to get to relays; with none, nothing new is allocated, and what there is
        lasts for as long as it can.
        """
        return self.chances.ways

    @ways.setter
    def ways(self, ways: Sequence[Way]) -> None:
        if list(ways) == self.chances.ways:
            return
        self.chances.use(ways)
        carriage = self._carriage
        if ways and carriage and carriage.attempt.way not in ways:
            # Another rendezvous: its relay knows nothing of us.
            carriage.attempt.lost("the rendezvous is another one")
        self._returnIfBetter()

    @property
    def way(self) -> Way | None:
        """
        The one that is used.
        """
        return None if self._carriage is None else self._carriage.attempt.way

    @property
    def relayed(self) -> Address | None:
        """
        The relayed transport address, while there is one.
        """
        return None if self._carriage is None else self._carriage.relayed

    def whenAllocated(self) -> Deferred[Address]:
        """
        Allocate if need be.

        @return: fires with the relayed address, or fails with
            L{RelayRefused}.
        """
        waiting: Deferred[Address] = Deferred(lambda each: self._waiting.remove(each))
        if self.relayed is not None:
            waiting.callback(self.relayed)
            self._watch()
            return waiting
        ways = self.chances.order()
        if not ways:
            waiting.errback(RelayRefused("The rendezvous offers no relay."))
            return waiting
        self._waiting.append(waiting)
        if self._race is None:
            self._race = self._raceOf(ways, self._won, self._failed)
            self._race.begin()
        return waiting

    # --- the race

    def _raceOf(
        self,
        ways: Sequence[Way],
        won: Callable[[Attempt, Allocated], None],
        failed: Callable[[RelayRefused], None],
    ) -> Race:
        start, make = self.chances.headStart, self._makeAttempt
        return Race(self._clock, ways, start, make, won, failed)

    def _makeAttempt(self, way: Way) -> Attempt:
        credentials = way.credentials or self.chances.credentials
        assert credentials is not None
        attempt = Attempt(
            way,
            makeLeg(way, self._socket, self._proxyFor, self),
            credentials,
            self._clock,
            self._entropy,
            self.chances.rtt,
            self._happened,
            self._flush,
        )
        self._udp = [each for each in self._udp if not each.over]
        if way.transport == "udp":
            self._udp.append(attempt)
        return attempt

    def _won(self, attempt: Attempt, event: Allocated) -> None:
        self._race = None
        self.chances.best = attempt.way
        self._carriage = Carriage(attempt, event.relayed, self._socket, self.wishes)
        self.log.info(
            "Relayed address {host}:{port}, {way}",
            host=event.relayed[0],
            port=event.relayed[1],
            way=str(attempt.way),
            event="relayed-address",
        )
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(event.relayed)
        self._watch()
        self.onChanged()
        self._returnIfBetter()

    def _failed(self, refusal: RelayRefused) -> None:
        self._race = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(refusal)

    # --- its life

    def check(self) -> None:
        """
        Find out whether the allocation still lives, and get one if there is
        none.
        """
        hosts = {host for host, _ in self._socket.network.localHosts()}
        if self._carriage is None:
            self.whenAllocated().addErrback(lambda _: None)
            return
        attempt = self._carriage.attempt
        if not attempt.leg.stillOurs(hosts):
            attempt.lost("this machine has other addresses")
        else:
            self._replacement.ask(attempt, max(SILENT, 6 * (self.chances.rtt or 0.0)))

    def doubt(self) -> None:
        """
        A path is silent that carried data: all of UDP may be blocked.
        """
        if self._carriage is not None:
            self._replacement.doubt(self._carriage.attempt)

    def _lives(self) -> bool:
        return self._carriage is None or self._carriage.lives

    def _raceStreams(self) -> Race:
        def won(attempt: Attempt, event: Allocated) -> None:
            before = self._carriage
            if before is None or before.lives:
                attempt.abandon()
                return
            self._forget()
            before.attempt.drop()
            self._won(attempt, event)

        return self._raceOf(self.chances.streams(), won, lambda why: None)

    def _returnIfBetter(self) -> None:
        """
        Look whether UDP works again where it did not.
        """
        if self.chances.better(self.way):
            self._return.begin()
        else:
            self._return.stop(Attempt.abandon)

    def _raceUDP(self) -> Race:
        def won(attempt: Attempt, event: Allocated) -> None:
            before, self._carriage = self._carriage, None
            if before is not None:
                # Paths are proven on the new one while the old one carries them.
                self.former.keep(before)
            self._won(attempt, event)

        def failed(why: RelayRefused) -> None:
            self._return.failed()

        return self._raceOf(self.chances.better(self.way), won, failed)

    def _watch(self) -> None:
        """
        Give the allocation back when nobody has used it for long.
        """
        self._idleness.set(self.relayed is not None and not self.wishes)

    def giveBack(self) -> None:
        """
        Give the allocation back, until somebody asks for one again.
        """
        carriage = self._carriage
        self.log.info("The relayed address was given back")
        self._forget()
        if carriage is not None:
            carriage.attempt.abandon()
        self.onChanged()

    def permit(self, user: object, hosts: Iterable[str]) -> None:
        """
        Let packets from these hosts in (RFC 8656, section 9), now and after
        each new allocation, until L{forget}.

        @param user: whose peer they belong to.
        """
        new = self.wishes.add(user, hosts)
        self._watch()
        for carriage in (self._carriage, self.former.carriage) if new else ():
            if carriage is not None:
                carriage.permit()

    def forget(self, user: object) -> None:
        """
        C{user} is no more: what only it wanted is not refreshed any longer.
        """
        gone = self.wishes.remove(user)
        if gone and self._carriage is not None:
            self._carriage.forget(gone)
        self._watch()

    # --- datagrams

    def runsReceived(self, runs: Sequence[Run]) -> None:
        """
        Datagrams came from the server; what they carry is passed on together.
        """
        for attempt in self._udp:
            if attempt.core is not None and attempt.driver is not None:
                attempt.driver.call(attempt.core.runsReceived, runs)
        self._flush()

    def _flush(self) -> None:
        for carriage in (self._carriage, self.former.carriage):
            if carriage is not None:
                carriage.flush()

    def _happened(self, attempt: Attempt, event: object) -> None:
        carriage = self._carriage
        if self.former.happened(attempt, event):
            return
        if carriage is None or attempt is not carriage.attempt:
            self._complaints.hear(attempt, event)
            self._replacement.happened(attempt, event)
            self._return.happened(attempt, event)
            if self._race is not None:
                self._race.happened(attempt, event)
        elif isinstance(event, AllocationLost):
            self.log.info("The relay allocation was lost: {why}", why=event.reason)
            self._forget()
            self.onChanged()
            if self.wishes:
                self.whenAllocated().addErrback(lambda _: None)
        else:
            carriage.happened(event)

    # --- the end

    def _forget(self) -> None:
        self._return.stop(Attempt.abandon)
        self.former.leave()
        carriage, self._carriage = self._carriage, None
        if carriage is not None:
            carriage.end()
        self._watch()

    def release(self) -> None:
        """
        Give the allocation back, at once.
        """
        had = self.relayed is not None
        self._replacement.stop(Attempt.drop)
        race, self._race = self._race, None
        if race is not None:
            race.stop(Attempt.drop)
        carriage = self._carriage
        self.wishes.clear()
        self._forget()
        for each in self._udp if carriage is None else [carriage.attempt, *self._udp]:
            each.drop()
        self._udp.clear()
        if had:
            self.onChanged()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(RelayRefused("The client stops."))
