"""
What carries data between client and relay: ChannelData (RFC 8656, 12.4), and
the Send and Data indications, written and read without L{Message} objects
because there is one a datagram.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from punchd.core import Address
from punchd.errors import MalformedMessage
from punchd.stun.address import packXorAddress, unpackXorAddress
from punchd.stun.attributes import Attribute
from punchd.stun.message import COOKIE, HEADER

#: RFC 8656, 12: what a client may bind; RFC 5766 had all up to 0x7FFF.
FIRST_CHANNEL: Final = 0x4000
LAST_CHANNEL: Final = 0x4FFF
LAST_OLD_CHANNEL: Final = 0x7FFF

#: The types of the two indications: class bits 01, methods 6 and 7.
SEND_INDICATION: Final = 0x0016
DATA_INDICATION: Final = 0x0017

_PEER = int(Attribute.XOR_PEER_ADDRESS)
_DATA = int(Attribute.DATA)
_REQUIRED = 0x8000

_HEAD = Struct(">HH4s12s")
_PAIR = Struct(">HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def channelData(number: int, data: bytes) -> bytes:
    """
    @return: C{data} for a channel, without padding: UDP needs none.
    """
    return _PAIR.pack(number, len(data)) + data


def channelHead(number: int, size: int) -> bytes:
    """
    @return: what stands before C{size} bytes of data for a channel.
    """
    return _PAIR.pack(number, size)


def readChannelData(frame: bytes) -> tuple[int, bytes] | None:
    """
    @return: the channel and the data, or L{None} when the frame is cut short.
    """
    if len(frame) < 4:
        return None
    number, length = _PAIR.unpack_from(frame)
    if length > len(frame) - 4:
        return None
    return number, frame[4 : 4 + length]


@lru_cache(maxsize=4096)
def _peerAttribute4(peer: Address) -> bytes:
    """
    @return: XOR-PEER-ADDRESS, which for IPv4 knows no transaction id.
    """
    return _PAIR.pack(_PEER, 8) + packXorAddress(peer, b"")


def indication(kind: int, transactionId: bytes, peer: Address, data: bytes) -> bytes:
    """
    @param kind: L{SEND_INDICATION} or L{DATA_INDICATION}.

    @return: the indication (RFC 8656, 11).
    """
    if ":" in peer[0]:
        address = _PAIR.pack(_PEER, 20) + packXorAddress(peer, transactionId)
    else:
        address = _peerAttribute4(peer)
    size = len(data)
    body = address + _PAIR.pack(_DATA, size) + data + _PADDING[size & 3]
    return _HEAD.pack(kind, len(body), COOKIE, transactionId) + body


def readIndication(message: bytes) -> tuple[Address, bytes] | None:
    """
    Read a Send or Data indication that L{isMessage} has let pass.

    @return: the peer and the data; L{None} when one of them is missing, or
        something else in it would have to be understood (RFC 8656, 11.2),
        DONT-FRAGMENT among it.
    """
    return _read(message, _NOTHING)


def readWhole(message: bytes) -> tuple[Address, bytes] | None:
    """
    Read a Send indication that L{readIndication} has not understood.

    @return: the same, when DONT-FRAGMENT was all that is in the way.
    """
    return _read(message, _WHOLE)


_NOTHING: frozenset[int] = frozenset()
_WHOLE = frozenset({int(Attribute.DONT_FRAGMENT)})


def _read(message: bytes, known: frozenset[int]) -> tuple[Address, bytes] | None:
    peer: Address | None = None
    data: bytes | None = None
    at, end = HEADER, len(message)
    while at + 4 <= end:
        kind, size = _PAIR.unpack_from(message, at)
        at += 4
        following = at + size + (-size & 3)
        if following > end:
            return None
        if kind == _DATA:
            if data is None:
                data = message[at : at + size]
        elif kind == _PEER:
            if peer is None:
                try:
                    peer = unpackXorAddress(message[at : at + size], message[8:20])
                except MalformedMessage:
                    return None
        elif kind < _REQUIRED and kind not in known:
            return None
        at = following
    if at != end or peer is None or data is None:
        return None
    return peer, data
