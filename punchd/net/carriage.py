"""
Datagrams to and from a relayed address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from punchd.core import Address, Burst, Datagram
from punchd.turn.client import AllocationLost, PermissionFailed, RelayedDatagram
from punchd.turn.runclient import RelayedRun

from .attempt import Attempt
from .punching import PunchingSocket
from .udp import Run
from .wishes import Wishes

#: Seconds for which an address is offered once there is a better one: the peers have
#: to be told, and paths have to be proven.  What peers send there passes for as long
#: again, until they have noticed.
HANDOVER: Final = 5.0


class Carriage:
    """
    I carry what a relayed address of ours sends and receives, as long as the
    allocation lasts.

    @ivar attempt: the allocation.
    @ivar relayed: the address.
    """

    log = Logger()

    def __init__(
        self,
        attempt: Attempt,
        relayed: Address,
        socket: PunchingSocket,
        wishes: Wishes,
    ) -> None:
        """
        @param wishes: whom to let in; nothing is sent to others.
        """
        self.attempt = attempt
        self.relayed = relayed
        self._socket = socket
        self._wishes = wishes
        # What came for others in the batch that is being read.
        self._arrived: list[Run] = []
        socket.addRelay(relayed, self.send, attempt.way.transport)
        self.permit()

    @property
    def lives(self) -> bool:
        """
        Whether the address is there, as far as is known.
        """
        core = self.attempt.core
        return core is None or not core.refreshing

    def permit(self) -> None:
        """
        Let in whoever is wanted (RFC 8656, section 9).
        """
        attempt = self.attempt
        hosts = sorted(self._wishes.hosts)
        if hosts and attempt.core is not None and attempt.driver is not None:
            attempt.driver.call(attempt.core.permit, hosts)

    def forget(self, hosts: Iterable[str]) -> None:
        """
        Nobody wants these any more.
        """
        attempt = self.attempt
        if attempt.core is not None and attempt.driver is not None:
            attempt.core.forget(sorted(hosts))
            attempt.driver.wake()

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        Send from the relayed address.
        """
        attempt = self.attempt
        if attempt.core is None or attempt.driver is None:
            return
        client, now = attempt.core, attempt.driver.now()
        wanted = self._wishes.hosts
        if isinstance(datagrams, Burst):
            if datagrams.remote[0] in wanted:
                client.sendRun(datagrams.payloads, datagrams.remote, now)
        else:
            for each in datagrams:
                if each.remote[0] in wanted:
                    client.send(each.data, each.remote, now)
        attempt.driver.wake()

    def happened(self, event: object) -> None:
        """
        The allocation has an event; what came is passed on by L{flush}.
        """
        if isinstance(event, RelayedRun):
            self._came(event.payloads, event.peer)
        elif isinstance(event, RelayedDatagram):
            self._came([event.data], event.peer)
        elif isinstance(event, PermissionFailed):
            self.log.debug(
                "The relay does not let {host} in ({code})",
                host=event.host,
                code=event.code,
            )

    def _came(self, payloads: list[bytes], peer: Address) -> None:
        arrived = self._arrived
        if arrived and arrived[-1][2] == peer:
            arrived[-1][0].extend(payloads)
        else:
            arrived.append((payloads, self.relayed, peer))

    def flush(self) -> None:
        """
        Pass on together what came together.
        """
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._socket.demux.runsReceived(arrived)

    def end(self) -> None:
        """
        The address is ours no more.
        """
        self._arrived = []
        self._socket.removeRelay(self.relayed)


class Former:
    """
    I keep the relayed address before the present one for a while.

    @ivar carriage: what carries its datagrams, while there is one.
    @ivar onLeft: called with an address when it is not to be used any more.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.carriage: Carriage | None = None
        self.onLeft: Callable[[Address], object] = lambda relayed: None
        self._clock = clock
        self._leaving: IDelayedCall | None = None

    def keep(self, carriage: Carriage) -> None:
        """
        There is a better one than this now.
        """
        self.leave()
        self.carriage = carriage
        self._leaving = self._clock.callLater(HANDOVER, self._withdraw)

    def _withdraw(self) -> None:
        """
        Send nothing from there any more; what is sent there passes on.
        """
        self._leaving = self._clock.callLater(HANDOVER, self.leave)
        if self.carriage is not None:
            self.onLeft(self.carriage.relayed)

    def happened(self, attempt: Attempt, event: object) -> bool:
        """
        @return: whether the event of this attempt was mine.
        """
        if self.carriage is None or self.carriage.attempt is not attempt:
            return False
        if isinstance(event, AllocationLost):
            self.leave()
        else:
            self.carriage.happened(event)
        return True

    def leave(self) -> None:
        """
        Give it back.
        """
        leaving, self._leaving = self._leaving, None
        if leaving is not None and leaving.active():
            leaving.cancel()
        carriage, self.carriage = self.carriage, None
        if carriage is not None:
            self.onLeft(carriage.relayed)
            carriage.end()
            carriage.attempt.abandon()
