"""
Getting to know the NAT: the discovery and the samples for the port model, on
spare sockets, so that the punching socket's mapping and filter are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from zope.interface import implementer

from punchd.core import Address, Core, Datagram
from punchd.interfaces import IDatagramPort, IDatagramReceiver, INetwork
from punchd.nat.allocation import Allocation, PortModel, fit
from punchd.nat.behavior import Mapping, NatBehavior
from punchd.nat.discovery import Discovery
from punchd.nat.keepalive import Lifetime
from punchd.nat.lifetime import (
    LifetimeEnded,
    LifetimeSearch,
    SocketDone,
    SocketsWanted,
)
from punchd.nat.sample import Sample
from punchd.nat.sampling import Sampled, Sampler
from punchd.nat.steps import Discovered
from punchd.net.driver import Driver
from punchd.stun.address import family

#: Sockets for the discovery and for samples.
SOCKETS: Final = 3
SAMPLERS: Final = 4

#: Seconds between the flows of the second samples, which are there to see how
#: many flows others make.
SLOWLY: Final = 0.25

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


@dataclass(frozen=True)
class Knowledge:
    """
    What is known of the NAT.

    @ivar reachable: whether the rendezvous answers over UDP.
    @ivar rtt: seconds to it and back.
    @ivar alternate: its other address, if it has one.
    @ivar samples: what the model was made of.
    @ivar measuredAt: when, by the reactor's clock.
    """

    reachable: bool = False
    behavior: NatBehavior = field(default_factory=NatBehavior)
    model: PortModel = field(default_factory=PortModel)
    rtt: float | None = None
    alternate: Address | None = None
    samples: tuple[Sample, ...] = ()
    measuredAt: float = 0.0

    def toDict(self) -> dict[str, Any]:
        """
        @return: fields of C{nat} in C{punchd status --json}.
        """
        return {**self.behavior.toDict(), "allocation": self.allocation}

    @property
    def allocation(self) -> str:
        """
        The port model in a word or two.
        """
        model = self.model
        if model.kind is Allocation.SEQUENTIAL:
            return f"sequential {model.step:+d}"
        if model.kind is Allocation.BLOCK:
            return f"block {model.low}-{model.high}"
        if model.kind is Allocation.ENDPOINT_INDEPENDENT and model.preserving > 0.5:
            return Allocation.PRESERVING.value
        return model.kind.value


@implementer(IDatagramReceiver)
class Sockets:
    """
    I am spare sockets, and run a core object on them.
    """

    def __init__(self, network: INetwork, kind: int) -> None:
        """
        @param kind: the address family, 4 or 6.
        """
        self._network = network
        self._kind = kind
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
            port = None if each.local is None else self._ports.get(each.local[1])
            if port is not None:
                # The bound host is the wildcard: the kernel chooses.
                port.send(replace(each, local=None))

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Something came to one of the sockets.
        """
        if self._driver is not None:
            self._driver.datagramReceived(data, local, remote)


class Survey:
    """
    I measure, one thing at a time.

    @ivar running: whether I do so now.
    """

    def __init__(self, network: INetwork) -> None:
        self._network = network
        self.fit: Callable[[Sequence[Sample]], PortModel] = fit
        self._sockets: Sockets | None = None

    @property
    def running(self) -> bool:
        """
        Whether something is being measured.
        """
        return self._sockets is not None

    def stop(self) -> None:
        """
        Stop measuring; the Deferred of what was begun is cancelled.
        """
        sockets, self._sockets = self._sockets, None
        if sockets is not None:
            sockets.closeAll()

    def behavior(
        self,
        server: Address,
        alternate: Address | None = None,
        rtt: float | None = None,
        progress: Progress = _ignore,
    ) -> Deferred[Knowledge]:
        """
        Find out how the NAT behaves and how it chooses ports.  That takes about
        a second and 10 to 15 flows, 50 a second at the most; 2 s more where
        ports are sequential.

        @param server: a STUN server.
        @param alternate: its other address, if it does not tell.
        """
        sockets = self._begin(family(server))
        found = Deferred.fromCoroutine(
            self._behavior(sockets, server, alternate, rtt, progress)
        )
        return found.addBoth(self._ended, sockets)

    async def _behavior(
        self,
        sockets: Sockets,
        server: Address,
        alternate: Address | None,
        rtt: float | None,
        progress: Progress,
    ) -> Knowledge:
        network = self._network
        opened = sockets.open(SOCKETS)
        if not opened:
            return Knowledge()
        discovery = Discovery(
            server, opened, network.entropy, alternate=alternate, rtt=rtt
        )
        found = await sockets.run(discovery, Discovered, progress)
        progress(found)
        samples = list(found.samples)
        if found.behavior.mapping is not Mapping.ENDPOINT_INDEPENDENT:
            samples += await self._sample(sockets, server, found, progress)
        return Knowledge(
            found.reachable,
            found.behavior,
            self.fit(samples),
            found.rtt,
            found.alternate,
            tuple(samples),
            network.reactor.seconds(),
        )

    async def _sample(
        self,
        sockets: Sockets,
        server: Address,
        found: Discovered,
        progress: Progress,
    ) -> list[Sample]:
        if not found.reachable:
            return []
        servers = [server]
        if found.alternate is not None:
            servers.append(found.alternate)
        entropy = self._network.entropy
        count = SAMPLERS * 2 // len(servers)
        first = await sockets.run(
            Sampler(sockets.open(count), servers, entropy, rtt=found.rtt),
            Sampled,
            progress,
        )
        samples = list(first.samples)
        if self.fit(samples).kind is Allocation.SEQUENTIAL:
            slow = Sampler(
                sockets.open(count),
                servers,
                entropy,
                rtt=found.rtt,
                spacing=SLOWLY,
            )
            second = await sockets.run(slow, Sampled, progress)
            samples += second.samples
        return samples

    def lifetime(
        self,
        server: Address,
        *,
        rtt: float | None = None,
        twoWay: Lifetime | None = None,
        oneWay: Lifetime | None = None,
        progress: Progress = _ignore,
    ) -> Deferred[LifetimeEnded]:
        """
        Measure how long the NAT keeps a binding, which takes minutes.
        """
        sockets = self._begin(family(server))
        found = Deferred.fromCoroutine(
            self._lifetime(sockets, server, rtt, twoWay, oneWay, progress)
        )
        return found.addBoth(self._ended, sockets)

    async def _lifetime(
        self,
        sockets: Sockets,
        server: Address,
        rtt: float | None,
        twoWay: Lifetime | None,
        oneWay: Lifetime | None,
        progress: Progress,
    ) -> LifetimeEnded:
        opened = sockets.open(1)
        if not opened:
            return LifetimeEnded(None, None, "no socket could be opened")
        search = LifetimeSearch(
            server,
            opened[0],
            self._network.entropy,
            rtt=rtt,
            twoWay=twoWay,
            oneWay=oneWay,
        )

        def told(event: object) -> None:
            if isinstance(event, SocketsWanted):
                sockets.command(search.addSockets, sockets.open(event.count))
            elif isinstance(event, SocketDone):
                sockets.close(event.local)
            progress(event)

        return await sockets.run(search, LifetimeEnded, told)

    def _begin(self, kind: int) -> Sockets:
        if self._sockets is not None:
            raise RuntimeError("one thing at a time")
        self._sockets = Sockets(self._network, kind)
        return self._sockets

    def _ended(self, result: _T, sockets: Sockets) -> _T:
        sockets.closeAll()
        if self._sockets is sockets:
            self._sockets = None
        return result
