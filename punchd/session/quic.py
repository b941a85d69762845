"""
QUIC as a core object.

QUIC sees one constant, virtual address for life; which path carries its
datagrams is decided in L{punchd.session.paths}.  The rules that were learned
about the library's limits live here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from punchd.core import Address, Burst, Datagram
from punchd.errors import DatagramTooLarge
from punchd.identity import Identity

from .backend import Backend, Connection, Qh3
from .events import (
    Event,
    HandshakeCompleted,
    PingAcknowledged,
    Terminated,
    translate,
)
from .nudge import FIRST, Nudge
from .packet import destination, isInitial
from .sent import Sent
from .source import Nothing, Source

#: The only address QUIC ever sees, on either side.
VIRTUAL: Address = ("192.0.2.1", 443)

#: The longest DATAGRAM frame's payload: a longer one would not fit into a
#: datagram beside the header and stall the connection for good.
MAX_DATAGRAM = 1170

#: Handshakes that run side by side until one completes, on a listener: who can
#: only forge a source address cannot keep the dialler out.
_HALF_OPEN = 4

#: The ping that goes with the end of the handshake; others begin at 1.
_ARRIVED = 0

#: Datagrams a drain gives at most; the rest follows at once.
_BATCH = 512


class QuicCore:
    """
    One QUIC connection, a core object (L{punchd.core.Core}).

    @ivar now: the latest time that was told, in monotonic seconds.
    @ivar source: who is asked for stream data when there is room for it.
    @ivar sent: the datagrams sent last.
    @ivar counters: what was dropped, by reason.
    """

    def __init__(self, identity: Identity | None, backend: Backend) -> None:
        self.now = 0.0
        self.source: Source = Nothing()
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._backend = backend
        self._connection: Connection | None = None
        self._halfOpen: dict[bytes, Connection] = {}
        self._events: list[Event] = []
        self._resend: list[bytes] = []
        self.sent = Sent()
        self._pings = 0
        self._dirty = False
        self._work = False
        self._closing = False
        self._nudge = Nudge()

    @classmethod
    def client(cls, backend: Backend | None = None) -> QuicCore:
        """
        The dialler's end.
        """
        return cls(None, backend or Qh3())

    @classmethod
    def server(cls, identity: Identity, backend: Backend | None = None) -> QuicCore:
        """
        The listener's end; it shows C{identity}'s certificate.
        """
        return cls(identity, backend or Qh3())

    @property
    def isClient(self) -> bool:
        """
        Whether this is the dialler's end.
        """
        return self._identity is None

    # --- handlers -----------------------------------------------------------

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        A datagram came, on whichever path.
        """
        self.datagramsReceived((data,), now)

    def datagramsReceived(self, datagrams: Sequence[bytes], now: float) -> None:
        """
        Several datagrams came at once; cheaper than one by one.
        """
        self.note(now)
        self._work = True
        connection = self._connection
        if connection is not None:
            self._guarded(
                self._backend.receiveMany, connection, datagrams, VIRTUAL, self.now
            )
        elif self._identity is None:
            self.counters["early"] += len(datagrams)
            return
        else:
            for data in datagrams:
                self._handshake(data, self._identity)
        self.source.due(self.now)

    def timeReached(self, now: float) -> None:
        """
        The deadline has passed.
        """
        self.note(now)
        for connection in self._all():
            timer = connection.get_timer()
            if timer is not None and timer <= self.now:
                self._work = True
                self._guarded(connection.handle_timer, self.now)
        if self._nudge.reached(self.now):
            self._resend = self.sent.latest()
        self.source.due(self.now)

    def _handshake(self, data: bytes, identity: Identity) -> None:
        # Before a handshake has completed there may be several.
        if self._connection is not None:
            self._guarded(self._connection.receive_datagram, data, VIRTUAL, self.now)
            return
        cid = destination(data)
        if cid is None:
            self.counters["garbage"] += 1
            return
        connection = self._halfOpen.get(cid)
        if connection is None:
            connection = next(
                (c for c in self._halfOpen.values() if c.host_cid == cid), None
            )
        if connection is None:
            if not isInitial(data) or len(self._halfOpen) >= _HALF_OPEN:
                self.counters["stray"] += 1
                return
            connection = self._backend.server(identity, cid)
            self._halfOpen[cid] = connection
        elif self.now - self.sent.at >= FIRST:
            # The dialler misses something (RFC 9002, 6.2.3).
            self._resend = self.sent.latest()
            self.sent.at = self.now
        self._guarded(connection.receive_datagram, data, VIRTUAL, self.now)
        events = list(iter(connection.next_event, None))
        names = {type(event).__name__ for event in events}
        if "HandshakeCompleted" in names:
            self._connection = connection
            self._halfOpen.clear()
            self._record(events)
        elif "ConnectionTerminated" in names:
            self._halfOpen = {
                k: c for k, c in self._halfOpen.items() if c is not connection
            }

    # --- commands -----------------------------------------------------------

    def note(self, now: float) -> None:
        """
        Tell the time before commands that come from elsewhere than the driver,
        lest packets seem to be sent when the core was last awake.
        """
        self.now = max(self.now, now)
        self._dirty = True

    def start(self, now: float) -> None:
        """
        Begin the handshake; the dialler only.
        """
        self.note(now)
        connection = self._backend.client()
        connection.connect(VIRTUAL, self.now)
        self._connection = connection
        self._work = True
        self._nudge.start(self.now)

    def openStream(self) -> int:
        """
        Open a bidirectional stream, see L{mayOpen}.

        @return: its id.
        """
        return self._open(False)

    def openControl(self) -> int:
        """
        Open the unidirectional stream for L{punchd.session.control}.

        @return: its id.
        """
        return self._open(True)

    def mayOpen(self) -> bool:
        """
        @return: whether the peer lets us open one more bidirectional stream.
        """
        connection = self._connection
        if connection is None:
            return False
        opened = connection.get_next_available_stream_id() // 4
        return opened < self._backend.streamLimit(connection)

    def sendStream(self, id: int, data: bytes, end: bool = False) -> bool:
        """
        Queue bytes on a stream; keep L{sendBufferSize} small.

        @return: whether the stream still takes any.
        """
        return self._guarded(self._live().send_stream_data, id, data, end)

    def resetStream(self, id: int, code: int) -> None:
        """
        Give up sending on a stream, dropping what is not acknowledged.
        """
        self._guarded(self._live().reset_stream, id, code)

    def stopStream(self, id: int, code: int) -> None:
        """
        Ask the peer to give up sending on a stream.
        """
        self._guarded(self._live().stop_stream, id, code)

    def sendDatagram(self, data: bytes) -> None:
        """
        Queue a DATAGRAM frame (RFC 9221).

        @raise DatagramTooLarge: there are more than L{MAX_DATAGRAM} bytes.
        """
        if len(data) > MAX_DATAGRAM:
            raise DatagramTooLarge(
                f"A datagram has at most {MAX_DATAGRAM} bytes, not {len(data)}."
            )
        self._guarded(self._live().send_datagram_frame, data)

    def ping(self) -> int:
        """
        Have the peer acknowledge something.

        @return: the number that L{PingAcknowledged} will carry.
        """
        self._pings += 1
        self._guarded(self._live().send_ping, self._pings)
        return self._pings

    def resend(self, now: float) -> None:
        """
        Send the last datagrams again, and a ping: when the path has changed or
        has come back, instead of waiting for the back-off.
        """
        self.note(now)
        self._resend = self.sent.latest()
        if self._connection is not None:
            self.ping()

    def close(self, code: int, reason: str, now: float) -> None:
        """
        Say that the connection is over, after what can be sent at once.
        """
        self.note(now)
        self._resend += self._collect()
        for connection in self._all():
            self._guarded(connection.close, code, None, reason)
        self._work = self._closing = True

    def sendBufferSize(self, id: int | None = None) -> int:
        """
        @return: bytes of a stream, or of all, that QUIC has not sent once yet.
        """
        if self._connection is None:
            return 0
        return self._backend.sendBufferSize(self._connection, id)

    # --- drains -------------------------------------------------------------

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: what to send now, over whichever path; nothing while there are
            events, for what they lead to fits into the same datagrams.
        """
        if self._news() and not self._closing:
            return []
        out = self._resend
        self._resend = []
        self._dirty = False
        while len(out) < _BATCH:
            filled = self.source.fill()
            batch = self._collect()
            out += batch
            if not (filled and batch):
                break
        else:
            self._dirty = True
        return Burst(out, None, VIRTUAL) if out else []

    def takeEvents(self) -> list[Event]:
        """
        @return: what happened, the data of each stream joined.
        """
        events, self._events = self._news(), []
        return events

    def deadline(self) -> float | None:
        """
        @return: when L{timeReached} wants to be called.
        """
        if self._dirty or self._resend:
            return self.now
        times = [connection.get_timer() for connection in self._all()]
        times += (self.source.deadline(), self._nudge.deadline)
        return min((time for time in times if time is not None), default=None)

    # --- inside -------------------------------------------------------------

    def _all(self) -> Iterable[Connection]:
        if self._connection is not None:
            return (self._connection,)
        return tuple(self._halfOpen.values())

    def _live(self) -> Connection:
        assert self._connection is not None, "no connection yet"
        self._dirty = self._work = True
        return self._connection

    def _open(self, unidirectional: bool) -> int:
        connection = self._live()
        id = connection.get_next_available_stream_id(is_unidirectional=unidirectional)
        # Only the first write makes it known.
        connection.send_stream_data(id, b"", False)
        return id

    def _guarded(self, f: Callable[..., object], *args: object) -> bool:
        # The library raises for a stream that the peer has ended meanwhile, and
        # must not be trusted to swallow all garbage either.
        try:
            f(*args)
        except Exception as e:
            self.counters[type(e).__name__] += 1
            return False
        return True

    def _collect(self) -> list[bytes]:
        out: list[bytes] = []
        if not self._work:
            # To ask in vain costs qh3's pacer what a datagram would.
            return out
        self._work = False
        for connection in self._all():
            try:
                out += self._backend.datagramsToSend(connection, self.now)
            except Exception as e:
                self.counters[type(e).__name__] += 1
        if out:
            self.sent.add(out, self.now)
        return out

    def _news(self) -> list[Event]:
        if self._connection is not None:
            self._record(iter(self._connection.next_event, None))
        return self._events

    def _record(self, events: Iterable[Any]) -> None:
        for event in translate(events, self._peerKey):
            if event == PingAcknowledged(_ARRIVED):
                self._nudge.stop()
                continue
            if isinstance(event, Terminated):
                self._nudge.stop()
            elif isinstance(event, HandshakeCompleted):
                self._guarded(self._live().send_ping, _ARRIVED)
                self._nudge.start(self.now)
            self._events.append(event)

    def _peerKey(self) -> bytes | None:
        if self._connection is None or self._identity is not None:
            return None
        return self._backend.peerKey(self._connection)
