"""
The sockets on which the NAT is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from zope.interface import implementer

from punchd.core import Address, Core, Datagram
from punchd.interfaces import IDatagramPort, IDatagramReceiver, INetwork
from punchd.net.driver import Driver
from punchd.net.punching import PunchingSocket
from punchd.stun.address import family

_T = TypeVar("_T")

#: Is told of what happens meanwhile.
Progress = Callable[[object], None]


class Starting(Core, Protocol):
    """
    A core object that begins when it is told to.
    """

    def start(self, now: float) -> None:
        """
        Begin.
        """


def _ignore(event: object) -> None:
    pass


@implementer(IDatagramReceiver)
class Sockets:
    """
    I am spare sockets, and run a core object on them.
    """

    def __init__(
        self, network: INetwork, kind: int, punching: PunchingSocket | None = None
    ) -> None:
        """
        @param kind: the address family, 4 or 6.
        @param punching: what L{borrow} gives.
        """
        self._network = network
        self._kind = kind
        self._punching = punching
        self._borrowed: Address | None = None
        self._routes: set[Address] = set()
        self._ports: dict[int, IDatagramPort] = {}
        self._driver: Driver | None = None
        self._waiting: Deferred[Any] | None = None

    def open(self, count: int) -> list[Address]:
        """
        Open sockets, of odd and even ports in turn if chance allows.

        @return: their addresses; fewer when there are none to be had.
        """
        found: list[Address] = []
        for attempt in range(3 * count):
            if len(found) == count:
                break
            with suppress(CannotListenError):
                port = self._network.listenDatagram(self, self._kind, "", 0)
                address: Address = port.getHost()
                if address[1] % 2 != len(found) % 2 and attempt < 2 * count:
                    port.close()
                    continue
                self._ports[address[1]] = port
                found.append(address)
        return found

    def borrow(self) -> list[Address]:
        """
        Use the punching socket, too, if there is one: what it sends leaves by its
        mapping, and what comes back from there is for me, too.

        @return: its address.
        """
        bases = [] if self._punching is None else self._punching.bases()
        here = [base for base in bases if family(base) == self._kind]
        self._borrowed = next(iter(here), None)
        return here[:1]

    def _route(self, remote: Address) -> None:
        if self._punching is not None and remote not in self._routes:
            self._routes.add(remote)
            self._punching.demux.register(remote, self)

    def close(self, address: Address) -> None:
        """
        Close one socket.
        """
        port = self._ports.pop(address[1], None)
        if port is not None:
            port.close()

    def closeAll(self) -> None:
        """
        Close them all; what runs on them is cancelled.
        """
        waiting, self._waiting = self._waiting, None
        if self._driver is not None:
            self._driver.stop()
            self._driver = None
        for address in list(self._ports):
            self._ports.pop(address).close()
        self._borrowed = None
        if self._punching is not None:
            for remote in self._routes:
                self._punching.demux.unregister(remote, self)
        self._routes.clear()
        if waiting is not None:
            waiting.cancel()

    def run(self, core: Starting, until: type[_T], progress: Progress) -> Deferred[_T]:
        """
        Run a core object that has a command C{start}.

        @return: fires with its event of the type C{until}.
        """
        waiting: Deferred[_T] = Deferred(lambda _: self._stop())
        self._waiting = waiting

        def told(event: object) -> None:
            if isinstance(event, until):
                self._stop()
                if self._waiting is waiting:
                    self._waiting = None
                    waiting.callback(event)
            else:
                progress(event)

        self._driver = Driver(core, self._send, told, self._network.reactor)
        self._driver.call(core.start)
        return waiting

    def command(self, function: Callable[..., Any], *arguments: Any) -> None:
        """
        Call a command of the core object that runs.
        """
        if self._driver is not None:
            self._driver.call(function, *arguments)

    def _stop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.stop()

    def _send(self, datagrams: Sequence[Datagram]) -> None:
        for each in datagrams:
            # The bound host is the wildcard: the kernel chooses.
            bare = replace(each, local=None)
            port = None if each.local is None else self._ports.get(each.local[1])
            if port is not None:
                port.send(bare)
            elif each.local is not None and each.local == self._borrowed:
                assert self._punching is not None
                self._route(each.remote)
                # Some NATs do not hide an inside source from the inside.
                for number in self._ports:
                    self._route((each.local[0], number))
                self._punching.send([bare])

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Something came to one of the sockets.
        """
        if self._driver is not None:
            self._driver.datagramReceived(data, local, remote)
