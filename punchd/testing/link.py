"""
Links: what happens to a packet between two nodes.

Every decision about a packet is drawn from a stream of its own flow (protocol,
source, destination), so that one packet more or less in one flow, as when a
signature comes out an octet shorter, does not change the fate of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from .clock import VirtualClock
from .packet import Packet

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Link:
    """
    The properties of a link, alike in both directions.

    @ivar delay: seconds one way.
    @ivar jitter: up to so many seconds more, evenly; the packets of a flow
        stay in order.
    @ivar loss: the probability that a packet is lost.
    @ivar duplication: the probability that a packet arrives twice.
    @ivar reordering: the probability that a packet is held back by
        C{reorderDelay} seconds while later ones overtake it.
    @ivar mtu: larger UDP packets are dropped; octets with the headers.
    @ivar bandwidth: octets a second, or L{None}.
    @ivar queue: seconds of waiting for the bandwidth after which a packet is
        dropped.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reorderDelay: float = 0.01
    mtu: int = 1500
    bandwidth: float | None = None
    queue: float = 0.2


class Flow:
    """
    The randomness and the order of one flow in one direction of a link.
    """

    __slots__ = ("last", "state")

    def __init__(self, seed: int) -> None:
        self.state = seed * 0x9E3779B97F4A7C15 & _MASK
        self.last = 0.0

    def draw(self) -> float:
        """
        @return: the next number in [0, 1), by SplitMix64.
        """
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
        return ((z ^ (z >> 31)) >> 11) / (1 << 53)


class Pipe:
    """
    One direction of a link.

    @ivar link: what it does to packets; may be replaced at any time.
    """

    def __init__(
        self,
        clock: VirtualClock,
        link: Link,
        seed: str,
        dropped: Callable[[Packet, str], None],
    ) -> None:
        self._clock = clock
        self._seed = seed
        self._dropped = dropped
        self._flows: dict[object, Flow] = {}
        self._busy = 0.0
        self.link = link

    @property
    def link(self) -> Link:
        return self._link

    @link.setter
    def link(self, link: Link) -> None:
        self._link = link
        self._plain = not (
            link.jitter
            or link.loss
            or link.duplication
            or link.reordering
            or link.bandwidth
        )
        #: Nothing happens here at all.
        self.open = self._plain and not link.delay

    def _flow(self, packet: Packet) -> Flow:
        key = (packet.protocol, packet.source, packet.destination)
        flow = self._flows.get(key)
        if flow is None:
            seed = crc32(repr((self._seed, key)).encode())
            flow = self._flows[key] = Flow(seed)
        return flow

    def carry(self, packet: Packet, deliver: Callable[..., object], *args: Any) -> None:
        """
        Take C{packet} to the other end and call C{deliver(packet, *args)}
        there, never at once.
        """
        link = self._link
        if packet.size > link.mtu and packet.protocol == "udp":
            self._dropped(packet, "mtu")
        elif self._plain:
            packet.flown = True
            self._clock.schedule(link.delay, deliver, (packet, *args))
        else:
            self._carry(packet, link, deliver, args)

    def _carry(
        self,
        packet: Packet,
        link: Link,
        deliver: Callable[..., object],
        args: tuple[Any, ...],
    ) -> None:
        now = self._clock.seconds()
        flow = self._flow(packet)
        if link.loss and flow.draw() < link.loss:
            self._dropped(packet, "loss")
            return
        due = now + link.delay
        if link.bandwidth:
            start = max(now, self._busy)
            if start - now > link.queue:
                self._dropped(packet, "queue")
                return
            self._busy = start + packet.size / link.bandwidth
            due += self._busy - now
        if link.jitter:
            due += link.jitter * flow.draw()
        if link.reordering and flow.draw() < link.reordering:
            due += link.reorderDelay
        else:
            flow.last = due = max(due, flow.last)
        if link.duplication and flow.draw() < link.duplication:
            again = packet.copy()
            again.flown = True
            self._clock.scheduleAt(due, deliver, (again, *args))
        packet.flown = True
        self._clock.scheduleAt(due, deliver, (packet, *args))
