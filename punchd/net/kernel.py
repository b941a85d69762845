"""
The network of the machine we run on.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import ifaddr
from zope.interface import implementer

from punchd.interfaces import (
    IDatagramPort,
    IDatagramReceiver,
    IErrorReceiver,
    IHopReceiver,
    INetwork,
    IWayReceiver,
)

from . import ancillary, carrying
from .carrying import ListeningPort, RelayedPort
from .connecting import boundSocket
from .crowd import Crowd
from .hops import HopPort
from .linkstate import isUp
from .netlink import AddressWatch
from .reports import ReportingPort
from .udp import UDPPort

#: With this variable set and not empty, UDP goes without GSO and GRO.
NO_OFFLOAD = "PUNCHD_NO_OFFLOAD"

# Interfaces of bridges and tunnels inside one machine: a peer elsewhere rarely
# reaches us there, but may be in there too.
_VIRTUAL = re.compile(
    r"docker|br-|veth|virbr|vnet|vmnet|lxc|lxd|cni|flannel|cali|podman|kube|dummy"
)
# Tunnels to elsewhere reach far, at a price.
_TUNNEL = re.compile(r"tun|tap|wg|tailscale|zt|utun|ppp|ipsec")


@implementer(INetwork)
class KernelNetwork:
    """
    I am the kernel's network.

    @ivar reactor: the reactor; make it monotonic first, see
        L{punchd.net.clock.makeMonotonic}.
    """

    sendsWhole = ancillary.LINUX

    def __init__(
        self, reactor: Any, *, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.reactor = reactor
        self._offload = not environ.get(NO_OFFLOAD)
        self._relay: Crowd | None = None

    def listenDatagram(
        self, receiver: IDatagramReceiver, family: int, host: str, port: int
    ) -> IDatagramPort:
        """
        Open a UDP socket.

        @raise twisted.internet.error.CannotListenError: the address is taken
            or is not ours.
        """
        tells = self.sendsWhole and IErrorReceiver.providedBy(receiver)
        make: Any = ReportingPort if tells else UDPPort
        reactor: Any = self.reactor
        if IWayReceiver.providedBy(receiver) and carrying.possible():
            # Relays have many of them.
            make, reactor = RelayedPort if tells else ListeningPort, self._crowd()
        opened: IDatagramPort = make(
            reactor, receiver, family, host, port, offload=self._offload
        )
        return opened

    def _crowd(self) -> Crowd:
        if self._relay is None:
            self._relay = Crowd(self.reactor)
        return self._relay

    def adopt(
        self, receiver: IDatagramReceiver, family: int, existing: socket.socket
    ) -> IDatagramPort:
        """
        Take over a UDP socket that another process has opened and bound.
        """
        make: Any = UDPPort
        reactor: Any = self.reactor
        if IWayReceiver.providedBy(receiver) and carrying.possible():
            make, reactor = ListeningPort, self._crowd()
        opened: IDatagramPort = make(
            reactor, receiver, family, offload=self._offload, existing=existing
        )
        return opened

    def listenHops(self, receiver: IHopReceiver, family: int) -> IDatagramPort | None:
        """
        Open a UDP socket that hears of its datagrams' deaths, if it is Linux.
        """
        try:
            opened: IDatagramPort = HopPort(self.reactor, receiver, family)
        except OSError:
            return None
        return opened

    def sharedStream(self, family: int, port: int) -> socket.socket:
        """
        Bind a TCP socket whose port others may share.

        @raise OSError: it cannot be had.
        """
        return boundSocket(family, port)

    _hosts: list[tuple[str, str]] | None = None
    _watching = 0

    def localHosts(self) -> list[tuple[str, str]]:
        """
        @return: (host, interfaceName) of the addresses that others may reach;
            physical interfaces first, then tunnels, then bridges inside this
            machine.
        """
        # Asking takes a millisecond; as long as the kernel tells of changes, there is
        # no need to.
        if self._hosts is None or not self._watching:
            self._hosts = _look()
        return list(self._hosts)

    def watchHosts(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        """
        Have the kernel tell of changes, if it is Linux.
        """

        def heard() -> None:
            self._hosts = None
            changed()

        try:
            watch = AddressWatch(self.reactor, heard)
        except OSError:
            return None
        self._hosts = None
        self._watching += 1

        def stop() -> None:
            self._watching -= 1
            watch.stop()

        return stop

    def wallClock(self) -> float:
        """
        @return: seconds since the epoch.
        """
        return time.time()

    def entropy(self, count: int) -> bytes:
        """
        @return: C{count} random bytes.
        """
        return os.urandom(count)


def _look() -> list[tuple[str, str]]:
    found = []
    for adapter in ifaddr.get_adapters():
        if not isUp(adapter.name):
            continue
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            if _reachable(host):
                found.append((host, adapter.name))
    return sorted(dict.fromkeys(found), key=_rank)


def _reachable(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )


def _rank(found: tuple[str, str]) -> int:
    name = found[1]
    if _VIRTUAL.match(name):
        return 2
    return 1 if _TUNNEL.match(name) else 0
