"""
How datagrams leave through one socket: singly, or in runs that the kernel cuts
into datagrams (UDP_SEGMENT, "GSO"), from a chosen address and with a chosen hop
limit.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from punchd.core import Address, Burst, Datagram

from . import ancillary

#: UDP_MAX_SEGMENTS of linux/udp.h when it was new; and less than the greatest
#: payload of a datagram, for both families.
SEGMENTS = 64
SEGMENTED = 65000

#: What the smallest MTU of IPv6 leaves to a payload: a run of smaller segments
#: that the kernel calls invalid is not too big for the path.
SAFE_SEGMENT = 1232

_GSO_ERRORS = {errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP}
#: What is known of addresses is shared by all sockets: a relay has thousands.
_CACHED = 4096
_REMOTES: dict[int, set[Address]] = {4: set(), 6: set()}
_CONTROLS: dict[int, dict[tuple[str, int | None], list[ancillary.Control]]] = {
    4: {},
    6: {},
}
_NO_CONTROL: list[ancillary.Control] = []
# One for each size there is, at most SEGMENTED.
_SEGMENT_CONTROLS: dict[int, ancillary.Control] = {}


class Sender:
    """
    I send datagrams through a non-blocking UDP socket.  What the network has to
    complain about is swallowed and counted.

    @ivar reports: errors that may be about earlier datagrams.
    """

    __slots__ = (
        "_choosesSource",
        "_controls",
        "_counters",
        "_family",
        "_hopLimitByOption",
        "_remotes",
        "_segmentLimit",
        "_socket",
        "reports",
    )

    def __init__(
        self,
        sock: socket.socket,
        family: int,
        counters: Counter[str],
        *,
        offload: bool = True,
        choosesSource: bool = True,
    ) -> None:
        """
        @param family: 4 or 6.
        @param counters: where to count.
        @param offload: whether to use GSO where the kernel has it.
        @param choosesSource: whether the socket has more than one address.
        """
        self._socket = sock
        self._family = family
        self._counters = counters
        segmenting = offload and ancillary.canSegment(sock)
        #: The greatest segment that runs may be made of; 0 for no runs.
        self._segmentLimit = SEGMENTED if segmenting else 0
        self._choosesSource = choosesSource
        self._hopLimitByOption = family == 4 and not ancillary.LINUX
        self.reports: frozenset[int] = frozenset()
        self._controls = _CONTROLS[family]
        self._remotes = _REMOTES[family]

    @property
    def segmenting(self) -> bool:
        """
        Whether runs leave as one; goes off for good when the kernel turns out
        not to manage it.
        """
        return self._segmentLimit > 0

    def transmit(self, datagrams: Sequence[Datagram]) -> int:
        """
        @return: how many were sent or given up; fewer than there are when the
            kernel has no room.
        """
        if isinstance(datagrams, Burst):
            return self._transmitBurst(datagrams)
        start, total = 0, len(datagrams)
        while start < total:
            end = self._runFrom(datagrams, start) if self._segmentLimit else start + 1
            first = datagrams[start]
            if end - start > 1:
                run = [datagram.data for datagram in datagrams[start:end]]
                done = self._sendRun(run, first.local, first.remote, first.ttl)
            else:
                done = self._send(first.data, first.local, first.remote, first.ttl)
            if not done:
                return start
            start += done
        return total

    def _transmitBurst(self, burst: Burst) -> int:
        """
        @return: as L{transmit} does.
        """
        payloads, local, remote = burst.payloads, burst.local, burst.remote
        total = len(payloads)
        if total == 1:
            return self._send(payloads[0], local, remote)
        sizes = list(map(len, payloads))
        alike = len(set(sizes)) == 1
        start = 0
        while start < total:
            size = sizes[start]
            end = start + 1
            if 0 < size <= self._segmentLimit:
                most = min(total, start + min(SEGMENTS, SEGMENTED // size))
                if alike:
                    end = most
                while end < most and sizes[end] == size:
                    end += 1
                if end < most and 0 < sizes[end] < size:
                    end += 1
            if end - start > 1:
                done = self._sendRun(payloads[start:end], local, remote)
            else:
                done = self._send(payloads[start], local, remote)
            if not done:
                return start
            start += done
        return total

    def _runFrom(self, datagrams: Sequence[Datagram], start: int) -> int:
        """
        @return: the end of the run that can leave as one: one source, one
            destination, one hop limit, one size, but for a shorter last one.
        """
        first = datagrams[start]
        size = room = len(first.data)
        end = start + 1
        if not 0 < size <= self._segmentLimit:
            return end
        for candidate in islice(datagrams, end, start + SEGMENTS):
            length = len(candidate.data)
            room += length
            if (
                not 0 < length <= size
                or room > SEGMENTED
                or candidate.remote != first.remote
                or candidate.local != first.local
                or candidate.ttl != first.ttl
            ):
                break
            end += 1
            if length < size:
                break
        return end

    def _sendRun(
        self,
        payloads: list[bytes],
        local: Address | None,
        remote: Address,
        ttl: int | None = None,
    ) -> int:
        """
        @param payloads: of all datagrams of the run.

        @return: how many were sent or given up; 0 when there is no room.
        """
        size = len(payloads[0])
        try:
            control = self.controlFor(local, remote, ttl)
            segment = _SEGMENT_CONTROLS.get(size) or _segmentControl(size)
            self._socket.sendmsg(payloads, [*control, segment], 0, remote)
        except BlockingIOError:
            return 0
        except OSError as e:
            if e.errno in self.reports:
                with self._reported():
                    return self._sendRun(payloads, local, remote, ttl)
            if e.errno not in _GSO_ERRORS:
                self._count(e, len(payloads))
                return len(payloads)
            # Whose fault is it?  The run's, if its first one can leave alone.
            counted = self._counters.total()
            done = self._send(payloads[0], local, remote, ttl)
            if done and self._counters.total() == counted:
                self._runRefused(e, size)
            return done
        return len(payloads)

    def _runRefused(self, error: OSError, size: int) -> None:
        """
        Send no such run again: none at all, unless it may have been too big for
        the path.
        """
        self._counters["segmenting " + ancillary.errorName(error)] += 1
        mayBeTooBig = size > SAFE_SEGMENT and error.errno != errno.EIO
        self._segmentLimit = size - 1 if mayBeTooBig else 0

    def segments(self, segment: int, size: int) -> bool:
        """
        @param segment: of each datagram of a run, in bytes.
        @param size: of all of it.

        @return: whether it may leave as one.
        """
        return segment <= self._segmentLimit and size <= SEGMENTED

    def sendSegments(
        self,
        vectors: Sequence[bytes | memoryview],
        segment: int,
        size: int,
        control: list[ancillary.Control],
        remote: Address,
    ) -> bool:
        """
        Send a run whose datagrams are C{segment} bytes long but for the last.

        @param vectors: of all of it, in order.
        @param size: of all of it at most, in bytes.
        @param control: from L{controlFor}.

        @return: whether that was done; otherwise nothing was.
        """
        if not self.segments(segment, size):
            return False
        told = _SEGMENT_CONTROLS.get(segment) or _segmentControl(segment)
        try:
            self._socket.sendmsg(vectors, [*control, told], 0, remote)
        except OSError:
            return False
        return True

    def sendOne(self, datagram: Datagram) -> int:
        """
        @return: 1 if it was sent or given up, 0 when there is no room.
        """
        return self._send(datagram.data, datagram.local, datagram.remote, datagram.ttl)

    def _send(
        self,
        data: bytes,
        local: Address | None,
        remote: Address,
        ttl: int | None = None,
    ) -> int:
        """
        @return: as L{sendOne} does.
        """
        try:
            control = self.controlFor(local, remote, ttl)
            if ttl is not None and self._hopLimitByOption:
                self._sendWithOption(data, control, remote, ttl)
            elif control:
                self._socket.sendmsg([data], control, 0, remote)
            else:
                self._socket.sendto(data, remote)
        except BlockingIOError:
            return 0
        except OSError as e:
            if e.errno in self.reports:
                with self._reported():
                    return self._send(data, local, remote, ttl)
            self._count(e)
        return 1

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """
        The error may be an earlier datagram's, which the kernel tells of instead of
        sending this one.  It does so once: another error is about this one.
        """
        reports, self.reports = self.reports, frozenset()
        try:
            yield
        finally:
            self.reports = reports

    def _sendWithOption(
        self, data: bytes, control: list[ancillary.Control], remote: Address, ttl: int
    ) -> None:
        """
        Where IPv4's hop limit is no control message, it is set for one call.
        """
        option = (socket.IPPROTO_IP, socket.IP_TTL)
        usual = self._socket.getsockopt(*option)
        self._socket.setsockopt(*option, ttl or usual)
        try:
            self._socket.sendmsg([data], control, 0, remote)
        finally:
            self._socket.setsockopt(*option, usual)

    def _count(self, error: OSError, times: int = 1) -> None:
        self._counters["send " + ancillary.errorName(error)] += times

    def controlFor(
        self, local: Address | None, remote: Address, ttl: int | None = None
    ) -> list[ancillary.Control]:
        """
        @return: the control messages that the datagram's source and hop limit
            take.

        @raise OSError: one of its addresses is none of this family.
        """
        if remote not in self._remotes:
            if len(self._remotes) >= _CACHED:
                self._remotes.clear()
            # The socket module would take a name, and block to look it up.
            self._check(remote)
            self._remotes.add(remote)
        host = local[0] if self._choosesSource and local is not None else ""
        if not host and ttl is None:
            return _NO_CONTROL
        key = (host, ttl)
        control = self._controls.get(key)
        if control is None:
            if len(self._controls) >= _CACHED:
                self._controls.clear()
            control = []
            if host not in ("", "0.0.0.0", "::"):
                control += ancillary.sourceControl(self._family, host)
            if ttl is not None:
                control += ancillary.hopLimitControl(self._family, ttl)
            self._controls[key] = control
        return control

    def _check(self, address: Address) -> None:
        try:
            socket.inet_pton(ancillary.addressFamily(self._family), address[0])
        except ValueError as e:
            raise OSError(f"{address[0]!r} is no address") from e
        if not 0 < address[1] < 65536:
            raise OSError(f"{address[1]!r} is no port to send to")


def _segmentControl(size: int) -> ancillary.Control:
    control = _SEGMENT_CONTROLS[size] = ancillary.segmentControl(size)
    return control
