"""
The little of QUIC's headers that one has to read oneself (RFC 8999, RFC 9000).
"""

from __future__ import annotations

from .backend import CID_LENGTH, DATAGRAM_SIZE

_VERSION_1 = (1).to_bytes(4, "big")


def destination(data: bytes) -> bytes | None:
    """
    @return: the destination connection id (RFC 8999), if there is one.
    """
    if len(data) < 1 + CID_LENGTH:
        return None
    if not data[0] & 0x80:
        return data[1 : 1 + CID_LENGTH]
    length = data[5]
    if not 0 < length <= 20 or len(data) < 6 + length:
        return None
    return data[6 : 6 + length]


def isInitial(data: bytes) -> bool:
    """
    @return: whether this can be the first datagram of a client: a long header
        of version 1 and type Initial, padded (RFC 9000, 14.1 and 17.2.2).
    """
    return (
        len(data) >= DATAGRAM_SIZE
        and data[0] & 0xF0 == 0xC0
        and data[1:5] == _VERSION_1
    )
