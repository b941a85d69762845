"""
The rendezvous: who is here, where they are seen, and a relay for when no hole
can be made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from punchd.core import Address
from punchd.errors import InvalidOption
from punchd.net.driver import Driver
from punchd.net.tls import ServerCredentials
from punchd.signaling.directory import Directory, Presence
from punchd.signaling.observation import Observer
from punchd.signaling.url import RendezvousURL
from punchd.stun.address import family
from punchd.stun.binding import BindingServer
from punchd.stun.limit import PrefixLimit
from punchd.turn.credentials import handleOf, makeCredentials
from punchd.turn.events import AllocationClosed, AllocationOpened, SendWhole
from punchd.turn.runs import RunServer

from .admission import RegisteredUsers
from .datagrams import Datagrams
from .doors import Doors
from .drain import Drain
from .entrance import EntranceFactory
from .passing import PassingFactory
from .places import Place, firsts, textOf
from .registrar import Offering, Registrar
from .relaylog import RelayLog
from .relayports import RelayPorts, RelayReceiver
from .settings import Settings as Settings
from .state import StateFolder
from .traffic import Traffic
from .workerreceiver import receiverFor
from .workers import Workers

#: Seconds for which something may be allocated with one set of credentials.
CREDENTIALS: Final = 12 * 3600.0
#: Seconds that clients are given to close their connections.
CLOSING: Final = 0.5


class Rendezvous(Service):
    """
    I am the whole of it.

    @ivar url: what clients are given, once I listen.
    @ivar directory: who is here.
    @ivar relay: the TURN server, or L{None}.
    @ivar traffic: what it has passed.
    """

    log = Logger()
    name: Any = "rendezvous"

    def __init__(
        self,
        network: Any,
        credentials: ServerCredentials,
        settings: Settings,
        state: StateFolder | None = None,
    ) -> None:
        """
        @param network: an L{punchd.interfaces.INetwork}.
        @param state: where the URL is written to.
        """
        self.url: RendezvousURL | None = None
        self.relay: RunServer | None = None
        self._network = network
        self._clock = network.reactor
        self.credentials = credentials
        self._settings = settings
        self._state = state
        self.workers: Workers | None = None
        self.directory: Any = settings.directory
        if self.directory is None:
            self.directory = Directory(network.entropy, settings.limits)
        if settings.processes > 1:
            self.workers = Workers(self, network, settings.processes)
            self.directory = self.workers.makeDirectory(settings.limits)
        self.registrar = Registrar(
            self._clock,
            self.directory,
            Offering((), (), lambda handle: {}),
            settings.guards,
        )
        secret = self.workers.observerSecret if self.workers else network.entropy(32)
        observer = Observer(self.directory.presenceOf, secret, self.sighted)
        self.datagrams = Datagrams(self._clock, observer)
        make: Any = EntranceFactory
        if self.workers is not None:
            make = partial(PassingFactory, self.workers.passing)
        self._entrance: EntranceFactory = make(
            self._clock, credentials, self.registrar, self.datagrams.streams
        )
        self._doors = Doors(network, self.datagrams, self._entrance, self.workers)
        self.traffic = Traffic()
        if self.workers is not None:
            self.traffic.elsewhere = self.workers.living
        self._relayPorts: RelayPorts | None = None
        self._relayLog = RelayLog(self.directory)
        self._drain = Drain(self._clock, settings.drain, self._busy)
        self._relaySecret: bytes = network.entropy(32)

    @property
    def counters(self) -> Counter[str]:
        """
        What was done, dropped and refused, by part and name.
        """
        found: Counter[str] = self.workers.counters if self.workers else Counter()
        parts: dict[str, Any] = {
            "tcp": self._entrance,
            "signaling": self.registrar,
            "directory": self.directory,
            "udp": self.datagrams,
            "stream": self.datagrams.streams,
            "binding": self.datagrams.binding,
            "relay": self.relay,
        }
        for part, each in parts.items():
            for name, count in each.counters.items() if each is not None else ():
                found[f"{part}: {name}"] += count
        return found

    @property
    def certificateExpires(self) -> float | None:
        """
        When the certificate of an authority does, in seconds since 1970; L{None}
        without one.
        """
        return self.credentials.expires

    @property
    def connections(self) -> int:
        """
        How many TCP connections are open.
        """
        return len(self._entrance.connections)

    @property
    def portCounters(self) -> Counter[str]:
        """
        What went wrong on UDP ports, by name.
        """
        found = self.datagrams.portCounters()
        if self._relayPorts is not None:
            found.update(self._relayPorts.counters)
        if self.workers is not None:
            found.update(self.workers.portCounters)
        return found

    # --- the service

    def privilegedStartService(self) -> None:
        """
        Listen, while the ports below 1024 may be had.

        @raise PunchError: a port is taken, or there is no public address.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """
        Listen, unless that has been done.
        """
        if self.url is None:
            self._listen()
        super().startService()
        if self.workers is None:
            self._ready()
        else:
            self.workers.start().addCallback(self._ready)

    def _ready(self, _: object = None) -> None:
        if self._state is not None:
            self._state.write("url", f"{self.url}\n".encode("ascii"))
        if self.credentials.expires is not None:
            until = datetime.fromtimestamp(self.credentials.expires, UTC)
            self.log.info("the certificate is good until {until}", until=str(until))
        self.log.info("ready: {url}", url=str(self.url), event="ready")

    def stopService(self) -> Deferred[None]:
        """
        Take nothing new, say goodbye, let clients move elsewhere while what is
        relayed goes on for a while, and close everything.
        """
        super().stopService()
        self.url = None
        self.log.info(
            "stopping: {clients} clients are told, and {allocations} relayed addresses"
            " may go on for {seconds:g} s",
            clients=len(self.directory),
            allocations=self.traffic.count(self._living()),
            seconds=self._settings.drain,
            event="stopping",
        )
        if self._relayPorts is not None:
            self._relayPorts.full = True
        if self.workers is not None:
            self.workers.drain()
        self.registrar.drain(self._settings.drain)
        leaving = [self._doors.closeStreams(), self._drain.wait()]
        return DeferredList(leaving).addCallback(lambda _: self._close())

    def hurry(self) -> None:
        """
        Whoever stops us has no patience.
        """
        self._drain.finish()

    def _busy(self) -> bool:
        """
        @return: whether anything is relayed for somebody who is here.
        """
        presences = self.directory.presenceOf
        names = {each.username for each in self._living()}
        for name in names.union(self.workers.usernames() if self.workers else ()):
            presence = presences(handleOf(name))
            if presence is None or presence.connection is not None:
                return True
        return False

    def _living(self) -> Sequence[Any]:
        """
        @return: the allocations of this process.
        """
        return () if self.relay is None else list(self.relay.allocations())

    def _close(self) -> Deferred[None]:
        closing = [self.registrar.stop(CLOSING)]
        if self.workers is not None:
            closing.append(self.workers.stop())

        def closed(_: object) -> Deferred[Any]:
            self.datagrams.stopRelay()
            if self._relayPorts is not None:
                self._relayPorts.closeAll()
            self._entrance.abortAll()
            return self._doors.close()

        stopping: Deferred[Any] = DeferredList(closing)
        return stopping.addCallback(closed).addCallback(lambda _: None)

    # --- the beginning

    def _listen(self) -> None:
        self.registrar.draining = False
        settings = self._settings
        hosts = settings.check([host for host, _ in self._network.localHosts()])
        self._doors.open(settings.places, settings.alternatePort, hosts)
        places = self._doors.places
        udp = [
            (host, place.port)
            for host in hosts
            for place in places
            if place.udp and place.covers(host)
        ]
        everywhere = [
            port
            for port in dict.fromkeys(port for _, port in udp)
            if all((host, port) in udp for host in hosts)
        ]
        self.datagrams.binding = BindingServer(hosts, everywhere, limit=PrefixLimit())
        if self.workers is not None:
            self.workers.prepare(settings, self._relaySecret, hosts, everywhere)
        first = firsts(udp)
        # Another host tells more about a NAT than another port does.
        others = sorted(
            (each for each in udp if each not in first),
            key=lambda each: (each[0] in [host for host, _ in first], udp.index(each)),
        )
        if settings.relay:
            self._startRelay(first, hosts)
        self.registrar.offering = Offering(
            [(hosts[host], port) for host, port in first],
            [(hosts[host], port) for host, port in others],
            self._relayFor,
            self._network.wallClock,
        )
        self.url = self._urlFor(hosts, places)

    def _urlFor(self, hosts: Mapping[str, str], places: Sequence[Place]) -> Any:
        reached = [
            (host, [place.port for place in places if place.tcp and place.covers(host)])
            for host in hosts
        ]
        local, ports = next(
            (each for each in sorted(reached, key=lambda e: ":" in e[0]) if each[1]),
            ("", []),
        )
        if not ports:
            raise InvalidOption(
                "--listen: nothing listens for TCP on the addresses that are told "
                "to clients."
            )
        named = self.credentials.hostName
        return RendezvousURL(
            named or hosts[local],
            tuple(dict.fromkeys(ports)),
            None if named else self.credentials.fingerprint,
        )

    # --- the relay

    def _startRelay(self, first: Sequence[Address], hosts: Mapping[str, str]) -> None:
        network = self._network
        low, high = self._settings.relayPorts
        receiver = receiverFor(hosts) if self.workers else RelayReceiver()
        ports = self._relayPorts = RelayPorts(
            network, receiver, {family(each): each[0] for each in first}, low, high
        )
        if self.workers is not None:
            self.workers.relayHosts = {family(each): each[0] for each in first}
        registered = RegisteredUsers(
            self._relaySecret, network.wallClock, self.directory, self._clock
        )
        make = RunServer if self.workers is None else self.workers.makeServer
        self.relay = make(
            realm=self._settings.realm,
            guards=[registered, *self._settings.guards],
            ports=ports,
            entropy=network.entropy,
            external=hosts,
            ownHosts=[host for host, _ in network.localHosts()],
            whole=network.sendsWhole,
            limits=self._settings.relayLimits,
            forbidden=self._settings.peers,
        )
        driver = Driver(self.relay, self.datagrams.send, self.relayed, self._clock)
        receiver.driver = driver
        receiver.carrierOf = self.datagrams.carrierOf
        self.datagrams.setRelay(self.relay, driver, ports.ports)

    def _relayFor(self, handle: str) -> dict[str, Any]:
        if self.relay is None:
            return dict.fromkeys(
                (
                    "realm",
                    "relayUsername",
                    "relayPassword",
                    "relayNonce",
                    "relayExpires",
                )
            )
        username, password = makeCredentials(
            self._relaySecret, handle, self._network.wallClock() + CREDENTIALS
        )
        return {
            "realm": self._settings.realm,
            "relayUsername": username,
            "relayPassword": password,
            "relayNonce": self.relay.nonceFor(username, self._clock.seconds()),
            "relayExpires": CREDENTIALS,
        }

    def relayed(self, event: object) -> None:
        """
        Something has happened to the relay, here or in another process.
        """
        if isinstance(event, SendWhole):
            assert self._relayPorts is not None
            self._relayPorts.sendWhole(event.datagram)
        elif isinstance(event, AllocationOpened):
            self.traffic.allocationOpened(event)
            self._relayLog.opened(event)
        elif isinstance(event, AllocationClosed):
            self.traffic.allocationClosed(event)
            self._drain.look()
            self._relayLog.closed(event)

    def sighted(self, presence: Presence, address: Address) -> None:
        """
        A client was observed at an address that is new.
        """
        self.log.info(
            "{peer} is seen at {address}",
            peer=presence.peer,
            address=textOf(address),
            event="observed",
        )
