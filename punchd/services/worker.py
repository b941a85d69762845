"""
A process that answers STUN and relays for a rendezvous, beside others.

    python -m punchd.services.worker

is run by the rendezvous only: its sockets, and a pipe, are the descriptors from 3
on.  It ends with the pipe.  Whatever it decides, it decides by its copy of the
directory and by what it is told of the other processes.
"""

from __future__ import annotations

import pickle
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from punchd.errors import PunchError
from punchd.net.clock import makeMonotonic
from punchd.net.driver import Driver
from punchd.net.kernel import KernelNetwork
from punchd.net.sharing import Pair
from punchd.net.tls import ServerCredentials
from punchd.signaling.observation import Observer
from punchd.stun.binding import BindingServer
from punchd.stun.limit import PrefixLimit
from punchd.turn.allocation import Allocation
from punchd.turn.claims import Claim, Claims
from punchd.turn.events import AllocationClosed, AllocationOpened, SendWhole
from punchd.turn.limits import Spent
from punchd.turn.neighbours import NeighbouredServer, Neighbours

from .admission import RegisteredUsers
from .datagrams import Datagrams
from .relayports import RelayPorts
from .reloading import Exchangeable, exchange
from .traffic import livingOf
from .visitors import Visitors
from .workerclaims import claimOf, claimRecord, reservedOf
from .workercopy import Copy, Tell
from .workerorders import (
    PIPE,
    SOCKETS,
    Orders,
    changed,
    guardsOf,
    lodgerOf,
    recordOf,
    spentOf,
    spentRecords,
)
from .workerpipe import Pipe, unpack
from .workerreceiver import receiverFor

#: Seconds between two reports of what was counted.
REPORT: Final = 1.0


class Worker:
    """
    I am all of it but the process.

    @ivar copy: what I know of the directory.
    @ivar neighbours: what I know of the other processes.
    @ivar datagrams: takes what comes.
    @ivar relay: the TURN server, or L{None}.
    """

    log = Logger()

    def __init__(self, network: Any, orders: Orders, tell: Tell) -> None:
        """
        @param network: an L{punchd.interfaces.INetwork}.
        @param tell: sends a record to the rendezvous.

        @raise punchd.errors.PunchError: a guard cannot be made.
        """
        self._tell = tell
        self._network = network
        self._clock = clock = network.reactor
        self._orders = orders
        self.copy = Copy(tell)
        self.neighbours = Neighbours()
        observer = Observer(self.copy.presenceOf, orders.observerSecret)
        self.datagrams = Datagrams(clock, observer)
        self.datagrams.binding = BindingServer(
            orders.hosts, orders.everywhere, limit=PrefixLimit()
        )
        self.visitors: Visitors | None = None
        if orders.certificate:
            self.visitors = Visitors(
                clock,
                ServerCredentials(None, orders.certificate),
                self.datagrams.streams,
                tell,
                orders.processes,
            )
        self.relay: NeighbouredServer | None = None
        self._relayPorts: RelayPorts | None = None
        self._guards: list[Exchangeable] = []
        self._peers = Exchangeable(orders.peers)
        self._reporting: IDelayedCall | None = None
        self._reported: tuple[Any, ...] = ()
        if orders.relayHosts:
            self._startRelay()
        self._records: dict[str, Callable[..., None]] = {
            "here": self.copy.here,
            "gone": self.copy.gone,
            "seen": self.copy.seen,
            "dial": self.copy.dialled,
            "accepted": self.copy.accepted,
            "ended": self.copy.ended,
            "came": self._came,
            "went": self._went,
            "drain": self._drain,
            "changed": self._changed,
            "cede": self._cede,
            "ceded": self._ceded,
            "spent": self._spentElsewhere,
            "leave": self._leave,
            "stream": self._lost,
            "shown": self._shown,
        }

    def start(self) -> None:
        """
        Say that I am there.
        """
        self._tell("ready")
        self._report()

    def apply(self, records: Sequence[Sequence[Any]]) -> None:
        """
        Some records have come.
        """
        now = self._clock.seconds()
        for name, *values in records:
            self._records[name](now, *values)

    def stop(self) -> None:
        """
        Close everything.
        """
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None
        self.datagrams.stopRelay()
        self.datagrams.closeAll()
        if self.visitors is not None:
            self.visitors.abortAll()
        if self._relayPorts is not None:
            self._relayPorts.closeAll()

    def _startRelay(self) -> None:
        network, orders = self._network, self._orders
        receiver = receiverFor(orders.hosts)
        low, high = orders.relayPorts
        ports = self._relayPorts = RelayPorts(
            network, receiver, orders.relayHosts, low, high
        )
        registered = RegisteredUsers(
            orders.relaySecret, network.wallClock, self.copy, self._clock
        )
        self._guards = [
            Exchangeable(each) for each in guardsOf(orders.admissions, network)
        ]
        self.relay = NeighbouredServer(
            self.neighbours,
            self._told,
            Claims(orders.number, orders.processes, self._claim),
            self._spent,
            realm=orders.realm,
            guards=[registered, *self._guards],
            ports=ports,
            entropy=network.entropy,
            external=orders.hosts,
            ownHosts=orders.ownHosts,
            whole=network.sendsWhole,
            limits=orders.limits,
            forbidden=self._peers,
            nonceKey=orders.nonceKey,
        )
        driver = Driver(self.relay, self.datagrams.send, self._relayed, self._clock)
        receiver.driver = driver
        receiver.carrierOf = self.datagrams.carrierOf
        self.datagrams.setRelay(self.relay, driver, ports.ports)

    # --- from the rendezvous

    def _came(self, now: float, *record: Any) -> None:
        lodger, driver = lodgerOf(record), self.datagrams.driver
        self.neighbours.came(lodger)
        if self.relay is not None and driver is not None:
            driver.call(self.relay.came, lodger.outside)

    def _went(self, now: float, host: str, port: int) -> None:
        self.neighbours.went((host, port))

    def _drain(self, now: float) -> None:
        if self._relayPorts is not None:
            self._relayPorts.full = True

    def _changed(self, now: float, text: str) -> None:
        limits, peers = changed(text)
        try:
            guards = guardsOf(self._orders.admissions, self._network)
        except PunchError as e:
            # The rendezvous has read the same files a moment ago.
            self.log.warn("Users stay as they were: {error}", error=str(e))
            guards = [each.current for each in self._guards]
        exchange(
            self,
            list(zip(self._guards, guards, strict=True)),
            (self._peers, peers),
            limits,
        )

    def _cede(self, now: float, asker: int, record: Any) -> None:
        driver = self.datagrams.driver
        if self.relay is not None and driver is not None:
            found = driver.call(self.relay.cede, claimOf(record))
            self._tell("ceded", asker, record, found)

    def _ceded(self, now: float, record: Any, found: Any) -> None:
        driver = self.datagrams.driver
        if self.relay is not None and driver is not None:
            driver.call(self.relay.ceded, claimOf(record), reservedOf(found))

    def _spentElsewhere(self, now: float, record: Any) -> None:
        driver = self.datagrams.driver
        if self.relay is not None and driver is not None:
            driver.call(self.relay.spentElsewhere, spentOf(record))

    # --- connections

    def take(self, message: bytes, descriptor: int) -> None:
        """
        A message has come with a connection.
        """
        ((_, *values),) = unpack(message)
        if self.visitors is not None:
            self.visitors.take(self._clock, descriptor, *values)

    def _lost(self, now: float, number: int, *values: Any) -> None:
        # There was no descriptor: we may not have as many.
        if self.visitors is not None:
            self.visitors.left(number)

    def _leave(self, now: float, number: int) -> None:
        if self.visitors is not None:
            self.visitors.leave(number)

    def _shown(self, now: float, pem: str) -> None:
        if self.visitors is not None:
            self.visitors.credentials.become(
                ServerCredentials(None, pem.encode("ascii"))
            )

    # --- to the rendezvous

    def _spent(self, spent: list[Spent]) -> None:
        for record in spentRecords(spent):
            self._tell(*record)

    def _claim(self, claim: Claim) -> None:
        self._tell("claim", *claimRecord(claim))

    def _told(self, allocation: Allocation, came: bool) -> None:
        self._tell(*recordOf(allocation, came))

    def _relayed(self, event: object) -> None:
        if isinstance(event, SendWhole):
            assert self._relayPorts is not None
            self._relayPorts.sendWhole(event.datagram)
        elif isinstance(event, AllocationOpened):
            self._tell("opened", asdict(event))
        elif isinstance(event, AllocationClosed):
            self._tell("closed", asdict(event))

    def _report(self) -> None:
        """
        Tell what was counted, or at least that we are well.
        """
        self._reporting = self._clock.callLater(REPORT, self._report)
        counters = {
            f"{part}: {name}": count
            for part, each in (
                ("tcp", self.visitors),
                ("stream", self.datagrams.streams),
                ("udp", self.datagrams),
                ("binding", self.datagrams.binding),
                ("relay", self.relay),
            )
            if each is not None
            for name, count in each.counters.items()
        }
        ports = self.datagrams.portCounters()
        if self._relayPorts is not None:
            ports.update(self._relayPorts.counters)
        living = [] if self.relay is None else self.relay.allocations()
        report = counters, dict(ports), livingOf(living)
        if report != self._reported:
            self._reported = report
            self._tell("report", *report)
        else:
            self._tell("alive")


def main() -> None:
    """
    Be a worker.
    """
    from twisted.internet import reactor as anyReactor

    reactor: Any = anyReactor
    # They reach all processes of a group; the rendezvous decides when we end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    printed = FilteringLogObserver(
        textFileLogObserver(sys.stderr, timeFormat=None),
        [LogLevelFilterPredicate(LogLevel.warn)],
    )
    globalLogBeginner.beginLoggingTo([printed], redirectStandardIO=False)
    workers: list[Worker] = []

    def received(message: bytes) -> None:
        if workers:
            workers[0].apply(unpack(message))
        else:
            workers.append(_begin(reactor, pickle.loads(message), pipe.tell))

    def lost() -> None:
        # Whoever was about to tell something is in the middle of it.
        reactor.callLater(0, ended)

    def ended() -> None:
        for each in workers:
            each.stop()
        if reactor.running:
            reactor.stop()

    end = socket.socket(fileno=PIPE)
    end.setblocking(False)
    pipe = Pipe(reactor, end, received, lost, lambda *passed: workers[0].take(*passed))
    reactor.run(installSignalHandlers=False)


def _begin(reactor: Any, orders: Orders, tell: Tell) -> Worker:
    """
    Take the sockets, and go to work.
    """
    network = KernelNetwork(makeMonotonic(reactor, orders.ahead))
    worker = Worker(network, orders, tell)
    sockets = [
        socket.socket(fileno=SOCKETS + number)
        for number in range(2 * len(orders.families))
    ]
    pairs: Sequence[Pair] = list(zip(sockets[::2], sockets[1::2], strict=True))
    for family, (data, asked) in zip(orders.families, pairs, strict=True):
        worker.datagrams.add(network.adopt(worker.datagrams, family, data))
        worker.datagrams.alsoClose(network.adopt(worker.datagrams, family, asked))
    worker.start()
    return worker


if __name__ == "__main__":
    main()
