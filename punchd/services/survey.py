"""
Getting to know the NAT: the discovery, with the punching socket where there is one,
and the samples for the port model, on spare sockets.  Those, and a spare one for the
filtering tests, leave the punching socket's filter closed to all but the servers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred

from punchd.core import Address
from punchd.interfaces import INetwork
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
from punchd.net.punching import PunchingSocket
from punchd.stun.address import family

from .sockets import Progress, Sockets

#: Sockets for the discovery and for samples.
SOCKETS: Final = 3
SAMPLERS: Final = 4

#: Seconds between the flows of the second samples, which are there to see how
#: many flows others make.
SLOWLY: Final = 0.25

_T = TypeVar("_T")


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


class Survey:
    """
    I measure, one thing at a time.

    @ivar running: whether I do so now.
    """

    def __init__(
        self, network: INetwork, punching: PunchingSocket | None = None
    ) -> None:
        """
        @param punching: the socket whose NAT it is; a spare one stands for it if
            there is none.
        """
        self._network = network
        self._punching = punching
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
        opened = sockets.borrow()
        borrowed = {port for _, port in opened}
        opened += sockets.open(SOCKETS - len(opened))
        if not opened:
            return Knowledge()
        discovery = Discovery(
            server, opened, network.entropy, alternate=alternate, rtt=rtt
        )
        found = await sockets.run(discovery, Discovered, progress)
        progress(found)
        samples = list(found.samples)
        if found.behavior.mapping is not Mapping.ENDPOINT_INDEPENDENT:
            # The punching socket got its ports long ago.
            samples = [each for each in samples if each.localPort not in borrowed]
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
        self._sockets = Sockets(self._network, kind, self._punching)
        return self._sockets

    def _ended(self, result: _T, sockets: Sockets) -> _T:
        sockets.closeAll()
        if self._sockets is sockets:
            self._sockets = None
        return result
