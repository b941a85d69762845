"""
Being seen: the rendezvous notes where the packets of the punching socket come
from, and lends a relay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import IRunReceiver
from punchd.nat.behavior import Filtering
from punchd.net.demux import isSession
from punchd.net.driver import Driver
from punchd.net.runs import RunReceiver
from punchd.net.ttl import OpenerTtl
from punchd.net.udp import Run
from punchd.session.context import Context
from punchd.signaling.observation import MappedAddress, MappingChanged, Observed
from punchd.stun.message import isMessage

from .registration import Registration
from .relaying import Relaying
from .surveyor import Surveyor

#: The rendezvous forgets an address after 120 s: the most between two questions.
OBSERVED = 90.0

_BINDING = (b"\x00\x01", b"\x01\x01", b"\x01\x11")


@implementer(IRunReceiver)
class Presence(RunReceiver):
    """
    I keep the rendezvous informed of our addresses, and the sessions of what
    it says about them.

    @ivar mapping: our NAT's mapping behaviour in RFC 4787's words, as far as
        two addresses of the rendezvous can tell.
    @ivar relaying: the relay.
    @ivar surveyor: finds out more about our NAT.
    @ivar openerTtl: finds out which packets open our NAT only.
    @ivar onSeen: called with each host at which the rendezvous sees us.
    """

    log = Logger()

    def __init__(self, context: Context) -> None:
        self.context = context
        self.mapping: str | None = None
        self._drivers: list[Driver] = []
        self._servers: set[Address] = set()
        self._seen: dict[Address, Address] = {}
        self.relaying = Relaying(context)
        self.relaying.heardAt = self._heardAt
        self._surveyed: tuple[Address, Address | None] | None = None
        self._observedHost = ""
        self.onSeen: Callable[[str], object] = lambda host: None
        self.surveyor = Surveyor(context.socket, lambda: context.mode != "relay")
        context.surveyed = self.surveyor.model
        context.doors = self._doors
        self.openerTtl = OpenerTtl(context.socket.network, self._ttlMeasured)

    def registered(self, registration: Registration) -> None:
        """
        A rendezvous knows us; what an earlier one said counts no more.
        """
        self._forget()
        context = self.context
        socket = context.socket
        context.servers = [*registration.stun[:1], *registration.alternate[:1]]
        for family in socket.families():
            servers = [a for a in registration.stun if _family(a) == family]
            others = [a for a in registration.alternate if _family(a) == family]
            if not servers:
                continue
            observed = Observed(
                [*servers[:1], *others[:1]],
                registration.handle,
                registration.key,
                context.entropy,
                keepalive=min(context.keepalive, OBSERVED),
            )
            driver = Driver(observed, socket.send, self._observed, context.clock)
            self._drivers.append(driver)
            for server in (*servers, *others):
                self._servers.add(server)
                socket.demux.register(server, self)
            driver.wake()
            if self._surveyed is None:
                self._surveyed = (servers[0], next(iter(others), None))
        self._observedHost = registration.observedHost
        reached = registration.reached
        context.proxied = reached is not None and reached.proxied
        seen = self._observedHost
        context.publicHost = None if context.proxied or ":" in seen else seen or None
        if context.publicHost is not None and not context.gathering.mapped:
            # What is known of this network may spare us to find it out.
            self.onSeen(context.publicHost)
        self.relaying.registered(registration)
        self._measureTtl()
        if self._surveyed is not None:
            self.surveyor.soon(*self._surveyed)

    def _doors(self) -> list[Address]:
        """
        @return: where everybody gets in over IPv4: by a NAT that filters nobody, or
            by a port that a router opened for us.
        """
        gathering, found = self.context.gathering, []
        mapped, known = gathering.mapped.get(4), self.surveyor.knowledge
        if mapped is not None and known is not None and self.surveyor.model(mapped):
            if known.behavior.filtering is Filtering.ENDPOINT_INDEPENDENT:
                found.append(mapped)
        opened = [each for each in gathering.opened if ":" not in each[0]]
        return found + [each for each in opened if each not in found]

    def _heardAt(self) -> float | None:
        """
        @return: when the rendezvous has answered us over UDP last.
        """
        known: list[Observed] = [each.core for each in self._drivers]  # type: ignore[misc]
        return max((each.heardAt for each in known if each.heardAt), default=None)

    def setKeepalive(self, seconds: float) -> None:
        """
        Have the rendezvous see us every so many seconds, or more often.
        """
        for driver in self._drivers:
            observed = driver.core
            assert isinstance(observed, Observed)
            driver.call(observed.setKeepalive, min(seconds, OBSERVED))

    def _measureTtl(self, *, again: bool = False) -> None:
        """
        Over IPv4, if we have that: early packets matter more there, since NATs may
        have them take a port.
        """
        context = self.context
        here = {_family(base) for base in context.gathering.hosts()}
        known = [each for each in self._servers if _family(each) in here]
        servers = sorted(known, key=lambda each: (_family(each), each))
        if servers and context.mode != "relay":
            mapped = [host for host, _ in context.gathering.mapped.values()]
            self.openerTtl.measure(
                servers[0], [self._observedHost, *mapped], again=again
            )

    def _ttlMeasured(self, ttl: int | None) -> None:
        self.context.openerTtl = ttl

    def _observed(self, event: object) -> None:
        if isinstance(event, MappedAddress):
            self._seen[event.server] = event.mapped
            if event.rtt is not None:
                self.context.rtt = event.rtt
            self.relaying.heard(event.rtt)
            self.context.gathering.mappedLearned(event.mapped)
            self._classify()
            if self._surveyed is not None and event.server == self._surveyed[0]:
                self.onSeen(event.mapped[0])
        elif isinstance(event, MappingChanged) and self._surveyed is not None:
            if event.mapped[0] == event.before[0]:
                if event.silence is not None:
                    self.context.mappingMoved(event.silence)
            else:
                # Another public address: another network, most likely.
                self.surveyor.soon(*self._surveyed, again=True)
                self._measureTtl(again=True)

    def _classify(self) -> None:
        before, self.mapping = self.mapping, self._found() or self.mapping
        if self.mapping != before:
            self.log.info(
                "Our NAT's mapping is {mapping}", mapping=self.mapping, event="mapping"
            )

    def _found(self) -> str | None:
        for family in (4, 6):
            mapped = {m for s, m in self._seen.items() if _family(s) == family}
            count = sum(_family(s) == family for s in self._seen)
            if count >= 2 and len(mapped) == 1:
                return "endpoint-independent"
            if len(mapped) > 1:
                return "address-dependent"
        return None

    def networkChanged(self) -> None:
        """
        Find out where the rendezvous sees us now, and whether our relayed address
        is still ours.
        """
        for driver in self._drivers:
            observed = driver.core
            assert isinstance(observed, Observed)
            driver.call(observed.refresh)
        self.relaying.networkChanged()
        if self._surveyed is not None:
            self.surveyor.soon(*self._surveyed, again=True)
            self._measureTtl(again=True)

    # --- IRunReceiver

    def runsReceived(self, runs: Sequence[Run]) -> None:
        """
        The rendezvous sent several; what it relays goes on as one batch.
        """
        relayed: list[Run] = []
        for payloads, local, remote in runs:
            if isSession(payloads):
                relayed.append((payloads, local, remote))
                continue
            for data in payloads:
                if data[:2] in _BINDING and isMessage(data):
                    for driver in self._drivers:
                        driver.datagramReceived(data, local, remote)
                else:
                    relayed.append(([data], local, remote))
        if relayed:
            self.relaying.received(relayed)

    def _forget(self) -> None:
        self.relaying.forget()
        for driver in self._drivers:
            driver.stop()
        self._drivers = []
        for server in self._servers:
            self.context.socket.demux.unregister(server, self)
        self._servers = set()
        self._seen = {}
        self._surveyed = None
        self.surveyor.stop()
        self.openerTtl.stop()

    def stop(self) -> None:
        """
        Give the relay back.
        """
        self._forget()
        self.relaying.stop()


def _family(address: Address) -> int:
    return 6 if ":" in address[0] else 4
