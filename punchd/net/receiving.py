"""
Reading many datagrams with one system call (recvmmsg of Linux).

The socket module does not have it; the call is made through ctypes, with
buffers and headers that are set up once and serve all sockets, as whatever is
read is copied out of them at once.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from punchd.core import Address

from . import ancillary

#: Datagrams, or batches of them that the kernel made, that one call reads.
SLOTS: Final = 32
#: When the kernel makes batches, of up to 64 datagrams each.
FEWER: Final = 8

_ROOM: Final = 1 << 16
#: From the beginning of one slot to the next.  A power of two would put the
#: beginnings of all into the same lines of the cache.
STRIDE: Final = _ROOM + 17 * 64
#: struct sockaddr_in6, the larger one.
NAME: Final = 28
#: What of a name counts.  After the family: port and address, and for IPv6 the flow
#: between them.
NAMES: Final = {4: 8, 6: 24}
_CONTROLS: Final = (ancillary.SPACE + 7) & ~7
# struct mmsghdr on 64-bit systems: name and its length, buffers and their
# number, control messages and their length, flags; the length of what was read.
_HEADER: Final = struct.Struct("@PI4xPNPNi4xI4x")
_LENGTH_AT: Final = 56
_CONTROLS_AT: Final = 40
# struct iovec, struct cmsghdr.
_VECTOR: Final = struct.Struct("@PN")
_MESSAGE: Final = struct.Struct("@Nii")
_INT: Final = struct.Struct("=i")
_PORT: Final = struct.Struct("!H")
_KEPT: Final = 4096
_INFORMATION: Final = {ancillary.packetInformation(each) for each in (4, 6)}

#: (payload, segment, value, remote): the size of the datagrams in the payload,
#: but for a shorter last one; the value of the packet information, if any.
Read = tuple[bytes, int, bytes, Address]


def reader() -> PlainReader | Reader:
    """
    @return: the best that the system has.
    """
    if not ancillary.LINUX or struct.calcsize("P") != 8:
        return PlainReader()
    try:
        call = ctypes.CDLL(None, use_errno=True).recvmmsg
    except (OSError, AttributeError):
        return PlainReader()
    call.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_void_p,
    ]
    call.restype = ctypes.c_int
    return Reader(call)


def parsed(size: int, controls: Iterable[ancillary.Control]) -> tuple[int, bytes, int]:
    """
    @param size: of what was read.
    @param controls: that came with it.

    @return: the size of the segments, the value of the packet information, and how
        many datagrams were dropped.
    """
    segment, value, overflow = size, b"", 0
    for level, kind, body in controls:
        if level == socket.IPPROTO_UDP:
            segment = int.from_bytes(body, sys.byteorder)
        elif level == socket.SOL_SOCKET:
            overflow = int.from_bytes(body, sys.byteorder)
        elif (level, kind) in _INFORMATION:
            value = body
    return segment, value, overflow


class PlainReader:
    """
    I read datagrams, or batches of them, one by one.

    @ivar slots: how many one call reads at most.
    @ivar overflow: how many datagrams the kernel has dropped on the socket
        that was read from last, if it has told; otherwise 0.
    """

    slots = 1
    overflow = 0

    def __init__(self) -> None:
        self._data = memoryview(bytearray(_ROOM))

    def read(self, sock: socket.socket, family: int, slots: int) -> list[Read]:
        """
        @see: L{Reader.read}.
        """
        size, controls, _, remote = sock.recvmsg_into([self._data], ancillary.SPACE)
        segment, value, self.overflow = parsed(size, controls)
        return [(bytes(self._data[:size]), segment, value, remote[:2])]


class Reader:
    """
    I read many at a time.

    @ivar slots: how many one call reads at most.
    @ivar overflow: how many datagrams the kernel has dropped on the socket
        that was read from last, if it has told; otherwise 0.
    @ivar data: what was read, from each L{STRIDE} on.
    @ivar first: room for one datagram there, for who reads only one.
    @ivar names: where it came from, from each L{NAME} on.
    @ivar remotes: what such names say, as far as is remembered.
    @ivar lengths: how long it is.
    @ivar controlled: how long the control messages are that came with it.
    """

    slots = SLOTS

    def __init__(self, call: Callable[..., int]) -> None:
        """
        @param call: recvmmsg, leaving C{errno} to ctypes.
        """
        self._call = call
        # Memory that is never touched is never there.
        self.data = memoryview(bytearray(SLOTS * STRIDE))
        self.first = [self.data[:_ROOM]]
        self._names = memoryview(bytearray(SLOTS * NAME))
        self._controls = memoryview(bytearray(SLOTS * _CONTROLS))
        vectors = bytearray(SLOTS * _VECTOR.size)
        headers = bytearray(SLOTS * _HEADER.size)
        self._address = addressOf(headers)
        for slot in range(SLOTS):
            _VECTOR.pack_into(
                vectors,
                slot * _VECTOR.size,
                addressOf(self.data) + slot * STRIDE,
                _ROOM,
            )
            _HEADER.pack_into(
                headers,
                slot * _HEADER.size,
                *(addressOf(self._names) + slot * NAME, NAME),
                *(addressOf(vectors) + slot * _VECTOR.size, 1),
                *(addressOf(self._controls) + slot * _CONTROLS, _CONTROLS),
                *(0, 0),
            )
        self._vectors = vectors
        self._headers = memoryview(headers)
        self._fresh = bytes(headers)
        self._lengths = self._headers.cast("I")[_LENGTH_AT // 4 :: _HEADER.size // 4]
        self._controlled = self._headers.cast("Q")[
            _CONTROLS_AT // 8 :: _HEADER.size // 8
        ]
        self.remotes: dict[bytes, Address] = {}
        self._known: dict[bytes, tuple[int, bytes, int]] = {}
        self.overflow = 0
        self.names = b""
        self.lengths: list[int] = []
        self.controlled: list[int] = []

    def read(self, sock: socket.socket, family: int, slots: int) -> list[Read]:
        """
        @param sock: one that does not block.
        @param family: 4 or 6, its family.
        @param slots: how many datagrams, or batches of them, to read at most.

        @raise OSError: what the kernel had to tell instead; L{BlockingIOError}
            if nothing.
        """
        count = self.fill(sock, slots)
        data = self.data
        width = NAMES[family]
        names, remotes = self.names, self.remotes
        found = []
        at = start = 0
        for slot in range(count):
            length = self.lengths[slot]
            segment, value = length, b""
            if self.controlled[slot]:
                segment, value = self.told(slot, length)
            name = names[at : at + width]
            remote = remotes.get(name) or self.remember(name)
            found.append((bytes(data[start : start + length]), segment, value, remote))
            at += NAME
            start += STRIDE
        return found

    def fill(self, sock: socket.socket, slots: int) -> int:
        """
        Read into C{data}, C{names}, C{lengths} and C{controlled}, which are good until
        that is done again.

        @see: L{read}.

        @return: how many slots have something now.
        """
        number = sock.fileno()
        count = self._call(number, self._address, slots, socket.MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self.lengths = self._lengths[:count].tolist()
        self.controlled = self._controlled[:count].tolist()
        # The kernel writes lengths of its own into the headers.
        size = count * _HEADER.size
        self._headers[:size] = self._fresh[:size]
        self.names = bytes(self._names[: count * NAME])
        self.overflow = 0
        return count

    def told(self, slot: int, length: int) -> tuple[int, bytes]:
        """
        @param length: of what is in the slot.

        @return: what the control messages of the slot say: the size of segments, the
            value of the packet information.
        """
        begin = slot * _CONTROLS
        told = bytes(self._controls[begin : begin + self.controlled[slot]])
        segment, value, overflow = self._known.get(told) or self._parse(told)
        if overflow:
            self.overflow = overflow
        return segment or length, value

    def remember(self, name: bytes) -> Address:
        """
        @param name: from C{names}, as long as L{NAMES} says.
        """
        if len(self.remotes) >= _KEPT:
            self.remotes.clear()
        (port,) = _PORT.unpack_from(name, 2)
        if len(name) == 8:
            host = socket.inet_ntop(socket.AF_INET, name[4:])
        else:
            host = socket.inet_ntop(socket.AF_INET6, name[8:])
        remote = self.remotes[name] = (host, port)
        return remote

    def _parse(self, told: bytes) -> tuple[int, bytes, int]:
        """
        @param told: control messages.

        @return: the size of segments, the value of the packet information, and
            how many datagrams were dropped; 0 or empty where that was not told.
        """
        segment, value, overflow = 0, b"", 0
        at = 0
        while at + _MESSAGE.size <= len(told):
            size, level, kind = _MESSAGE.unpack_from(told, at)
            if size < _MESSAGE.size:
                break
            body = told[at + _MESSAGE.size : at + size]
            if level == socket.IPPROTO_UDP and kind == ancillary.UDP_GRO:
                (segment,) = _INT.unpack_from(body)
            elif level == socket.SOL_SOCKET and kind == ancillary.SO_RXQ_OVFL:
                overflow = int.from_bytes(body[:4], sys.byteorder)
            elif (level, kind) in _INFORMATION:
                value = body
            at += (size + 7) & ~7
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[told] = segment, value, overflow
        return segment, value, overflow


def addressOf(buffer: Any) -> int:
    """
    @return: where it is in memory; it must live, and keep its size, as long as that is
        used.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
