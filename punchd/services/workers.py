"""
The processes of a rendezvous that share its UDP ports.

The first one keeps the directory, and lets in the connections over TCP; it relays and
answers as the others do, which are its workers.  It opens the sockets of all of them
and keeps them open: when a worker dies, what comes for it waits until it was started
again (when it hangs, it is killed, L{punchd.services.workerwatch}).  Its allocations
are lost then, and clients who have registered are made to notice.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ProcessDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.net.sharing import shareOut
from punchd.net.udp import UDPPort
from punchd.signaling.directory import Limits
from punchd.turn.allocation import Allocation
from punchd.turn.credentials import handleOf
from punchd.turn.limits import Limits as RelayLimits
from punchd.turn.neighbours import Lodger, NeighbouredServer, Neighbours, shareOf
from punchd.turn.runs import RunServer

from .traffic import Living
from .workercopy import ToldDirectory
from .workerhearing import Hearing
from .workerorders import Orders, cameRecord, changeOf, lodgerOf, recordOf
from .workerpipe import Record, pack
from .workerprocess import AGAIN, Child
from .workerwatch import Watch

#: Seconds after which a worker that died is started again, at most.
AT_MOST: Final = 10.0
#: A worker that lasted so many seconds has died of something new.
LASTED: Final = 30.0
#: Seconds that workers are given to end.
ENDING: Final = 5.0


class Workers:
    """
    I start them, tell them what they have to know, and listen to them.

    @ivar passing: passes connections over TCP on to them.
    @ivar neighbours: what they have, for the relay of this process.
    @ivar counters: what they have counted.
    @ivar portCounters: what went wrong on their UDP ports.
    @ivar restarts: how many have ended though nobody had told them to.
    """

    log = Logger()

    def __init__(self, rendezvous: Any, network: Any, processes: int) -> None:
        """
        @param rendezvous: the L{punchd.services.rendezvous.Rendezvous}.
        @param processes: how many there are to be, this one included.
        """
        self._rendezvous = rendezvous
        self._network = network
        self._clock = network.reactor
        self._processes = processes
        self._children = [Child(number) for number in range(1, processes)]
        self._families: list[int] = []
        self._prepared: dict[str, Any] = {}
        #: The local host of relayed addresses of each family.
        self.relayHosts: Mapping[int, str] = {}
        self.nonceKey: bytes = network.entropy(32)
        self.observerSecret: bytes = network.entropy(32)
        self.neighbours = Neighbours()
        self._hearing = Hearing(rendezvous, self._children, self._tellOthers)
        self.passing = self._hearing.passing
        self._watch = Watch(self._clock, self._children)
        self._own: dict[Address, Lodger] = {}
        self._past: tuple[Counter[str], Counter[str]] = Counter(), Counter()
        self._starting: set[Child] = set(self._children)
        self._whenReady: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self._draining = False
        self.restarts = 0

    @property
    def counters(self) -> Counter[str]:
        """
        What they have done, dropped and refused, by part and name.
        """
        return sum((each.counters for each in self._children), self._past[0].copy())

    @property
    def portCounters(self) -> Counter[str]:
        """
        What went wrong on their UDP ports.
        """
        return sum((each.ports for each in self._children), self._past[1].copy())

    def living(self) -> Iterable[Living]:
        """
        @return: what their allocations have passed.
        """
        return [living for each in self._children for living in each.living]

    # --- the parts of the rendezvous that know of me

    def share(self, port: Any, receiver: Any, kinds: Sequence[int]) -> UDPPort:
        """
        Let the workers have datagrams of a listening port.

        @see: L{shareOut}.

        @raise CannotListenError: the system does not permit it.
        """
        try:
            apart, pairs = shareOut(port, self._clock, receiver, kinds, self._processes)
        except CannotListenError:
            port.close()
            raise
        self._families.append(port.family)
        for child, pair in zip(self._children, pairs, strict=True):
            child.sockets.append(pair)
        return apart

    def makeDirectory(self, limits: Limits) -> ToldDirectory:
        """
        @return: the directory, which tells the workers what changes.
        """
        return ToldDirectory(self._network.entropy, limits, self.tell)

    def prepare(
        self,
        settings: Any,
        relaySecret: bytes,
        hosts: Mapping[str, str],
        everywhere: Sequence[int],
    ) -> None:
        """
        @param settings: the L{punchd.services.rendezvous.Settings}.
        @param hosts: see L{Orders}, as for the others.
        """
        self._prepared = {
            "relaySecret": relaySecret,
            "hosts": hosts,
            "ownHosts": [host for host, _ in self._network.localHosts()],
            "everywhere": everywhere,
            "relayPorts": settings.relayPorts,
            "realm": settings.realm,
            "limits": shareOf(settings.relayLimits, self._processes),
            # What may be exchanged while it runs is not for others as it stands.
            "peers": getattr(settings.peers, "current", settings.peers),
            "admissions": settings.admissions,
        }

    def change(self, limits: RelayLimits, peers: Any) -> RelayLimits:
        """
        Have the workers read the files of their guards again, and let other limits
        and networks hold.

        @param peers: the networks that are denied.

        @return: the share of this process in the limits.
        """
        share = shareOf(limits, self._processes)
        self._prepared |= {"limits": share, "peers": peers}
        self.tell("changed", changeOf(share, peers))
        return share

    def makeServer(self, **options: Any) -> RunServer:
        """
        @return: the relay of this process.
        """
        options["limits"] = shareOf(options["limits"], self._processes)
        return NeighbouredServer(
            self.neighbours,
            self._ownTold,
            self._hearing.ownClaims(),
            self._hearing.ownSpent,
            nonceKey=self.nonceKey,
            **options,
        )

    def _ownTold(self, allocation: Allocation, came: bool) -> None:
        if came:
            self._own[allocation.outside] = Lodger.of(allocation)
        else:
            self._own.pop(allocation.outside, None)
        self.tell(*recordOf(allocation, came))

    # --- processes

    def start(self) -> Deferred[None]:
        """
        @return: fires when all of them are at work.
        """
        self._whenReady = Deferred()
        self._draining = False
        self._starting.update(self._children)
        # What dies before the reactor runs would not be noticed.
        for child in self._children:
            self._clock.callWhenRunning(self._spawn, child)
        self._watch.start()
        return self._whenReady

    def drain(self) -> None:
        """
        Let nothing more be allocated; who dies now stays dead.
        """
        self._draining = True
        self.tell("drain")

    def usernames(self) -> set[str]:
        """
        @return: the users whose allocations the workers have.
        """
        return {
            lodger.username
            for child in self._children
            for lodger in child.lodgers.values()
        }

    def stop(self) -> Deferred[None]:
        """
        End all of them.

        @return: fires when they have ended.
        """
        stopping: Deferred[None] = Deferred()
        self._stopping = stopping
        self._draining = True
        self._watch.stop()
        late = self._clock.callLater(ENDING, self._kill)

        def ended(_: object) -> None:
            if late.active():
                late.cancel()
            for child in self._children:
                for end in (end for pair in child.sockets for end in pair):
                    end.close()
                child.sockets = []
            self._families = []

        for child in self._children:
            if child.again is not None:
                child.again.cancel()
                child.again = None
            if child.pipe is not None:
                child.pipe.close()
        stopping.addCallback(ended)
        self._maybeStopped()
        return stopping

    def _kill(self) -> None:
        for child in self._children:
            child.kill()

    def _maybeStopped(self) -> None:
        stopping = self._stopping
        if stopping is not None and not any(each.process for each in self._children):
            self._stopping = None
            stopping.callback(None)

    def _spawn(self, child: Child) -> None:
        child.again = None
        if self._draining or not child.sockets:
            return
        child.spawn(self._clock, self._received, self.ended)
        orders = Orders(
            number=child.number,
            processes=self._processes,
            ahead=self._clock.seconds() - time.monotonic(),
            families=tuple(self._families),
            observerSecret=self.observerSecret,
            nonceKey=self.nonceKey,
            relayHosts=self.relayHosts,
            certificate=self._rendezvous.credentials.pem,
            **self._prepared,
        )
        child.pipe.send(pickle.dumps(orders))
        for message in pack(self.records(child)):
            child.pipe.send(message)

    def ended(self, child: Child, reason: Failure) -> None:
        """
        A process is gone.
        """
        self._past[0].update(child.counters)
        self._past[1].update(child.ports)
        self._rendezvous.traffic.lost(child.living)
        child.counters, child.ports, child.living = Counter(), Counter(), []
        self._hearing.gone(child)
        lodgers, child.lodgers = child.lodgers, {}
        for each in lodgers.values():
            self._went(child, *each.outside)
            child.lost.add(each.username)
        if self._draining:
            self._maybeStopped()
            return
        self.restarts += 1
        now = self._clock.seconds()
        if now - child.startedAt >= LASTED:
            child.wait = AGAIN
        self.log.warn(
            "worker {number} has ended ({reason}), and with it {count} allocations; "
            "it is started again",
            number=child.number,
            reason="exit status 0"
            if reason.check(ProcessDone)
            else reason.getErrorMessage(),
            count=len(lodgers),
            event="worker-ended",
        )
        child.again = self._clock.callLater(child.wait, self._spawn, child)
        child.wait = min(2 * child.wait, AT_MOST)

    # --- what they are told

    def tell(self, *record: Any) -> None:
        """
        Tell all of them.
        """
        self._tellOthers(None, record)

    def _tellOthers(self, child: Child | None, record: Record) -> None:
        message: bytes | None = None
        for each in self._children:
            if each is not child and each.pipe is not None:
                message = message or next(pack([record]))
                each.pipe.send(message)

    def records(self, child: Child) -> Iterable[Record]:
        """
        @return: all that a new process has to be told.
        """
        directory: ToldDirectory = self._rendezvous.directory
        yield from directory.records(self._clock.seconds())
        yield from map(cameRecord, self._own.values())
        for other in self._children:
            if other is not child:
                yield from map(cameRecord, other.lodgers.values())

    # --- what they tell

    def _received(self, child: Child, records: Sequence[Record]) -> None:
        for name, *values in records:
            own = getattr(self, f"_heard_{name}", None)
            heard = own or getattr(self._hearing, name)
            heard(child, *values)

    def _heard_ready(self, child: Child) -> None:
        self.log.info(
            "worker {number} is at work", number=child.number, event="worker-ready"
        )
        child.ready = True
        self._starting.discard(child)
        whenReady = self._whenReady
        if whenReady is not None and not self._starting:
            self._whenReady = None
            whenReady.callback(None)
        lost, child.lost = child.lost, set()
        for username in lost:
            # Who registers again looks after his allocation.
            presence = self._rendezvous.directory.presenceOf(handleOf(username))
            if presence is not None and presence.connection is not None:
                presence.connection.loseConnection()

    def _heard_seen(self, child: Child, handle: str, host: str, port: int) -> None:
        rendezvous = self._rendezvous
        presence = rendezvous.directory.presenceOf(handle)
        if presence is not None and presence.sightings.add(
            (host, port), self._clock.seconds()
        ):
            rendezvous.sighted(presence, (host, port))

    def _heard_came(self, child: Child, *record: Any) -> None:
        lodger = lodgerOf(record)
        child.lodgers[lodger.outside] = lodger
        self.neighbours.came(lodger)
        self._hearing.came(lodger.outside)
        self._tellOthers(child, ("came", *record))

    def _heard_went(self, child: Child, host: str, port: int) -> None:
        child.lodgers.pop((host, port), None)
        self._went(child, host, port)

    def _went(self, child: Child, host: str, port: int) -> None:
        self.neighbours.went((host, port))
        self._tellOthers(child, ("went", host, port))
