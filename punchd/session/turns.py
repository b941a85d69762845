"""
Whose bytes QUIC gets next, and how long they take.
"""

from __future__ import annotations

from collections import deque

from .quic import QuicCore
from .stream import Stream

#: What QUIC may hold that it has not sent once, of all streams: little, for
#: what is there can neither be taken back nor overtaken by our own choice.
BUFFER = 256 << 10

#: What it may hold of one stream even when the others fill that.
SHARE = 16 << 10

#: Seconds between measurements of the round-trip time while data flows, and
#: after which one is given up.
PROBE = 1.0
GIVE_UP = 10.0


class Turns:
    """
    Takes from each stream in turn.

    @ivar sent: bytes taken since the session began.
    @ivar ends: the lengths of the streams whose end went alone lately, by id.
    """

    def __init__(self, core: QuicCore) -> None:
        self.sent = 0
        self.ends: dict[int, int] = {}
        self._core = core
        self._round: deque[Stream] = deque()

    @property
    def waiting(self) -> bool:
        """
        Whether any stream may have something to send.
        """
        return bool(self._round)

    def add(self, stream: Stream) -> bool:
        """
        C{stream} has something to send.

        @return: whether that is news.
        """
        if stream.queued or stream.id is None or not stream.sendable():
            return False
        stream.queued = True
        self._round.append(stream)
        return True

    def fill(self, budget: int | None) -> bool:
        """
        Hand over as much as QUIC should have.

        @param budget: how many bytes may be sent in all since the session
            began, if there is a limit.

        @return: whether anything was handed over.
        """
        if not self._round:
            return False
        core = self._core
        total = core.sendBufferSize()
        share = max(SHARE, BUFFER // len(self._round))
        moved = False
        for _ in range(len(self._round)):
            stream = self._round.popleft()
            if stream.id is None or not stream.sendable():
                stream.queued = False
                continue
            self._round.append(stream)
            limit = share if total < BUFFER else SHARE
            room = limit - core.sendBufferSize(stream.id)
            if budget is not None:
                room = min(room, budget - self.sent)
            if room <= 0:
                continue
            data, end = stream.take(room)
            self.sent += len(data)
            total += len(data)
            moved = True
            if end and not data:
                self.ends[stream.id] = stream.outgoing.credit.sent
            if not core.sendStream(stream.id, data, end):
                stream.peerStopped()
            if not stream.sendable():
                # It is the last one of the round now.
                self._round.pop()
                stream.queued = False
        return moved


class RoundTrip:
    """
    The smallest round-trip time lately, by QUIC's pings.

    @ivar seconds: that, if known.
    @ivar latest: the round trip measured last, if any.
    """

    def __init__(self, core: QuicCore) -> None:
        self.seconds: float | None = None
        self.latest: float | None = None
        self._core = core
        self._uid: int | None = None
        self._since = -PROBE
        self._samples: deque[float] = deque(maxlen=8)

    def measure(self) -> None:
        """
        Data is flowing: measure again if the last time is long ago.
        """
        now = self._core.now
        if now - self._since >= (PROBE if self._uid is None else GIVE_UP):
            self._since = now
            self._uid = self._core.ping()

    def acknowledged(self, uid: int) -> bool:
        """
        A ping was acknowledged.

        @return: whether it was ours.
        """
        if uid != self._uid:
            return False
        self._uid = None
        self.told(self._core.now - self._since)
        return True

    def told(self, seconds: float) -> None:
        """
        Somebody knows a round-trip time.
        """
        self.latest = max(seconds, 0.0001)
        self._samples.append(self.latest)
        self.seconds = min(self._samples)

    def forget(self) -> None:
        """
        The path is another one.
        """
        self._samples.clear()
        self._uid = None
        self._since = -PROBE
