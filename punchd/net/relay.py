"""
The relay that a client uses: one allocation on one TURN server, shared by all
its sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from punchd.core import Address, Datagram, Entropy
from punchd.errors import RelayRefused
from punchd.stun.address import isForbiddenPeer
from punchd.turn.client import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    Client,
    PermissionFailed,
    RelayedDatagram,
)

from .driver import Driver
from .punching import PunchingSocket
from .udp import Received, Run


@dataclass(frozen=True, slots=True)
class RelayCredentials:
    """
    What the rendezvous hands to a registered client (RFC 8656, section 5).

    @ivar nonce: a nonce that is good for the first request, so that it costs
        one round trip only.
    """

    username: str
    password: str
    realm: str
    nonce: bytes | None


class Relay:
    """
    I allocate when somebody needs it, and keep the allocation.

    @ivar relayed: the relayed transport address, while there is one.
    @ivar onChanged: called when L{relayed} has changed.
    """

    log = Logger()

    def __init__(
        self,
        socket: PunchingSocket,
        server: Address,
        clock: IReactorTime,
        entropy: Entropy,
        onChanged: Callable[[], None],
    ) -> None:
        self.server = server
        self.relayed: Address | None = None
        self.onChanged = onChanged
        self.credentials: RelayCredentials | None = None
        self._socket = socket
        self._clock = clock
        self._entropy = entropy
        self._driver: Driver | None = None
        self._client: Client | None = None
        self._permitted: dict[object, set[str]] = {}
        self._wanted: set[str] = set()
        self._waiting: list[Deferred[Address]] = []
        # What came for others in the batch that is being read.
        self._arrived: list[Run] = []
        self.rtt: float | None = None

    def whenAllocated(self) -> Deferred[Address]:
        """
        Allocate if need be.

        @return: fires with the relayed address, or fails with
            L{RelayRefused}.
        """
        waiting: Deferred[Address] = Deferred(self._forgetWaiter)
        if self.relayed is not None:
            waiting.callback(self.relayed)
            return waiting
        credentials = self.credentials
        if credentials is None:
            waiting.errback(RelayRefused("The rendezvous offers no relay."))
            return waiting
        self._waiting.append(waiting)
        if self._client is None:
            client = self._client = Client(self.server, entropy=self._entropy)
            if self.rtt is not None:
                client.rtt = self.rtt
            self._driver = Driver(
                client, self._socket.send, self._happened, self._clock
            )
            self._driver.call(
                client.allocate,
                credentials.username,
                credentials.password,
                credentials.realm,
                credentials.nonce,
            )
            self._permit()
        return waiting

    def _forgetWaiter(self, waiting: Deferred[Address]) -> None:
        self._waiting.remove(waiting)

    @property
    def wanted(self) -> bool:
        """
        Whether anybody uses it.
        """
        return bool(self._permitted)

    def check(self) -> None:
        """
        Find out whether the allocation still lives, and get one if there is
        none.
        """
        if self.relayed is None:
            self.whenAllocated().addErrback(lambda _: None)
        elif self._client is not None and self._driver is not None:
            self._driver.call(self._client.refresh)

    def permit(self, user: object, hosts: Iterable[str]) -> None:
        """
        Let packets from these hosts in (RFC 8656, section 9), now and after
        each new allocation, until L{forget}.

        @param user: whose peer they belong to.
        """
        # No relay serves private networks; asking would only cost packets.
        wanted = {host for host in hosts if not isForbiddenPeer(host)}
        known = self._permitted.setdefault(user, set())
        if not wanted <= known:
            known |= wanted
            self._wanted |= wanted
            self._permit()

    def forget(self, user: object) -> None:
        """
        C{user} is no more: what only it wanted is not refreshed any longer.
        """
        self._permitted.pop(user, None)
        before, self._wanted = self._wanted, set().union(*self._permitted.values())
        gone = before - self._wanted
        if gone and self._client is not None and self._driver is not None:
            self._client.forget(sorted(gone))
            self._driver.wake()

    def _permit(self) -> None:
        if self._client is not None and self._driver is not None and self._wanted:
            self._driver.call(self._client.permit, sorted(self._wanted))

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Something came from the server.
        """
        self.datagramsReceived([(data, local, remote)])

    def datagramsReceived(self, datagrams: Sequence[Received]) -> None:
        """
        Several datagrams came from the server; what they carry is passed on
        together.
        """
        if self._driver is None:
            return
        self._driver.datagramsReceived(datagrams)
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._socket.demux.runsReceived(arrived)

    def _send(self, datagrams: Sequence[Datagram]) -> None:
        client, driver = self._client, self._driver
        if client is None or driver is None:
            return
        now = driver.now()
        wanted = self._wanted
        for datagram in datagrams:
            if datagram.remote[0] not in wanted:
                continue
            client.send(datagram.data, datagram.remote, now)
        driver.wake()

    def _happened(self, event: object) -> None:
        if isinstance(event, RelayedDatagram):
            self._carried(event)
        elif isinstance(event, Allocated):
            self.relayed = event.relayed
            self._socket.addRelay(event.relayed, self._send)
            self.log.info(
                "Relayed address {host}:{port}",
                host=event.relayed[0],
                port=event.relayed[1],
            )
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(event.relayed)
            self.onChanged()
        elif isinstance(event, AllocationFailed):
            self._forget()
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.errback(RelayRefused(event.reason, event.code))
        elif isinstance(event, AllocationLost):
            self.log.info("The relay allocation was lost: {why}", why=event.reason)
            self._forget()
            self.onChanged()
            if self._permitted:
                self.whenAllocated().addErrback(lambda _: None)
        elif isinstance(event, PermissionFailed):
            self.log.debug(
                "The relay does not let {host} in ({code})",
                host=event.host,
                code=event.code,
            )

    def _carried(self, event: RelayedDatagram) -> None:
        if self.relayed is None:
            return
        arrived = self._arrived
        if arrived and arrived[-1][2] == event.peer:
            arrived[-1][0].append(event.data)
        else:
            arrived.append(([event.data], self.relayed, event.peer))

    def _forget(self) -> None:
        driver, self._driver = self._driver, None
        self._client = None
        if driver is not None:
            driver.stop()
        if self.relayed is not None:
            self._socket.removeRelay(self.relayed)
            self.relayed = None

    def release(self) -> None:
        """
        Give the allocation back.
        """
        if self._client is not None and self._driver is not None:
            self._driver.call(self._client.release)
        had = self.relayed is not None
        self._forget()
        if had:
            self.onChanged()
        self._permitted.clear()
        self._wanted.clear()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(RelayRefused("The client stops."))
