"""
What is said to the rendezvous by STUN and TURN, and the UDP ports for it.

Binding requests with a user name come from registered clients and are
observed; those without get what RFC 5780 has for everybody.  Everything else
is for the relay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address, Burst, Datagram
from punchd.errors import MalformedMessage
from punchd.interfaces import IDatagramPort, IWayReceiver
from punchd.net.carrying import Carrier
from punchd.net.driver import Driver
from punchd.net.udp import flattened
from punchd.signaling.observation import Observer
from punchd.stun.address import family
from punchd.stun.attributes import Attribute
from punchd.stun.binding import BindingServer
from punchd.stun.message import Message, Method, isMessage, parse
from punchd.turn.runs import Run, RunServer
from punchd.turn.transport import isStream, withoutTransport
from punchd.turn.ways import Way

from .streams import Streams

_SEND_INDICATION: Final = b"\x00\x16"
_WILDCARDS: Final = ("", "0.0.0.0", "::")

Received = tuple[bytes, Address, Address]


@implementer(IWayReceiver)
class Datagrams:
    """
    I take what comes to the listening ports and send all answers.

    @ivar counters: what was dropped, by reason.
    @ivar binding: answers those who have not registered.
    @ivar driver: the loop of the relay, or L{None} without one.
    @ivar streams: the clients over TCP.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, observer: Observer) -> None:
        self.counters: Counter[str] = Counter()
        self.driver: Driver | None = None
        self._relay: RunServer | None = None
        self._clock = clock
        self.binding = BindingServer()
        self._observer = observer
        self.streams = Streams(self, clock)
        # By bound address; wildcards by family and port.
        self._ports: dict[Address, IDatagramPort] = {}
        self._wildcards: dict[tuple[int, int], IDatagramPort] = {}
        self._relayPorts: dict[Address, IDatagramPort] = {}
        self._others: list[IDatagramPort] = []

    def setRelay(
        self, relay: RunServer, driver: Driver, ports: dict[Address, IDatagramPort]
    ) -> None:
        """
        @param ports: those of the relayed addresses; they come and go.
        """
        self._relay = relay
        self.driver = driver
        self._relayPorts = ports

    def stopRelay(self) -> None:
        """
        Relay nothing any more.
        """
        driver, self.driver = self.driver, None
        if driver is not None:
            driver.stop()
        for each in self._relay.allocations() if self._relay is not None else ():
            each.endWays()

    # --- ports

    def add(self, port: IDatagramPort) -> None:
        """
        Send from this port from now on.
        """
        host, number = port.getHost()
        if host in _WILDCARDS:
            self._wildcards[port.family, number] = port
        else:
            self._ports[host, number] = port

    def portCounters(self) -> Counter[str]:
        """
        @return: what went wrong on the ports, those of relayed addresses included,
            while they were open.
        """
        found: Counter[str] = Counter()
        for port in (
            *self._ports.values(),
            *self._wildcards.values(),
            *self._others,
            *self._relayPorts.values(),
        ):
            counters = getattr(port, "counters", None)
            if counters:
                found.update(counters)
        return found

    def alsoClose(self, port: IDatagramPort) -> None:
        """
        Close this one with the others; what comes to it is answered from them.
        """
        self._others.append(port)

    def closeAll(self) -> None:
        """
        Close the listening ports.
        """
        for port in (*self._ports.values(), *self._wildcards.values(), *self._others):
            port.close()
        self._others = []
        self._ports = {}
        self._wildcards = {}

    def send(self, datagrams: Sequence[Datagram | Burst]) -> None:
        """
        Send each datagram, or burst of them, from the port that its C{local} names.
        """
        if len(datagrams) == 1 and isinstance(datagrams[0], Datagram):
            port = self._portFor(datagrams[0].local)
            if port is not None:
                port.send(datagrams[0])
            return
        runs: dict[IDatagramPort | Streams, list[Datagram]] = {}
        relayPorts: dict[Any, IDatagramPort] = self._relayPorts
        for each in datagrams:
            port = relayPorts.get(each.local) or self._portFor(each.local)
            if port is None:
                continue
            if isinstance(each, Burst):
                before = runs.pop(port, None) if runs else None
                if before:
                    port.sendMany(before)
                port.sendMany(each)
            else:
                runs.setdefault(port, []).append(each)
        for port, run in runs.items():
            port.sendMany(run)

    def _portFor(self, local: Address | None) -> IDatagramPort | Streams | None:
        if local is None:
            self.counters["no source"] += 1
            return None
        port = self._relayPorts.get(local) or self._ports.get(local)
        if port is None:
            port = self._wildcards.get((family(local), local[1]))
            if isStream(local):
                return self.streams
            if port is None:
                self.counters["no port"] += 1
        return port

    # --- IWayReceiver

    def wayFor(
        self, local: Address, remote: Address, number: int
    ) -> tuple[Way, Carrier] | None:
        """
        @see: L{punchd.interfaces.IWayReceiver}.
        """
        driver, relay = self.driver, self._relay
        if driver is None or relay is None:
            return None
        way = relay.wayFromClient(local, remote, number, driver.now())
        port = None if way is None else self.carrierOf(way.local)
        return None if way is None or port is None else (way, port)

    def carrierOf(self, local: Address) -> Carrier | None:
        """
        @return: the port that the address belongs to, if that may send by itself.
        """
        port = self._portFor(local)
        return port if isinstance(port, Carrier) else None

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        One datagram came to a listening port.
        """
        self.datagramsReceived([(data, local, remote)])

    def datagramsReceived(self, datagrams: Sequence[Received]) -> None:
        """
        Several came; what is asked is answered at once, and what is relayed goes
        through as one batch behind it: a client may send data right behind the
        request that permits it.
        """
        relayed: list[Received] = []
        asked: list[Received] = []
        for each in datagrams:
            data = each[0]
            if data and (data[0] >= 0x40 or data[:2] == _SEND_INDICATION):
                relayed.append(each)
            elif isMessage(data):
                asked.append(each)
            else:
                self.counters["not STUN"] += 1
        if asked:
            self._messagesReceived(asked)
        if relayed:
            if self.driver is None:
                self.counters["no relay"] += len(relayed)
            else:
                self.driver.datagramsReceived(relayed)

    def runsReceived(self, runs: list[Run]) -> None:
        """
        ChannelData goes through by runs, unless there is something else among it:
        the order of what comes from one client is kept.
        """
        driver, relay = self.driver, self._relay
        if driver is None or relay is None:
            self.datagramsReceived(flattened(runs))
            return
        if _isData(runs):
            driver.call(relay.runsReceived, runs)
            return
        merged: dict[tuple[Address, Address], Run] = {}
        for run in runs:
            found = merged.setdefault(run[1:], run)
            if found is not run:
                found[0].extend(run[0])
        others: list[Received] = []
        data: list[Run] = []
        for run in merged.values():
            if _isData([run]):
                data.append(run)
            else:
                others += flattened([run])
        if others:
            self.datagramsReceived(others)
        if data:
            driver.call(relay.runsReceived, data)

    def _messagesReceived(self, datagrams: Sequence[Received]) -> None:
        """
        All answers of Binding are sent together, and the relay's likewise.
        """
        answers: list[Datagram] = []
        driver, relay = self.driver, self._relay
        now = self._clock.seconds() if driver is None else driver.now()
        for data, local, remote in datagrams:
            try:
                message = _read(data)
                if message.method == Method.BINDING:
                    answers += self._bind(message, data, local, remote, now)
                elif driver is not None and relay is not None:
                    relay.messageReceived(message, local, remote, now)
                else:
                    self.counters["no relay"] += 1
            except MalformedMessage:
                self.counters["malformed"] += 1
            except Exception:
                # Such as somebody else's guard: the others are to be answered.
                self.log.failure("A request failed")
        if answers:
            self.send(answers)
        if driver is not None:
            driver.wake()

    def _bind(
        self, message: Message, data: bytes, local: Address, remote: Address, now: float
    ) -> list[Datagram]:
        if message.get(Attribute.USERNAME) is not None:
            return self._observer.handle(message, local, remote, now)
        return self.binding.handle(message, data, local, remote, now)

    # --- streams

    def framesReceived(
        self, frames: Sequence[bytes], local: Address, remote: Address
    ) -> None:
        """
        @see: L{punchd.services.streams.Server.framesReceived}.
        """
        if self._relay is not None and _isData([(frames, local, remote)]):
            if self.driver is not None:
                self.driver.call(
                    self._relay.runsReceived, [(list(frames), local, remote)]
                )
                return
        relayed: list[Received] = []
        for frame in frames:
            if frame[0] >= 0x40 or frame[:2] == _SEND_INDICATION:
                relayed.append((frame, local, remote))
                continue
            message = _read(frame)
            if message.method == Method.BINDING:
                self._bindStream(message, frame, local, remote)
            elif self.driver is not None and self._relay is not None:
                # Data goes before what may end the allocation, or give it more.
                self._relayFrames(relayed)
                relayed = []
                self.driver.call(self._relay.messageReceived, message, local, remote)
            else:
                self.counters["no relay"] += 1
        self._relayFrames(relayed)

    def _relayFrames(self, relayed: list[Received]) -> None:
        if self.driver is None:
            self.counters["no relay"] += len(relayed)
        elif relayed:
            self.driver.datagramsReceived(relayed)

    def holds(self, local: Address, remote: Address) -> bool:
        """
        @see: L{punchd.services.streams.Server.holds}.
        """
        return self._relay is not None and self._relay.holds(local, remote)

    def disconnected(self, local: Address, remote: Address) -> None:
        """
        @see: L{punchd.services.streams.Server.disconnected}.
        """
        if self.driver is not None and self._relay is not None:
            self.driver.call(self._relay.disconnected, local, remote)

    def _bindStream(
        self, message: Message, frame: bytes, local: Address, remote: Address
    ) -> None:
        # An answer from another port, or to one, is not possible here; and the
        # addresses of TCP connections are not those of the punching socket.
        if any(
            message.get(each) is not None
            for each in (
                Attribute.CHANGE_REQUEST,
                Attribute.RESPONSE_PORT,
                Attribute.USERNAME,
            )
        ):
            self.counters["not over TCP"] += 1
            return
        now = self._clock.seconds()
        plain = withoutTransport(local)
        for each in self.binding.handle(message, frame, plain, remote, now):
            self.streams.send(Datagram(each.data, local, remote))


def _read(data: bytes) -> Message:
    """
    @return: the message.  A request to the relay whose values make no sense is
        answered, once it is known who sends it.

    @raise MalformedMessage: it is none, or one of another kind.
    """
    message = parse(data, lenient=True)
    if message.spoiled and message.method == Method.BINDING:
        raise MalformedMessage("an attribute makes no sense")
    return message


def _isData(runs: Iterable[tuple[Sequence[bytes], Address, Address]]) -> bool:
    """
    @return: whether all of it is ChannelData.
    """
    for payloads, _, _ in runs:
        for each in payloads:
            if not each or not 0x40 <= each[0] < 0x80:
                return False
    return True
