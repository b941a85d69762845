"""
The punching socket: the one UDP socket a family from which everything leaves,
so that all NATs on the way keep one mapping for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from punchd.core import Address, Burst, Datagram
from punchd.errors import InvalidOption
from punchd.interfaces import IDatagramPort, INetwork

from .demux import Demux

#: Sends datagrams whose source is a relayed address.
RelaySender = Callable[[Sequence[Datagram]], None]


class PunchingSocket:
    """
    I own the UDP ports, send by source address, and tell arrivals apart.

    @ivar demux: where receivers register for what arrives.
    """

    log = Logger()

    def __init__(self, network: INetwork, demux: Demux) -> None:
        self.network = network
        self.demux = demux
        self._ports: dict[int, IDatagramPort] = {}
        self._spares: dict[Address, IDatagramPort] = {}
        self._relays: dict[Address, RelaySender] = {}
        self._streams: set[Address] = set()
        self._transports: dict[Address, str] = {}

    def open(self, port: int) -> None:
        """
        Bind the wildcard of both families, on one port number if possible.

        @param port: the port, or 0 for any.

        @raise InvalidOption: the port is taken.
        """
        for family in (4, 6):
            try:
                opened = self._listen(family, port)
            except CannotListenError as e:
                if family == 6 and 4 in self._ports:
                    # A machine without IPv6 punches over IPv4 alone.
                    self.log.debug("No IPv6 punching socket: {error}", error=str(e))
                    continue
                why = getattr(e.socketError, "strerror", None) or e.socketError
                raise InvalidOption(
                    f"--port={port}: the UDP port cannot be opened: {why}."
                ) from e
            self._ports[family] = opened
            port = port or opened.getHost()[1]

    def _listen(self, family: int, port: int) -> Any:
        try:
            return self.network.listenDatagram(self.demux, family, "", port)
        except CannotListenError:
            if family == 6 and 4 in self._ports:
                return self.network.listenDatagram(self.demux, family, "", 0)
            raise

    def bases(self) -> list[Address]:
        """
        @return: the host addresses that the socket can be reached at in its
            own network, the best interface first.
        """
        found = []
        for host, _ in self.network.localHosts():
            port = self._ports.get(6 if ":" in host else 4)
            if port is not None:
                found.append((host, port.getHost()[1]))
        return found

    def families(self) -> list[int]:
        """
        @return: the address families that the socket speaks.
        """
        return sorted(self._ports)

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        Send each from where its source address lives: a relay or a port.
        """
        if isinstance(datagrams, Burst):
            self._sendBurst(datagrams)
            return
        for local, run in groupby(datagrams, _localOf):
            relay = None if local is None else self._relays.get(local)
            if relay is not None:
                relay(list(run))
                continue
            for family, part in groupby(run, _familyOf):
                port = self._spares.get(local) if local and self._spares else None
                port = port or self._ports.get(family)
                if port is not None:
                    port.sendMany(list(part))

    def _sendBurst(self, burst: Burst) -> None:
        relay = None if burst.local is None else self._relays.get(burst.local)
        if relay is not None:
            relay(burst)
            return
        port = None
        if self._spares and burst.local is not None:
            port = self._spares.get(burst.local)
        port = port or self._ports.get(6 if ":" in burst.remote[0] else 4)
        if port is not None:
            port.sendMany(burst)

    def addRelay(
        self, relayed: Address, send: RelaySender, transport: str = "udp"
    ) -> None:
        """
        From now on datagrams from C{relayed} leave through C{send}.

        @param transport: what they travel by: C{"udp"}, C{"tcp"} or C{"tls"}.
        """
        self._relays[relayed] = send
        self._transports[relayed] = transport

    def transportOf(self, local: Address) -> str:
        """
        @return: what datagrams from there travel by.
        """
        return self._transports.get(local, "udp")

    def isRelay(self, local: Address) -> bool:
        """
        @return: whether C{local} is a relayed address of ours.
        """
        return local in self._relays and local not in self._streams

    def removeRelay(self, relayed: Address) -> None:
        """
        The relayed address is ours no more.
        """
        self._relays.pop(relayed, None)
        self._transports.pop(relayed, None)

    def addStream(self, base: Address, send: RelaySender) -> bool:
        """
        From now on datagrams from C{base}, a TCP port, leave through C{send}.

        @return: whether no UDP port of ours has the same number, so that
            addresses tell them apart.
        """
        if base in self._spares or base in self._relays or base in self.bases():
            return False
        self._relays[base] = send
        self._streams.add(base)
        return True

    def removeStream(self, base: Address) -> None:
        """
        The TCP port is no more.
        """
        if base in self._streams:
            self._streams.discard(base)
            del self._relays[base]

    # --- further sockets, for strategies that need some

    def openSpare(self, family: int = 4) -> Address | None:
        """
        Open one more socket, whose arrivals go the way of all others.

        @return: its host and port, which is the source to name in what it is to
            send; L{None} when the machine gives no more.
        """
        hosts = [base[0] for base in self.bases() if _family(base) == family]
        if not hosts:
            return None
        try:
            port = self.network.listenDatagram(self.demux, family, "", 0)
        except CannotListenError as e:
            self.log.debug("No further socket: {error}", error=str(e))
            return None
        base: Address = (hosts[0], port.getHost()[1])
        if base in self._streams:
            port.close()
            return None
        self._spares[base] = port
        return base

    def closeSpare(self, base: Address) -> None:
        """
        Close what L{openSpare} opened; nothing happens if that was done.
        """
        port = self._spares.pop(base, None)
        if port is not None:
            port.close()

    @property
    def spares(self) -> int:
        """
        How many further sockets are open.
        """
        return len(self._spares)

    def close(self) -> None:
        """
        Close the ports.
        """
        for base in list(self._spares):
            self.closeSpare(base)
        ports, self._ports = self._ports, {}
        for port in ports.values():
            port.close()


def _localOf(datagram: Datagram) -> Address | None:
    return datagram.local


def _familyOf(datagram: Datagram) -> int:
    return _family(datagram.remote)


def _family(address: Address) -> int:
    return 6 if ":" in address[0] else 4
