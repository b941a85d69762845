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
from collections.abc import Callable
from typing import Any, Final

from punchd.core import Address

from . import ancillary

#: Datagrams, or batches of them that the kernel made, that one call reads.
SLOTS: Final = 32
#: When the kernel makes batches, of up to 64 datagrams each.
FEWER: Final = 8

_ROOM: Final = 1 << 16
# A power of two would put the beginnings of all into the same lines of the cache.
_STRIDE: Final = _ROOM + 17 * 64
# struct sockaddr_in6, the larger one.
_NAME: Final = 28
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
        segment, value = size, b""
        self.overflow = 0
        for level, kind, body in controls:
            if level == socket.IPPROTO_UDP:
                segment = int.from_bytes(body, sys.byteorder)
            elif level == socket.SOL_SOCKET:
                self.overflow = int.from_bytes(body, sys.byteorder)
            elif (level, kind) in _INFORMATION:
                value = body
        return [(bytes(self._data[:size]), segment, value, remote[:2])]


class Reader:
    """
    I read many at a time.

    @ivar slots: how many one call reads at most.
    @ivar overflow: how many datagrams the kernel has dropped on the socket
        that was read from last, if it has told; otherwise 0.
    """

    slots = SLOTS

    def __init__(self, call: Callable[..., int]) -> None:
        """
        @param call: recvmmsg, leaving C{errno} to ctypes.
        """
        self._call = call
        # Memory that is never touched is never there.
        self._data = memoryview(bytearray(SLOTS * _STRIDE))
        self._names = memoryview(bytearray(SLOTS * _NAME))
        self._controls = memoryview(bytearray(SLOTS * _CONTROLS))
        vectors = bytearray(SLOTS * _VECTOR.size)
        headers = bytearray(SLOTS * _HEADER.size)
        self._address = _addressOf(headers)
        for slot in range(SLOTS):
            _VECTOR.pack_into(
                vectors,
                slot * _VECTOR.size,
                _addressOf(self._data) + slot * _STRIDE,
                _ROOM,
            )
            _HEADER.pack_into(
                headers,
                slot * _HEADER.size,
                *(_addressOf(self._names) + slot * _NAME, _NAME),
                *(_addressOf(vectors) + slot * _VECTOR.size, 1),
                *(_addressOf(self._controls) + slot * _CONTROLS, _CONTROLS),
                *(0, 0),
            )
        self._vectors = vectors
        self._headers = memoryview(headers)
        self._fresh = bytes(headers)
        self._lengths = self._headers.cast("I")[_LENGTH_AT // 4 :: _HEADER.size // 4]
        self._controlled = self._headers.cast("Q")[
            _CONTROLS_AT // 8 :: _HEADER.size // 8
        ]
        self._remotes: dict[bytes, Address] = {}
        self._known: dict[bytes, tuple[int, bytes, int]] = {}
        self.overflow = 0

    def read(self, sock: socket.socket, family: int, slots: int) -> list[Read]:
        """
        @param sock: one that does not block.
        @param family: 4 or 6, its family.
        @param slots: how many datagrams, or batches of them, to read at most.

        @raise OSError: what the kernel had to tell instead; L{BlockingIOError}
            if nothing.
        """
        number = sock.fileno()
        count = self._call(number, self._address, slots, socket.MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        lengths = self._lengths[:count].tolist()
        controlled = self._controlled[:count].tolist()
        # The kernel writes lengths of its own into the headers.
        size = count * _HEADER.size
        self._headers[:size] = self._fresh[:size]
        data, remotes = self._data, self._remotes
        # After the family: port and address, and for IPv6 the flow between them.
        width = 8 if family == 4 else 24
        names = bytes(self._names[: count * _NAME])
        found = []
        self.overflow = at = start = 0
        for slot, length in enumerate(lengths):
            name = names[at : at + width]
            remote = remotes.get(name)
            if remote is None:
                remote = self._remember(name)
            segment, value = length, b""
            space = controlled[slot]
            if space:
                begin = slot * _CONTROLS
                told = bytes(self._controls[begin : begin + space])
                segment, value, overflow = self._known.get(told) or self._parse(told)
                if overflow:
                    self.overflow = overflow
                if not segment:
                    segment = length
            found.append((bytes(data[start : start + length]), segment, value, remote))
            at += _NAME
            start += _STRIDE
        return found

    def _remember(self, name: bytes) -> Address:
        if len(self._remotes) >= _KEPT:
            self._remotes.clear()
        (port,) = _PORT.unpack_from(name, 2)
        if len(name) == 8:
            host = socket.inet_ntop(socket.AF_INET, name[4:])
        else:
            host = socket.inet_ntop(socket.AF_INET6, name[8:])
        remote = self._remotes[name] = (host, port)
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


def _addressOf(buffer: Any) -> int:
    """
    @return: where it is in memory; it must live as long as that is used.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
