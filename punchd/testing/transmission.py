"""
Simulated TCP: sequence numbers, acknowledgements, windows, retransmission.

It follows RFC 9293 and RFC 6298 as far as an application can tell: reliable
and ordered octets, a bounded window, back-off when nothing comes back, FIN and
RST.  There is no congestion control, and segments are accepted whole.
"""

from __future__ import annotations

from collections import deque
from errno import ECONNREFUSED, ECONNRESET, ETIMEDOUT
from typing import TYPE_CHECKING

from punchd.core import Address

from .packet import Flags, Packet, Segment
from .roundtrip import RoundTrip, Sent

if TYPE_CHECKING:
    from .host import Host
    from .timedcall import TimedCall

SYN, ACK, FIN, RST, PROBE = Flags.SYN, Flags.ACK, Flags.FIN, Flags.RST, Flags.PROBE

#: The receive and the send buffer, octets.
BUFFER = 256 * 1024

#: Octets in a segment, between hosts and within one.
SEGMENT_SIZE = 1400
LOOPBACK_SEGMENT_SIZE = 32 * 1024

#: Linux: tcp_syn_retries and tcp_retries2.
SYN_RETRIES = 6
DATA_RETRIES = 15


class Transmission:
    """
    One end of a TCP connection, without the socket around it.

    @ivar state: C{"closed"}, C{"listen"}, C{"syn-sent"}, C{"syn-received"} or
        C{"established"}; closing is told by C{finished} and C{ended}.
    @ivar finished: whether we shall send nothing more.
    @ivar ended: whether the other side has sent everything.
    @ivar error: the errno that ended the connection, or 0.
    @ivar userTimeout: the seconds after which it ends when nothing is acknowledged
        (RFC 5482), 0 for a number of attempts.
    """

    def __init__(self, machine: Host) -> None:
        self.machine = machine
        self.clock = machine.network.clock
        self.local: Address = ("", 0)
        self.remote: Address = ("", 0)
        self.state = "closed"
        self.error = 0
        self.userTimeout = 0.0
        self.finished = False
        self.ended = False
        self.outgoing = bytearray()
        self.received = bytearray()
        self._sent: deque[Sent] = deque()
        self._early: dict[int, Segment] = {}
        self._una = self._nxt = 0
        self._rcv = 0
        self._peerInitial = -1
        self._peerWindow = BUFFER
        self._finSent = False
        self._recover = 0
        self._retries = 0
        self._roundTrip = RoundTrip()
        self._timer: TimedCall | None = None
        self._ackDue = False
        self._edge = 0
        self._segmentSize = SEGMENT_SIZE

    def woken(self) -> None:
        """
        Something that an application can notice has changed.
        """
        raise NotImplementedError

    # --- opening and closing ------------------------------------------------

    def start(self, local: Address, remote: Address, state: str) -> None:
        """
        Send the first SYN, C{"syn-sent"}, or answer one, C{"syn-received"}.
        """
        self.local = local
        self.remote = remote
        self.state = state
        if local[0] == remote[0] or remote[0] in self.machine.addresses:
            self._segmentSize = LOOPBACK_SEGMENT_SIZE
        self._una = self._nxt = self.machine.initialSequence()
        self._push(SYN if state == "syn-sent" else SYN | ACK)

    def fail(self, error: int) -> None:
        """
        End at once, for the reason C{error}.
        """
        if self.state != "closed":
            self.error = error
            self._end()
            self.woken()

    def _end(self) -> None:
        self.state = "closed"
        self._sent.clear()
        self.outgoing.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.machine.forgetStream(self)

    def reset(self) -> None:
        """
        Break the connection off and tell the other side.
        """
        if self.state in ("established", "syn-received"):
            self._transmit(RST | ACK, self._nxt)
        self._end()

    def finish(self) -> None:
        """
        Send what is left, and then that this was all.
        """
        self.finished = True
        self._pump()

    # --- sending ------------------------------------------------------------

    def room(self) -> int:
        """
        @return: how many octets may be given to send.
        """
        return BUFFER - len(self.outgoing) - (self._nxt - self._una)

    def _transmit(
        self, flags: int, sequence: int, data: bytes = b"", held: int = -1
    ) -> None:
        self._ackDue = False
        window = max(0, BUFFER - len(self.received))
        self._edge = self._rcv + window
        segment = Segment(flags, sequence, self._rcv, window, data, held)
        headers = 40 if ":" not in self.local[0] else 60
        self.machine.send(
            Packet("tcp", self.local, self.remote, segment, len(data) + headers)
        )

    def _push(self, flags: int, data: bytes = b"") -> None:
        sent = Sent(flags, self._nxt, data, self.clock.seconds())
        self._nxt = sent.end
        self._sent.append(sent)
        self._transmit(flags, sent.sequence, data)
        self._arm()

    def _pump(self) -> None:
        """
        Send what the window lets.
        """
        if self.state != "established":
            return
        outgoing = self.outgoing
        while outgoing:
            window = self._una + self._peerWindow - self._nxt
            if window <= 0:
                break
            size = min(self._segmentSize, window, len(outgoing))
            data = bytes(outgoing[:size])
            del outgoing[:size]
            self._push(ACK, data)
        if self.finished and not self._finSent and not outgoing:
            self._finSent = True
            self._push(ACK | FIN)
        if outgoing and not self._sent:
            self._arm()

    def _timeout(self) -> float:
        return self._roundTrip.timeout(self.state != "established", self._retries)

    def _arm(self, again: bool = False) -> None:
        if not (self._sent or self.outgoing):
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
        elif self._timer is None or not self._timer.active():
            self._timer = self.clock.callLaterFor(None, self._timeout(), self._expired)
        elif again:
            self._timer.reset(self._timeout())

    def _expired(self) -> None:
        """
        Nothing has come back in time, RFC 6298, section 5.
        """
        self._retries += 1
        if self._isHopeless():
            self.fail(ETIMEDOUT)
        elif self._sent:
            self._recover = self._nxt
            self._again(self._sent[0])
            self._arm()
        else:
            # The window is closed, and an update may have been lost.
            self._transmit(ACK | PROBE, self._nxt)
            self._arm()

    def _isHopeless(self) -> bool:
        if self.userTimeout and self._sent:
            waited = self.clock.seconds() - self._sent[0].time
            return waited >= self.userTimeout
        opening = self.state != "established"
        return self._retries > (SYN_RETRIES if opening else DATA_RETRIES)

    def _again(self, sent: Sent) -> None:
        sent.again = True
        flags = sent.flags
        if self.state == "syn-received":
            flags |= ACK
        self._transmit(flags, sent.sequence, sent.data)

    # --- receiving ----------------------------------------------------------

    def isNewOpening(self, segment: Segment) -> bool:
        """
        @return: whether C{segment} opens another connection than this one, as
            after a restart of the other host.
        """
        return (
            bool(segment.flags & SYN)
            and not segment.flags & ACK
            and self.state != "syn-sent"
            and segment.sequence != self._peerInitial
        )

    def segmentReceived(self, segment: Segment) -> None:
        """
        A segment of this connection has come.
        """
        flags = segment.flags
        if self.state == "syn-sent":
            self._opened(segment)
            return
        if flags & RST:
            self.fail(ECONNRESET)
            return
        if flags & ACK:
            self._acknowledged(segment)
        if flags & SYN:
            # Our answer was lost, or this is a simultaneous open.
            if self.state == "syn-received" and not flags & ACK:
                self._again(self._sent[0])
            else:
                self._ackSoon()
        elif segment.data or flags & FIN:
            self._accept(segment)
        elif flags & PROBE:
            self._ackSoon()
        if self.state != "closed":
            self._pump()
            self._finishIfDone()
        self.woken()

    def _opened(self, segment: Segment) -> None:
        """
        Something has come for our SYN, RFC 9293, section 3.10.7.3.
        """
        flags = segment.flags
        if flags & RST:
            self.fail(ECONNREFUSED)
        elif flags & SYN:
            self.answered(segment)
            if flags & ACK:
                self._acknowledged(segment)
                self._ackSoon()
            else:
                self.state = "syn-received"
                self._again(self._sent[0])
            self.woken()

    def answered(self, segment: Segment) -> None:
        """
        Note where the other side's numbers begin.
        """
        self._peerInitial = segment.sequence
        self._rcv = segment.sequence + 1

    def _acknowledged(self, segment: Segment) -> None:
        number = segment.acknowledgement
        if number > self._nxt or number < self._una:
            return
        if self.state in ("syn-sent", "syn-received") and number > self._una:
            self.state = "established"
            self.established()
            if self.state == "closed":  # by who accepted it
                return
        if number > self._una:
            sent, again = self._sent[0], False
            while self._sent and self._sent[0].end <= number:
                sent = self._sent.popleft()
                again |= sent.again
            if not again:
                self._roundTrip.measured(self.clock.seconds() - sent.time)
            self._una = number
            self._retries = 0
            if self._sent and number < self._recover:
                self._again(self._sent[0])
            self._arm(again=True)
        if segment.held >= 0:
            self._held(segment.held)
        self._peerWindow = segment.window

    def _held(self, number: int) -> None:
        """
        The other side holds the segment C{number}: send again what it should
        have had three segments before, RFC 6675.
        """
        for sent in self._sent:
            if sent.sequence >= number:
                sent.held |= sent.sequence == number
                break
            if not sent.held and not sent.again:
                sent.skipped += 1
                if sent.skipped == 3:
                    self._again(sent)

    def established(self) -> None:
        """
        The connection is open.
        """

    def _accept(self, segment: Segment) -> None:
        """
        Put data in its place.
        """
        if segment.sequence > self._rcv:
            self._early[segment.sequence] = segment
            # At once and one for each, for the sender counts them.
            self._transmit(ACK, self._nxt, held=segment.sequence)
            return
        waiting: Segment | None = segment
        while waiting is not None:
            if waiting.sequence == self._rcv:
                self._rcv += len(waiting.data)
                self.received += waiting.data
                if waiting.flags & FIN:
                    self._rcv += 1
                    self.ended = True
            waiting = self._early.pop(self._rcv, None)
        self._ackSoon()

    def _ackSoon(self) -> None:
        """
        Acknowledge at the end of this instant, unless something that is sent
        before does.
        """
        if not self._ackDue:
            self._ackDue = True
            self.clock.schedule(0, self._ackNow, ())

    def _ackNow(self) -> None:
        if self._ackDue and self.state != "closed":
            self._transmit(ACK, self._nxt)

    def taken(self) -> None:
        """
        The application has taken data: tell the other side when that opens the
        window again.
        """
        edge = self._rcv + BUFFER - len(self.received)
        if edge - self._edge >= BUFFER // 4 and self.state == "established":
            self._transmit(ACK, self._nxt)

    def _finishIfDone(self) -> None:
        if self._finSent and not self._sent and self.ended:
            if self._ackDue:
                self._ackNow()
            self._end()
