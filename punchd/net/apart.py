"""
Two queues for one UDP address.

Requests that anybody may send can come faster than they are answered.  In a
queue of their own they cannot push out the datagrams of those who are served:
a second socket of the same address takes them, and the kernel decides by the
first two bytes of each datagram (SO_ATTACH_REUSEPORT_CBPF of Linux).
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Any

from twisted.internet.error import CannotListenError

from . import ancillary
from .udp import UDPPort

#: asm-generic/socket.h: a program chooses among the sockets of one address.
SO_ATTACH_REUSEPORT_CBPF = 51

# struct sock_filter of linux/filter.h, and three of its instructions: load two
# bytes from there, go on or jump, and return.
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x28, 0x15, 0x06
# struct sock_fprog: how many, and where.
_PROGRAM = struct.Struct("@HP")


def divide(
    port: Any, reactor: Any, receiver: Any, kinds: Sequence[int]
) -> UDPPort | None:
    """
    Have some datagrams for a port wait in a queue of their own.

    Nobody else may take the address for that: this port was bound to it alone.

    @param port: an L{UDPPort}; anything else stays as it is.
    @param receiver: takes those datagrams; it is to answer through C{port}.
    @param kinds: the first two bytes of each of them, as numbers.

    @return: a port that is to be closed with the other one, or L{None} where
        the system has nothing like that.
    """
    if not isinstance(port, UDPPort) or not ancillary.LINUX:
        return None
    host, number = port.getHost()
    try:
        port.share()
        second = UDPPort(reactor, receiver, port.family, host, number, shared=True)
    except (OSError, CannotListenError):
        return None
    try:
        _choose(second, kinds)
    except OSError:
        # Without the program either socket may get anything, and both deliver.
        second.close()
        return None
    return second


def _choose(port: UDPPort, kinds: Sequence[int]) -> None:
    """
    Give the socket that was bound second what begins like this, and the first
    one all else.
    """
    instructions = [(_LOAD, 0, 0, 0)]
    for at, kind in enumerate(kinds):
        instructions.append((_JUMP_IF_EQUAL, len(kinds) - at, 0, kind))
    instructions += [(_RETURN, 0, 0, 0), (_RETURN, 0, 0, 1)]
    attach(port, instructions)


def attach(port: Any, instructions: Sequence[tuple[int, int, int, int]]) -> None:
    """
    Have the kernel choose by a program among the sockets of one address.

    @param port: a socket, or an L{UDPPort}.

    @raise OSError: the system does not know that.
    """
    program = b"".join(_INSTRUCTION.pack(*each) for each in instructions)
    buffer = ctypes.create_string_buffer(program, len(program))
    packed = _PROGRAM.pack(len(instructions), ctypes.addressof(buffer))
    put = port.setOption if isinstance(port, UDPPort) else port.setsockopt
    put(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, packed)
