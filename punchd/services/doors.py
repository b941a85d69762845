"""
The ports that a rendezvous listens on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from punchd.errors import PortUnavailable
from punchd.interfaces import IDatagramPort
from punchd.net.apart import divide
from punchd.net.listening import listenTCP
from punchd.stun.address import family

from .datagrams import Datagrams
from .places import Place, textOf

#: What anybody may ask: Binding and Allocate requests (RFC 8489, 5).
ASKED: Final = (0x0001, 0x0003)

#: How often another port is tried when any is wanted, for UDP and TCP alike.
ATTEMPTS: Final = 16


class Doors:
    """
    I open what is to be listened on, all of it or nothing.

    @ivar places: where I listen, with the ports that I got.
    """

    log = Logger()

    def __init__(
        self, network: Any, datagrams: Datagrams, factory: Any, workers: Any = None
    ) -> None:
        """
        @param network: an L{punchd.interfaces.INetwork}.
        @param factory: for TCP connections.
        @param workers: the L{punchd.services.workers.Workers} that share UDP ports,
            or L{None}.
        """
        self._workers = workers
        self._network = network
        self._datagrams = datagrams
        self._factory = factory
        self._streams: list[IListeningPort] = []
        self.places: list[Place] = []

    def open(
        self,
        places: Sequence[Place],
        alternatePort: int | None,
        hosts: Collection[str],
    ) -> None:
        """
        @param alternatePort: a further UDP port on each address that is listened on.
        @param hosts: the local hosts that clients know.

        @raise PortUnavailable: a port cannot be had, and is not optional.
        """
        try:
            for place in places:
                self._openPlace(place)
            if alternatePort is not None:
                udp = [each for each in self.places if each.udp]
                there = {each.host for each in udp if each.port == alternatePort}
                for place in {each.host: each for each in udp}.values():
                    if place.host not in there and any(map(place.covers, hosts)):
                        self._openPlace(replace(place, port=alternatePort, tcp=False))
        except PortUnavailable:
            self.close()
            raise

    def close(self) -> Deferred[Any]:
        """
        @return: fires when all is closed.
        """
        self._datagrams.closeAll()
        return self.closeStreams()

    def closeStreams(self) -> Deferred[Any]:
        """
        Take no more connections; answer over UDP still.

        @return: fires when no port is listened on any more.
        """
        streams, self._streams = self._streams, []
        self.places = []
        return DeferredList([maybeDeferred(each.stopListening) for each in streams])

    def _openPlace(self, place: Place) -> None:
        for attempt in range(ATTEMPTS):
            try:
                self.places.append(self._try(place))
                return
            except CannotListenError as e:
                if place.port == 0 and attempt < ATTEMPTS - 1:
                    continue
                why = getattr(e.socketError, "strerror", None) or str(e.socketError)
                if not place.optional:
                    raise PortUnavailable(
                        f"Cannot listen on {place}: {why}; choose where with "
                        "--listen=ADDR:PORT."
                    ) from e
                self.log.info(
                    "not listening on {place}: {why}", place=str(place), why=why
                )
                return

    def _try(self, place: Place) -> Place:
        port: IDatagramPort | None = None
        number = place.port
        if place.udp:
            kind = family((place.host, 0))
            port = self._network.listenDatagram(
                self._datagrams, kind, place.host, number
            )
            number = port.getHost()[1]
        if place.tcp:
            try:
                stream = listenTCP(
                    self._network.reactor, place.host, number, self._factory
                )
            except CannotListenError:
                if port is not None:
                    port.close()
                raise
            self._streams.append(stream)
            address: Any = stream.getHost()
            number = address.port
        if port is not None:
            self._datagrams.add(port)
            # What strangers ask must not push out what is relayed.
            apart = (
                divide(port, self._network.reactor, self._datagrams, ASKED)
                if self._workers is None
                else self._workers.share(port, self._datagrams, ASKED)
            )
            if apart is not None:
                self._datagrams.alsoClose(apart)
        found = replace(place, port=number)
        kinds = [name for name in ("tcp", "udp") if getattr(place, name)]
        self.log.info(
            "listening on {address} ({kinds})",
            address=textOf((place.host, number)),
            kinds=" and ".join(kinds),
        )
        return found
