"""
The streams of a session that are open or wait to be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from punchd.errors import ProtocolViolation

from .calls import Calls
from .control import Credit, Ends
from .credit import GROWTH, INITIAL_WINDOW, Growth
from .datagrams import Datagrams
from .events import StreamData, StreamReset, StreamStopped
from .flow import CLOSED, FAULT, Flow
from .quic import QuicCore
from .stream import Stream
from .turns import Turns

#: How many streams each side may have open at once; more wait their turn.
MAX_STREAMS = 100

#: Seconds for QUIC to get the end of a stream that is complete.
ENDLESS = 5.0

#: What an honest peer can at most have sent on all streams that nobody took.
MAX_HELD = 2 * MAX_STREAMS * INITIAL_WINDOW + GROWTH


def _ignore(count: int) -> None:
    pass


class Table(Calls):
    """
    Opens streams, finds them by number, and is their carrier.

    @ivar onCount: called when L{count} has changed.
    @ivar received: bytes of all streams that came since the session began.
    @ivar held: bytes of all streams that nobody took yet.
    @ivar lost: what ended the session, if it ended.
    @ivar datagrams: those of all streams.
    """

    def __init__(
        self,
        core: QuicCore,
        ownId: str,
        peerId: str,
        kick: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(kick)
        self.onCount: Callable[[int], object] = _ignore
        self.ownId = ownId
        self.peerId = peerId
        self.growth = Growth()
        self.turns = Turns(core)
        self.received = 0
        self.held = 0
        self.lost: Exception | None = None
        self.datagrams = Datagrams(core, self._streamOf, clock)
        self._core = core
        self._kick = kick
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[Stream] = deque()
        self._opened = 0
        self._highest = -1
        self._credits: dict[int, int] = {}
        # Of streams that the peer has yet to begin.
        self._lengths: dict[int, int] = {}
        # Those that are complete, and since when, though QUIC has not got their end.
        self._endless: dict[int, float] = {}

    # --- for the session ----------------------------------------------------

    @property
    def count(self) -> int:
        """
        How many streams are open or wait to be.
        """
        return len(self._streams) + len(self._waiting)

    @property
    def quiet(self) -> bool:
        """
        Whether there is nothing to tell the peer, nor to send to it.
        """
        return not (
            self.turns.waiting
            or self._credits
            or self.turns.ends
            or self._waiting
            or self.datagrams.waiting
        )

    def open(self, service: str, datagrams: bool = False) -> Stream:
        """
        @return: a stream that is opened when its turn has come.
        """
        stream = Stream(self, None, service, opener=True, datagrams=datagrams)
        if self.lost is not None:
            stream.fail(self.lost)
        else:
            self._waiting.append(stream)
            self._counted()
        return stream

    def openWaiting(self) -> None:
        """
        Open those whose turn it is.
        """
        core = self._core
        if self._waiting and self._endless:
            self._tidy()
        while self._waiting and self._opened < MAX_STREAMS and core.mayOpen():
            stream = self._waiting.popleft()
            stream.id = core.openStream()
            self._streams[stream.id] = stream
            self._opened += 1
            self.turns.add(stream)

    def takeFrames(self) -> list[Credit | Ends]:
        """
        @return: what the peer should be told of the bytes taken here, and of the
            ends of streams.
        """
        frames: list[Credit | Ends] = []
        step = Credit.LIMIT
        for kind, told in ((Credit, self._credits), (Ends, self.turns.ends)):
            pairs = list(told.items())
            told.clear()
            frames += [
                kind(tuple(pairs[i : i + step])) for i in range(0, len(pairs), step)
            ]
        return frames

    def credited(self, credit: Credit, rtt: float | None) -> None:
        """
        The peer tells of the bytes taken there.

        @raise ProtocolViolation: it took what was never sent.
        """
        for id, taken in credit.taken:
            stream = self._streams.get(id)
            if stream is not None:
                if not stream.outgoing.credit.granted(taken, rtt, self._core.now):
                    raise ProtocolViolation("The peer took more than there was.")
                self.turns.add(stream)

    def ended(self, ends: Ends) -> None:
        """
        The peer tells how long streams are.
        """
        for id, length in ends.sizes:
            stream = self._streams.get(id)
            if stream is not None:
                self._endsAt(stream, id, length)
            elif self._isTheirs(id) and len(self._lengths) < MAX_STREAMS:
                self._lengths[id] = length
        self._tidy()

    def eventReceived(self, event: StreamData | StreamReset | StreamStopped) -> None:
        """
        Something happened on a stream.

        @raise ProtocolViolation: the peer sends more than it may.
        """
        stream = self._streams.get(event.id) or self._begun(event)
        if isinstance(event, StreamReset) or (
            isinstance(event, StreamData) and event.end
        ):
            self._endless.pop(event.id, None)
        if stream is None:
            return
        if isinstance(event, StreamData):
            self.received += len(event.data)
            stream.dataCame(event.data, event.end)
            if stream.incoming.ended and not event.end:
                self._endless[event.id] = self._core.now
            if self.held > MAX_HELD:
                raise ProtocolViolation("The peer sends without credit.")
        elif isinstance(event, StreamReset):
            stream.peerReset()
        else:
            stream.peerStopped(event.code)

    def fail(self, reason: Exception) -> None:
        """
        Fail every stream, those that wait and those to come.
        """
        self.lost = reason
        self._credits.clear()
        for stream in [*self._streams.values(), *self._waiting]:
            stream.fail(reason)

    # --- for the streams ----------------------------------------------------

    def hasData(self, stream: Flow) -> None:
        """
        C{stream} has something to send, or has ended.
        """
        if isinstance(stream, Stream) and self.turns.add(stream):
            self._kick()

    def sendDatagram(self, stream: Flow, data: bytes) -> None:
        """
        Send a datagram beside the stream.

        @raise DatagramTooLarge: it does not fit.
        """
        assert isinstance(stream, Stream)
        self.datagrams.send(stream, data)
        self._kick()

    def datagramsWanted(self, stream: Flow) -> None:
        """
        Somebody takes what comes beside the stream.
        """
        assert isinstance(stream, Stream)
        self.datagrams.ready(stream)

    def tellTaken(self, id: int, taken: int) -> None:
        """
        The user of a stream has taken that many bytes.
        """
        self._credits[id] = taken
        self._kick()

    def reset(self, id: int, code: int) -> None:
        """
        Give up sending on a stream.
        """
        self._core.resetStream(id, code)
        self._kick()

    def stop(self, id: int, code: int) -> None:
        """
        Ask the peer to give up sending on a stream.
        """
        self._core.stopStream(id, code)
        self._kick()

    def forget(self, stream: Flow) -> None:
        """
        The stream is over.
        """
        assert isinstance(stream, Stream)
        if stream.id is not None:
            if self._streams.pop(stream.id, None) is not None and stream.opener:
                self._opened -= 1
            self._credits.pop(stream.id, None)
        elif stream in self._waiting:
            self._waiting.remove(stream)
        self._counted()

    # --- inside -------------------------------------------------------------

    def _endsAt(self, stream: Stream, id: int, length: int) -> None:
        before = stream.incoming.ended
        stream.endsAt(length)
        if stream.incoming.ended and not before:
            self._endless[id] = self._core.now

    def _tidy(self) -> None:
        """
        Have QUIC be done with streams whose end seems to be lost, lest they count
        for ever among those that may be open.
        """
        now = self._core.now
        for id, since in list(self._endless.items()):
            if now - since >= ENDLESS:
                del self._endless[id]
                self._core.stopStream(id, CLOSED)

    def _streamOf(self, id: int) -> Stream | None:
        return self._streams.get(id)

    def _counted(self) -> None:
        self.later(lambda: self.onCount(self.count))

    def _isTheirs(self, id: int) -> bool:
        """
        @return: whether that is a stream that the peer has yet to begin.
        """
        return id & 3 == (1 if self._core.isClient else 0) and id > self._highest

    def _begun(self, event: StreamData | StreamReset | StreamStopped) -> Stream | None:
        """
        @return: the stream that the peer begins with this event, if it does.
        """
        id = event.id
        if self._isTheirs(id):
            # What lies between has begun, too, but nothing of it came yet.
            first = id & 3 if self._highest < 0 else self._highest + 4
            for other in range(first, id + 4, 4):
                begun = self._streams[other] = Stream(self, other, "", opener=False)
                begun.incoming.length = self._lengths.pop(other, None)
            self._highest = id
            self._counted()
            return self._streams[id]
        if isinstance(event, StreamData) and not event.end and id & 3 > 1:
            # A kind of stream that a later version may know.
            self._core.stopStream(id, FAULT)
        return None
