"""
One UDP address for several processes.

Each has a socket of its own, or rather two, as in L{punchd.net.apart}.  One process
opens all of them and hands them down; the kernel decides by the source of each
datagram, so that a client always meets the same process.  Since the sockets stay
open in the process that opened them, the others keep their clients while one of
them is started again.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.error import CannotListenError

from . import ancillary
from .apart import attach
from .udp import UDPPort

# Instructions of classic BPF (linux/bpf_common.h): load a word or half a word, copy
# to the second register, compute with a constant or with that register, return.
_LOAD_WORD, _LOAD_HALF, _KEEP, _FETCH, _RETURN = 0x20, 0x28, 0x07, 0x87, 0x16
_ADD, _MULTIPLY, _MODULO, _SHIFT, _XOR = 0x04, 0x24, 0x94, 0x74, 0xAC
_JUMP_IF_EQUAL = 0x15

#: Offsets from here on are from the IP header (linux/filter.h, SKF_NET_OFF).
_NETWORK: Final = 0xFFF00000
#: Where the source's host, in words, and its port are, without IP options.
_SOURCE: Final = {4: ((12,), 20), 6: ((8, 12, 16, 20), 40)}
#: Spreads what differs in few bits (the golden ratio, as usual).
_SPREAD: Final = 0x9E3779B1

#: Processes that may share an address.
MOST: Final = 64

#: Of one process: for data, and for what anybody may ask.
Pair = tuple[socket.socket, socket.socket]


def possible() -> bool:
    """
    @return: whether the system can do that.
    """
    return ancillary.LINUX


def shareOut(
    port: Any, reactor: Any, receiver: Any, kinds: Sequence[int], processes: int
) -> tuple[UDPPort, list[Pair]]:
    """
    Let other processes have datagrams of a port, too.

    Nobody else may take the address for that: this port was bound to it alone.

    @param port: an L{UDPPort}.
    @param receiver: takes what anybody may ask of this process; it is to answer
        through C{port}.
    @param kinds: the first two bytes of that, as numbers.
    @param processes: how many there are, this one included.

    @return: the port for what anybody may ask, which is to be closed with the other
        one, and the sockets of each other process.

    @raise CannotListenError: the system does not permit it.
    """
    host, number = port.getHost()
    opened: list[socket.socket] = []
    try:
        port.share()
        # The program tells them by the order in which they were bound.
        for _ in range(2 * processes - 1):
            opened.append(UDPPort._open(port.family, host, number, True))
        attach(opened[0], choosing(port.family, kinds, processes))
    except OSError as e:
        for each in opened:
            each.close()
        raise CannotListenError(host, number, e) from e
    data, asked = opened[: processes - 1], opened[processes - 1 :]
    apart = UDPPort(reactor, receiver, port.family, existing=asked[0])
    return apart, list(zip(data, asked[1:], strict=True))


def choosing(
    family: int, kinds: Sequence[int], processes: int
) -> list[tuple[int, int, int, int]]:
    """
    @return: the program: the number of the process is made of the source; with as
        many added as there are processes for what anybody may ask.
    """
    hosts, port = _SOURCE[family]
    program = [(_LOAD_HALF, 0, 0, _NETWORK + port)]
    for host in hosts:
        program += [
            (_KEEP, 0, 0, 0),
            (_LOAD_WORD, 0, 0, _NETWORK + host),
            (_XOR, 0, 0, 0),
            (_MULTIPLY, 0, 0, _SPREAD),
        ]
    program += [
        (_SHIFT, 0, 0, 16),
        (_MODULO, 0, 0, processes),
        (_KEEP, 0, 0, 0),
        (_LOAD_HALF, 0, 0, 0),
    ]
    for at, kind in enumerate(kinds):
        program.append((_JUMP_IF_EQUAL, len(kinds) - at + 1, 0, kind))
    program += [(_FETCH, 0, 0, 0), (_RETURN, 0, 0, 0)]
    return [*program, (_FETCH, 0, 0, 0), (_ADD, 0, 0, processes), (_RETURN, 0, 0, 0)]
