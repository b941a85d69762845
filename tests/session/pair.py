"""
Two ends of a session over a link that can do what networks do, in virtual
time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from zope.interface import implementer

from punchd.core import Datagram
from punchd.identity import Identity
from punchd.net.driver import Driver
from punchd.session.auth import Dial
from punchd.session.backend import Backend, Qh3
from punchd.session.mux import Streams
from punchd.session.quic import VIRTUAL, QuicCore
from punchd.session.stream import Stream

from .aio import Aioquic

BACKENDS: dict[str, Callable[[], Backend]] = {"qh3": Qh3, "aioquic": Aioquic}

#: Datagrams that arrive within so many seconds arrive together.
GRAIN = 0.0002

DIALLER = Identity.create()
LISTENER = Identity.create()
STRANGER = Identity.create()
DIAL = Dial(DIALLER.peerId, LISTENER.peerId, "dial-1", b"nonce of the answer")


class Link:
    """
    One direction.

    @ivar delay: seconds.
    @ivar loss: the share of datagrams that vanish.
    @ivar reordering: the share that takes up to twice as long.
    @ivar duplication: the share that comes twice.
    @ivar rate: bytes a second, or L{None}; a queue of a second at most.
    @ivar sizes: the sizes of what was sent.
    """

    def __init__(self, clock: Clock, seed: int) -> None:
        self.delay = 0.01
        self.loss = 0.0
        self.reordering = 0.0
        self.duplication = 0.0
        self.rate: float | None = None
        self.down = False
        self.sizes: list[int] = []
        self.deliver: Callable[[list[bytes]], None] = lambda datagrams: None
        self._clock = clock
        self._random = random.Random(seed)
        self._free = 0.0
        self._queue: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._armed: IDelayedCall | None = None

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """
        Take what a driver sends.
        """
        for datagram in datagrams:
            assert datagram.remote == VIRTUAL
            data = datagram.data
            self.sizes.append(len(data))
            if self.down or self._random.random() < self.loss:
                continue
            now = self._clock.seconds()
            time = now + self.delay
            if self.rate is not None:
                if self._free > now + 1.0:
                    continue
                self._free = max(self._free, now) + len(data) / self.rate
                time += self._free - now
            if self._random.random() < self.reordering:
                time += self._random.random() * self.delay
            self._put(time, data)
            if self._random.random() < self.duplication:
                self._put(time + self.delay / 2, data)
        self._arm()

    def _put(self, time: float, data: bytes) -> None:
        self._count += 1
        heapq.heappush(self._queue, (time, self._count, data))

    def _arm(self) -> None:
        # One delayed call a link: Clock sorts all of them at each change.
        if not self._queue:
            return
        first = self._queue[0][0]
        if self._armed is None or not self._armed.active():
            delay = max(0.0, first - self._clock.seconds())
            self._armed = self._clock.callLater(delay, self._arrive)
        elif first < self._armed.getTime():
            self._armed.reset(max(0.0, first - self._clock.seconds()))

    def _arrive(self) -> None:
        due = self._clock.seconds() + GRAIN
        batch = []
        while self._queue and self._queue[0][0] <= due:
            batch.append(heapq.heappop(self._queue)[2])
        self._arm()
        if batch:
            self.deliver(batch)


class End:
    """
    One side.

    @ivar happened: what the callbacks of the streams were told, in order.
    @ivar incoming: the streams that the other side opened.
    """

    def __init__(
        self, clock: Clock, core: QuicCore, identity: Identity, peerId: str, link: Link
    ) -> None:
        self.core = core
        self.link = link
        self.happened: list[tuple[str, object]] = []
        self.incoming: list[Stream] = []
        self.events: list[object] = []
        self.streams = Streams(
            core,
            clock=clock.seconds,
            wake=lambda: self.driver.wake(),
            identity=identity,
            peerId=peerId,
            incarnation=f"incarnation of {identity.peerId[:4]}",
        )
        self.driver = Driver(core, link.send, self._deliver, clock)
        for name in ("Hello", "Candidate", "Pong", "Bye", "Lost"):
            setattr(self.streams, f"on{name}", self._noter(name))
        self.streams.onAdmitted = lambda: self.happened.append(("Admitted", None))
        self.streams.onIncoming = self._accept

    def _accept(self, service: str, stream: Stream) -> None:
        self.incoming.append(stream)
        stream.accept(Recorder())

    def _noter(self, name: str) -> Callable[[object], None]:
        return lambda what: self.happened.append((name, what))

    def _deliver(self, event: Any) -> None:
        self.events.append(type(event).__name__)
        self.streams.eventReceived(event)

    def told(self, name: str) -> list[Any]:
        """
        What one of the callbacks was told.
        """
        return [what for kind, what in self.happened if kind == name]

    def receive(self, datagrams: list[bytes]) -> None:
        """
        A batch comes from the link.
        """
        self.driver.call(self.core.datagramsReceived, datagrams)


class Recorder(Protocol):
    """
    Remembers what happened to it.
    """

    transport: Any

    def __init__(self) -> None:
        self.data = bytearray()
        self.reason: BaseException | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Keep it.
        """
        assert self.reason is None
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        """
        Keep why.
        """
        assert self.reason is None
        self.reason = reason.value


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """
    Notes which half was closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        """
        The peer sends no more.
        """
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        """
        We send no more.
        """
        self.halves.append("write")


class Pair:
    """
    A dialler and a listener.
    """

    def __init__(
        self,
        backend: str = "qh3",
        *,
        seed: int = 1,
        listenerBackend: str | None = None,
        listenerIdentity: Identity = LISTENER,
        authenticate: bool = True,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        there, back = Link(self.clock, seed), Link(self.clock, seed + 1)
        self.a = End(
            self.clock,
            QuicCore.client(BACKENDS[backend]()),
            DIALLER,
            LISTENER.peerId,
            there,
        )
        self.b = End(
            self.clock,
            QuicCore.server(listenerIdentity, BACKENDS[listenerBackend or backend]()),
            LISTENER,
            DIALLER.peerId,
            back,
        )
        there.deliver, back.deliver = self.b.receive, self.a.receive
        self.links = (there, back)
        if authenticate:
            self.a.streams.authenticate(DIAL)
            self.b.streams.authenticate(DIAL)

    def start(self) -> Pair:
        """
        Begin the handshake.
        """
        self.a.driver.call(self.a.core.start)
        return self

    def connect(self) -> Pair:
        """
        Go on until both sides have greeted each other.
        """
        self.start()
        self.until(lambda: bool(self.a.told("Hello") and self.b.told("Hello")))
        return self

    def configure(self, **settings: Any) -> Pair:
        """
        Set attributes of both links.
        """
        for link in self.links:
            for name, value in settings.items():
                assert hasattr(link, name)
                setattr(link, name, value)
        return self

    def until(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        """
        Let time pass until something is so.
        """
        end = self.clock.seconds() + seconds
        while not done():
            assert self.step(end), "it never happened"

    def run(self, seconds: float) -> None:
        """
        Let time pass.
        """
        end = self.clock.seconds() + seconds
        while self.step(end):
            pass
        self.clock.advance(end - self.clock.seconds())

    def step(self, end: float) -> bool:
        """
        Go to the next delayed call unless it is after C{end}.
        """
        calls = self.clock.getDelayedCalls()
        if not calls:
            return False
        time = min(call.getTime() for call in calls)
        if time > end:
            return False
        self.clock.advance(max(0.0, time - self.clock.seconds()))
        return True

    def open(self, service: str = "echo") -> tuple[Stream, Recorder]:
        """
        The dialler opens a stream for a L{Recorder}.
        """
        recorder = Recorder()
        return self.a.streams.openStream(service, recorder), recorder
