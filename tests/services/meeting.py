"""
A rendezvous and clients' links in a simulated network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.identity import Identity
from punchd.interfaces import IDatagramReceiver
from punchd.net.driver import Driver
from punchd.net.tls import ServerCredentials
from punchd.services.link import RendezvousLink
from punchd.services.rendezvous import Rendezvous, Settings
from punchd.signaling.url import RendezvousURL
from punchd.testing.host import Host
from punchd.testing.link import Link
from punchd.testing.network import Network
from punchd.testing.scenario import Scenario, makeHost

#: Keys are slow to make, and which ones they are matters to no test.
IDENTITIES = [Identity.create() for _ in range(5)]


class Client:
    """
    A link that writes down what it hears.

    @ivar events: tuples, the name of the callback first.
    @ivar answer: what an incoming dial is answered with.
    """

    def __init__(
        self,
        meeting: Meeting,
        name: str,
        identity: Identity,
        url: RendezvousURL,
        **options: Any,
    ) -> None:
        self.host = meeting.network.hosts[name]
        self.identity = identity
        self.peerId = identity.peerId
        self.events: list[tuple[Any, ...]] = []
        self.answer: Any = (b"the answer", [b"back"])
        self.link = RendezvousLink(
            self.host,
            url,
            identity,
            onIncoming=self.incoming,
            **{
                name: options.pop(name, self._note(name))
                for name in (
                    "onTrickle",
                    "onEnded",
                    "onPeerGone",
                    "onPeerReturned",
                    "onRegistered",
                    "onDisconnected",
                    "onReplaced",
                    "onGaveUp",
                )
            },
            **options,
        )
        meeting.services.append(self.link)

    def _note(self, name: str) -> Any:
        return lambda *arguments: self.events.append((name, *arguments))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """
        @return: the arguments of each call of one callback.
        """
        return [event[1:] for event in self.events if event[0] == name]

    def incoming(
        self,
        dialler: str,
        dialId: str,
        offer: bytes,
        flight: Sequence[bytes],
        observed: Sequence[Address],
    ) -> Deferred[Any]:
        """
        Answer as told.
        """
        self.events.append(("onIncoming", dialler, dialId, offer, flight, observed))
        if isinstance(self.answer, Deferred):
            return self.answer
        if isinstance(self.answer, Exception):
            raise self.answer
        return succeed(self.answer)


@implementer(IDatagramReceiver)
class Socket:
    """
    A UDP socket that keeps what comes.

    @ivar received: (data, local, remote), oldest first.
    """

    def __init__(self, host: Host, port: int = 0) -> None:
        self.received: list[tuple[bytes, Address, Address]] = []
        self.host = host
        self.port = host.listenDatagram(self, 4, "", port)

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Keep it.
        """
        self.received.append((data, local, remote))

    def send(self, data: bytes, remote: Address) -> None:
        """
        Send it.
        """
        self.port.send(Datagram(data, None, remote))

    def drive(self, core: Any) -> list[Any]:
        """
        Have a core use this socket.

        @return: its events, as they come.
        """
        events: list[Any] = []
        driver = Driver(core, self.port.sendMany, events.append, self.host.reactor)
        self.datagramReceived = driver.datagramReceived  # type: ignore[method-assign]
        self.driver = driver
        driver.wake()
        return events


class Meeting:
    """
    A rendezvous host with two public addresses, and hosts for clients.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        seed: int = 1,
        scenario: Scenario | None = None,
    ) -> None:
        """
        @param scenario: where to take the rendezvous host from.
        """
        if scenario is None:
            self.network = Network(seed, Link(0.025))
            self.host = self.network.addHost(
                "rendezvous", "203.0.113.10", "203.0.113.11"
            )
        else:
            self.network = scenario.network
            self.host = scenario.rendezvous
        self.credentials = ServerCredentials(IDENTITIES[0])
        self.services: list[Any] = []
        self.drivers: list[Driver] = []
        self.rendezvous = self.startRendezvous(settings)

    def startRendezvous(
        self,
        settings: Settings | None = None,
        credentials: ServerCredentials | None = None,
    ) -> Rendezvous:
        """
        @return: a rendezvous that listens.
        """
        rendezvous = Rendezvous(
            self.host, credentials or self.credentials, settings or Settings()
        )
        rendezvous.startService()
        self.services.append(rendezvous)
        return rendezvous

    @property
    def url(self) -> RendezvousURL:
        """
        Where the rendezvous is.
        """
        assert self.rendezvous.url is not None
        return self.rendezvous.url

    def addClient(
        self,
        number: int,
        url: RendezvousURL | None = None,
        address: str = "",
        kind: str = "",
        **options: Any,
    ) -> Client:
        """
        @param kind: the NAT that the client is behind, if it is.
        @param options: arguments of the link.

        @return: a client on a host of its own, whose link was started.
        """
        count = len(self.network.hosts)
        name = f"client{number}.{count}"
        if kind:
            makeHost(self.network, kind, name)
        else:
            self.network.addHost(name, address or f"198.51.100.{count}")
        client = Client(self, name, IDENTITIES[number], url or self.url, **options)
        client.link.startService()
        return client

    def join(self, *numbers: int) -> list[Client]:
        """
        @return: clients that have registered.
        """
        clients = [self.addClient(number) for number in numbers]
        for client in clients:
            self.network.runUntil(client.link.whenRegistered())
        return clients

    def attempts(self, client: Client, seconds: float) -> int:
        """
        @return: how often a client tries to connect in that time.
        """
        capture = self.network.capture(matches=lambda r: r.protocol == "tcp")
        self.network.advance(seconds)
        records = capture.stop()
        return len({r.source for r in records if r.where == client.host.name})

    def kill(self, service: Any, host: Any) -> None:
        """
        Have a program end without a word.
        """
        self.network.kill(host)
        self.services.remove(service)

    def stop(self) -> None:
        """
        Stop everything, and see that nothing is left.
        """
        for driver in self.drivers:
            driver.stop()
        for service in reversed(self.services):
            if service.running:
                self.network.runUntil(service.stopService())
        self.network.advance(1)
        for host in self.network.hosts.values():
            left = host.reactor.getDelayedCalls()
            assert not left, f"{host.name} has {left}"
