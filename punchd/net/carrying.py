"""
The UDP ports of a relay: what comes is sent on at once where the relay has said in
advance what it would do with it (L{punchd.turn.ways}), and brought to the relay
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from punchd.core import Address, Burst
from punchd.turn.ways import Way

from . import ancillary
from .gso import batchSender
from .lanes import HEAD, HEADER, Lane
from .receiving import NAME, NAMES, SLOTS, STRIDE, parsed
from .reports import ReportingPort
from .sending import SEGMENTS
from .udp import BATCH, READS, Run, UDPPort

_NO_LANES: Final[dict[Any, Any]] = {}


class Carrier(UDPPort):
    """
    I am such a port.

    @ivar lanes: those that begin here.
    """

    __slots__ = ("_turn", "lanes")

    _reader: Any
    _reactor: Any
    #: Who sends batches on.
    batches: Any = batchSender(UDPPort._reader)

    def __init__(self, crowd: Any, *words: Any, **options: Any) -> None:
        """
        @param crowd: a L{punchd.net.crowd.Crowd}.
        """
        super().__init__(crowd, *words, **options)
        self.lanes: dict[Any, Any] = _NO_LANES
        self._turn = 0

    @property
    def receiver(self) -> Any:
        """
        Who takes what I do not send on.
        """
        return self._receiver

    def read(self) -> list[Run]:
        """
        Read a bounded batch, and send on of it what can be.

        @return: the rest.
        """
        # One datagram is read for less by plain calls; who has some in two turns that
        # follow each other has more.
        crowd = self._reactor
        turn, self._turn = self._turn, crowd.turn
        if self._slots > 1 or turn == crowd.turn - 1:
            return self._readMany()
        try:
            length, controls, _, remote = self._socket.recvmsg_into(
                self._reader.first, ancillary.SPACE
            )
        except BlockingIOError:
            self._idle()
            return []
        except OSError as e:
            self._failed(e)
            return []
        segment, value = length, b""
        if controls:
            segment, value, overflow = parsed(length, controls)
            if overflow:
                self.counters["receive overflow"] = overflow
        if len(remote) > 2:
            remote = remote[:2]
        if segment < length:
            if self._carries(0, length, segment, remote, value):
                return []
        elif self._carriesOne(length, remote, value, crowd.now):
            return []
        runs: list[Run] = []
        self._left(runs, 0, length, segment, remote, value)
        return runs

    def _readMany(self) -> list[Run]:
        runs: list[Run] = []
        reader, width = self._reader, NAMES[self.family]
        total, left = 0, READS
        coalesced = False
        slots = self._slots if self._slots > 1 else SLOTS
        while left > 0 and total < BATCH:
            slots = min(slots, left)
            try:
                count = reader.fill(self._socket, slots)
            except BlockingIOError:
                if not total:
                    self._idle()
                break
            except OSError as e:
                self._failed(e)
                left -= 1
                continue
            names, lengths, controlled = reader.names, reader.lengths, reader.controlled
            remotes = reader.remotes
            at = start = 0
            for slot in range(count):
                length = segment = lengths[slot]
                name = names[at : at + width]
                remote = remotes.get(name) or reader.remember(name)
                value = b""
                if controlled[slot]:
                    segment, value = reader.told(slot, length)
                    if segment < length:
                        coalesced = True
                        total += length // segment
                if not self._carries(start, length, segment, remote, value):
                    self._left(runs, start, length, segment, remote, value)
                at += NAME
                start += STRIDE
            if reader.overflow:
                self.counters["receive overflow"] = reader.overflow
            total += count
            left -= count
            if count < slots:
                break
        # A batch at a time goes through memory that is in the cache.
        self._slots = 1 if coalesced or total <= 1 else SLOTS
        return runs

    def _failed(self, error: OSError) -> None:
        """
        There was an ICMP error for what was sent before; reading goes on.
        """
        self.counters["receive " + ancillary.errorName(error)] += 1
        self._idle()

    def _left(
        self,
        runs: list[Run],
        start: int,
        length: int,
        segment: int,
        remote: Address,
        value: bytes,
    ) -> None:
        """
        Add to the runs what is there.
        """
        local = self._host
        if value:
            local = self._locals.get(value) or self._localOf(value)
        data, end = self._reader.data, start + length
        # An empty datagram is one, too.
        cut = [
            bytes(data[at : min(at + segment, end)])
            for at in range(start, max(end, start + 1), segment or 1)
        ]
        if runs and runs[-1][1:] == (local, remote):
            runs[-1][0].extend(cut)
        else:
            runs.append((cut, local, remote))

    def _carries(
        self, start: int, length: int, segment: int, remote: Address, value: bytes
    ) -> bool:
        """
        @param start: where it is in what was read.
        @param length: of it, in bytes.
        @param segment: of each datagram in it but the last, which may be shorter.
        @param value: of the packet information.

        @return: whether it is on its way, or about to be.
        """
        raise NotImplementedError

    def _carriesOne(
        self, length: int, remote: Address, value: bytes, now: float
    ) -> bool:
        """
        @see: L{_carries}; it is a single datagram, and at the beginning.
        """
        raise NotImplementedError

    # --- lanes

    def learn(self, runs: Sequence[Run]) -> None:
        """
        The relay has had these: ask it what it would do with more like them.
        """
        raise NotImplementedError

    def _learn(self, key: Any, local: Address, remote: Address, number: int) -> None:
        before = self.lanes.get(key)
        if self._closed or (
            before is not None and before.way.until > self._reactor.now
        ):
            return
        found = self._receiver.wayFor(local, remote, number)
        if found is None:
            return
        way: Way = found[0]
        try:
            lane = Lane(way, found[1])
        except OSError:
            return
        if self.lanes is _NO_LANES:
            self.lanes = {}
        self.lanes[key] = lane
        way.ended = partial(self._forget, key)

    def _forget(self, key: Any) -> None:
        self.lanes.pop(key, None)

    # --- for lanes that end here

    def sendPrepared(
        self,
        data: bytes | memoryview,
        control: list[ancillary.Control],
        remote: Address,
    ) -> bool:
        """
        Send one datagram.

        @param control: from L{punchd.net.sending.Sender.controlFor}.

        @return: whether that was done; L{sendMany} finds out why not.
        """
        if self._queue:
            return False
        try:
            if control:
                self._socket.sendmsg((data,), control, 0, remote)
            else:
                self._socket.sendto(data, remote)
        except OSError:
            return False
        return True

    def sendRun(
        self,
        payloads: list[bytes],
        local: Address,
        control: list[ancillary.Control],
        remote: Address,
    ) -> None:
        """
        Send several datagrams.

        @param local: where they leave from, as C{control} says.
        """
        first, count = len(payloads[0]), len(payloads)
        done = 0
        if not self.sender.segmenting:
            for data in payloads:
                if not self.sendPrepared(data, control, remote):
                    break
                done += 1
        elif list(map(len, payloads)).count(first) == count <= SEGMENTS:
            size = first * count
            if not self._queue and self.sender.sendSegments(
                payloads, first, size, control, remote
            ):
                done = count
        if done < count:
            self.sendMany(Burst(payloads[done:], local, remote))

    def segments(self, segment: int, size: int) -> bool:
        """
        @param segment: of each datagram, in bytes.
        @param size: of a batch of them.

        @return: whether it may be sent as one, by L{batches}.
        """
        return not self._queue and self.sender.segments(segment, size)


class ListeningPort(Carrier):
    """
    Clients send to me.
    """

    __slots__ = ()

    def _carries(
        self, start: int, length: int, segment: int, remote: Address, value: bytes
    ) -> bool:
        if length < HEADER:
            return False
        data, crowd = self._reader.data, self._reactor
        number, size = HEAD.unpack_from(data, start)
        lane = self.lanes.get((remote, number, value) if value else (remote, number))
        if lane is None:
            return False
        if segment < length:
            done: bool = lane.outward(data, start, length, segment, crowd.now)
            return done
        if size > length - HEADER or len(lane.pending) >= lane.room:
            if size > length - HEADER or not lane.boards(crowd):
                return False
        end = start + HEADER + size
        if lane.head:
            lane.pending.append(lane.head + data[start + 2 : end])
        else:
            lane.pending.append(bytes(data[start + HEADER : end]))
        return True

    def _carriesOne(
        self, length: int, remote: Address, value: bytes, now: float
    ) -> bool:
        if length < HEADER:
            return False
        data = self._reader.data
        number, size = HEAD.unpack_from(data)
        lane = self.lanes.get((remote, number, value) if value else (remote, number))
        if lane is None or size > length - HEADER:
            return False
        end = HEADER + size
        framed = lane.head + data[2:end] if lane.head else data[HEADER:end]
        done: bool = lane.carries(framed, size, now)
        return done

    def learn(self, runs: Sequence[Run]) -> None:
        """
        @see: L{Carrier.learn}.
        """
        for payloads, local, remote in runs:
            data = payloads[-1]
            if len(data) >= HEADER and 0x40 <= data[0] < 0x80:
                number = data[0] << 8 | data[1]
                key: Any = remote, number
                for value, each in self._locals.items():
                    if each == local:
                        key = remote, number, value
                self._learn(key, local, remote, number)


class RelayedPort(Carrier, ReportingPort):
    """
    Peers send to me.
    """

    __slots__ = ()

    def _carries(
        self, start: int, length: int, segment: int, remote: Address, value: bytes
    ) -> bool:
        lane = self.lanes.get(remote)
        if lane is None:
            return False
        data, crowd = self._reader.data, self._reactor
        if segment < length:
            done: bool = lane.inward(data, start, length, segment, crowd.now)
            return done
        if len(lane.pending) >= lane.room and not lane.boards(crowd):
            return False
        prefix = lane.prefix if length == lane.size else lane.prefixFor(length)
        lane.pending.append(prefix + data[start : start + length])
        return True

    def _carriesOne(
        self, length: int, remote: Address, value: bytes, now: float
    ) -> bool:
        lane = self.lanes.get(remote)
        if lane is None:
            return False
        prefix = lane.prefix if length == lane.size else lane.prefixFor(length)
        done: bool = lane.carries(prefix + self._reader.data[:length], length, now)
        return done

    def learn(self, runs: Sequence[Run]) -> None:
        """
        @see: L{Carrier.learn}.
        """
        for _, local, remote in runs:
            self._learn(remote, local, remote, 0)


def possible() -> bool:
    """
    @return: whether the system has what they are made of.
    """
    return Carrier.batches is not None
