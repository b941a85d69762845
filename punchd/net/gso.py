"""
Sending on a batch that was read as one, in one system call and without a copy or an
object for any datagram in it (UDP_SEGMENT and scatter-gather of Linux).

The socket module makes objects of all the pieces; with headers between, that takes
as long as the kernel takes for all the rest.  The call is made through ctypes; where
the pieces are is written down once for each kind of batch, for batches come in few
sizes, and always to the same places (L{punchd.net.receiving}).
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable
from typing import Any, Final

from punchd.core import Address

from . import ancillary
from .receiving import Reader, addressOf
from .sending import SEGMENTS

# struct msghdr on 64-bit systems: name and its length, buffers and their number,
# control messages and their length, flags.
_MESSAGE: Final = struct.Struct("@PI4xPNPNi4x")
# struct iovec; its two fields.
_VECTOR: Final = struct.Struct("@PN")
_POINTER: Final = struct.Struct("@P")
_LENGTH: Final = struct.Struct("@N")
# struct cmsghdr; what follows is padded.
_CONTROL: Final = struct.Struct("@Nii")
_PADDED: Final = 8
# struct sockaddr_in, struct sockaddr_in6.
_NAME4: Final = struct.Struct("=H2s4s8x")
_NAME6: Final = struct.Struct("=H2s4x16s4x")
#: Kinds of batches that are remembered.
_KINDS: Final = 64
#: Bytes of a header that is put before each datagram, at most.
_HEAD: Final = 4
#: Bytes that control messages may take.
_ROOM: Final = 128


class BatchSender:
    """
    I send on what is in a L{Reader}.
    """

    def __init__(self, reader: Reader) -> None:
        """
        @param reader: who has read it.

        @raise OSError: there is no such call.
        """
        try:
            call = ctypes.CDLL(None, use_errno=True).sendmsg
        except AttributeError as e:
            raise OSError("sendmsg is unknown") from e
        call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
        call.restype = ctypes.c_ssize_t
        self._call = call
        self._data = addressOf(reader.data)
        # The kernel is told where these are, so they are written to in place.
        self._message = bytearray(_MESSAGE.size)
        self._name = bytearray(_NAME6.size)
        self._controls = bytearray(_ROOM)
        self._heads = bytearray(_HEAD)
        self._last = bytearray(_HEAD)
        self._messageAt = addressOf(self._message)
        self._nameAt = addressOf(self._name)
        self._controlsAt = addressOf(self._controls)
        self._headsAt = addressOf(self._heads)
        self._lastAt = addressOf(self._last)
        self._vectors: dict[tuple[int, int, int, int], tuple[bytearray, int]] = {}

    def send(
        self,
        number: int,
        start: int,
        segment: int,
        full: int,
        rest: int,
        skip: int,
        head: bytes,
        last: bytes,
        name: bytes,
        controls: bytes,
    ) -> bool:
        """
        Send a batch.

        @param number: the descriptor of the socket.
        @param start: where the batch begins in what was read.
        @param segment: of each datagram, in bytes.
        @param full: how many there are, at most L{SEGMENTS} with the C{rest}.
        @param rest: of one more datagram, which is shorter, in bytes; 0 for none.
        @param skip: how many of the first bytes of each are left out.
        @param head: what is put before each; C{b""} for nothing.
        @param last: what is put before the shorter one, as long as C{head}.
        @param name: where it goes, from L{packedName}.
        @param controls: from L{packedControls}, with the size of a segment as sent.

        @return: whether all of it was sent; otherwise nothing was.
        """
        width = len(head)
        key = (start, segment, skip, width)
        vectors, at = self._vectors.get(key) or self._cut(*key)
        count = full + (rest > 0)
        if width:
            self._heads[:width] = head
            count *= 2
        self._name[: len(name)] = name
        self._controls[: len(controls)] = controls
        _MESSAGE.pack_into(
            self._message,
            0,
            *(self._nameAt, len(name), at, count),
            *(self._controlsAt, len(controls), 0),
        )
        if not rest:
            sent: int = self._call(number, self._messageAt, 0)
            return sent >= 0
        # The shorter one has another length, and a header of its own.
        short = (count - 1) * _VECTOR.size
        _LENGTH.pack_into(vectors, short + _POINTER.size, rest - skip)
        if width:
            self._last[:width] = last
            _POINTER.pack_into(vectors, short - _VECTOR.size, self._lastAt)
        sent = self._call(number, self._messageAt, 0)
        _LENGTH.pack_into(vectors, short + _POINTER.size, segment - skip)
        if width:
            _POINTER.pack_into(vectors, short - _VECTOR.size, self._headsAt)
        return sent >= 0

    def _cut(
        self, start: int, segment: int, skip: int, width: int
    ) -> tuple[bytearray, int]:
        """
        @return: the pieces of as many datagrams as a batch may have, and where that
            is.
        """
        pieces = []
        for at in range(start, start + SEGMENTS * segment, segment):
            if width:
                pieces.append(_VECTOR.pack(self._headsAt, width))
            pieces.append(_VECTOR.pack(self._data + at + skip, segment - skip))
        if len(self._vectors) >= _KINDS:
            self._vectors.clear()
        vectors = bytearray(b"".join(pieces))
        found = vectors, addressOf(vectors)
        self._vectors[start, segment, skip, width] = found
        return found


def packedName(family: int, remote: Address) -> bytes:
    """
    @return: the address as the kernel takes it.

    @raise OSError: it is none of this family.
    """
    host, port = remote
    kind = ancillary.addressFamily(family)
    form = _NAME4 if family == 4 else _NAME6
    return form.pack(kind, port.to_bytes(2, "big"), socket.inet_pton(kind, host))


def packedControls(controls: Iterable[ancillary.Control]) -> bytes:
    """
    @return: control messages as the kernel takes them.
    """
    packed = b""
    for level, kind, value in controls:
        packed += _CONTROL.pack(_CONTROL.size + len(value), level, kind) + value
        packed += bytes(-len(packed) % _PADDED)
    return packed


def batchSender(reader: Any) -> BatchSender | None:
    """
    @return: one for what C{reader} reads, where that can be.
    """
    if not isinstance(reader, Reader):
        return None
    try:
        return BatchSender(reader)
    except OSError:
        return None
