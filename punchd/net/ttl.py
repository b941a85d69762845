"""
Measuring, aside and in a moment, which hop limit opens our own NATs only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import IDatagramPort, IHopReceiver, INetwork
from punchd.nat.hops import UNKNOWN, Trace, Traced
from punchd.stun.address import family

from .driver import Driver

#: Networks that are remembered.
_MOST: Final = 64


@implementer(IHopReceiver)
class OpenerTtl:
    """
    I know the hop limit of packets that open our NATs and reach nobody else's,
    for the network that we are in.

    @ivar hops: what the last trace found, L{None} before there was one.
    @ivar found: the hop limit that was measured in this network, L{None} as long as
        none was.
    @ivar onFound: called with each that was.
    """

    log = Logger()

    def __init__(
        self, network: INetwork, measured: Callable[[int | None], object]
    ) -> None:
        """
        @param measured: called with the hop limit whenever it may be another one.
        """
        self.hops: tuple[str | None, ...] | None = None
        self.found: int | None = None
        self.onFound: Callable[[int], object] = lambda ttl: None
        self._recalled: int | None = None
        self._network = network
        self._measured = measured
        self._known: dict[tuple[str, ...], int | None] = {}
        self._port: IDatagramPort | None = None
        self._driver: Driver | None = None

    def measure(
        self, server: Address, observed: Sequence[str], *, again: bool = False
    ) -> None:
        """
        Measure, unless this network is known.

        @param server: a STUN server in the public network.
        @param observed: addresses at which others see us.
        @param again: it may be another network, though our addresses are the
            same.
        """
        self.stop()
        hosts = self._hosts(family(server))
        self._measured(self._known.get(hosts, self._recalled or UNKNOWN))
        self.found = None
        if hosts in self._known and not again:
            self.found = self._known[hosts]
            return
        port = self._port = self._network.listenHops(self, family(server))
        if port is None:
            return
        # A host that has no address like that either is not behind a NAT.
        ours = {*observed, *hosts}

        def ended(event: object) -> None:
            self.stop()
            if isinstance(event, Traced):
                self._ended(event, hosts, event.openerTtl(ours))

        trace = Trace(server, ours, self._network.entropy)
        self._driver = Driver(trace, self._send, ended, self._network.reactor)
        self._driver.call(trace.start)

    def recall(self, ttl: int | None) -> None:
        """
        This was measured in this network some other time; it is good until it is
        measured again.
        """
        self._recalled = ttl
        if self.found is None:
            self._measured(ttl or UNKNOWN)

    def _hosts(self, kind: int) -> tuple[str, ...]:
        found = [host for host, _ in self._network.localHosts()]
        return tuple(sorted(host for host in found if family((host, 0)) == kind))

    def _ended(self, traced: Traced, hosts: tuple[str, ...], ttl: int | None) -> None:
        self.hops = traced.hops
        if any(traced.hops) or traced.reached:
            self._known[hosts] = self.found = ttl
            if ttl is not None:
                self.onFound(ttl)
        elif self._recalled:
            # Nobody said anything.
            ttl = self._recalled
        while len(self._known) > _MOST:
            self._known.pop(next(iter(self._known)))
        self.log.info(
            "Packets that only open our NAT get the hop limit {ttl}",
            ttl="of others" if ttl is None else ttl,
            hops=traced.hops,
            event="opener-ttl",
        )
        self._measured(ttl)

    def stop(self) -> None:
        """
        Measure no more; what is known is kept.
        """
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.stop()
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _send(self, datagrams: Sequence[Datagram]) -> None:
        if self._port is not None:
            self._port.sendMany(datagrams)

    # --- IHopReceiver

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        The server answers.
        """
        if self._driver is not None:
            self._driver.datagramReceived(data, local, remote)

    def hopReported(self, data: bytes, host: str) -> None:
        """
        A router dropped a packet of ours.
        """
        driver = self._driver
        if driver is not None:
            assert isinstance(driver.core, Trace)
            driver.call(driver.core.hopReported, data, host)
