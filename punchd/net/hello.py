"""
The first thing that a client of TLS says (RFC 8446, 4.1.2; RFC 5246, 7.4.1.2), so far
as it tells which protocol is to be spoken within (ALPN, RFC 7301).

It is read as strictly as it is written: what is in any way unusual is not understood.
"""

from __future__ import annotations

from typing import Final

_HANDSHAKE: Final = 0x16
_CLIENT_HELLO: Final = 1
_ALPN: Final = 16
#: Bytes before a record, and the most that are in one which is not encrypted.
_HEADER: Final = 5
_RECORD: Final = 1 << 14
#: Bytes of the version and of what is random.
_FIXED: Final = 2 + 32


def isWhole(data: bytes) -> bool:
    """
    @param data: how a connection begins.

    @return: whether nothing that is still to come can make more sense of it.
    """
    if len(data) < _HEADER:
        return data[:1] not in (b"", bytes((_HANDSHAKE,)))
    size = int.from_bytes(data[3:_HEADER], "big")
    return data[0] != _HANDSHAKE or size > _RECORD or len(data) >= _HEADER + size


def offeredProtocols(data: bytes) -> list[bytes] | None:
    """
    @param data: how a connection begins.

    @return: the protocols that the client would speak, the best first, none if it
        does not say; L{None} if this is not the usual beginning of TLS.
    """
    try:
        return _offered(data)
    except _Unusual:
        return None


class _Unusual(Exception):
    pass


class _Reader:
    """
    I take one thing after the other.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """
        @return: so many bytes.
        """
        end = self._at + size
        if end > len(self._data):
            raise _Unusual
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, size: int) -> int:
        """
        @return: a number of so many bytes.
        """
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int, least: int, most: int) -> bytes:
        """
        @param size: bytes of the length before it.

        @return: what has a length before it, between two bounds.
        """
        length = self.number(size)
        if not least <= length <= most:
            raise _Unusual
        return self.take(length)

    def end(self) -> None:
        """
        There is nothing behind.
        """
        if self:
            raise _Unusual


def _offered(data: bytes) -> list[bytes]:
    outer = _Reader(data)
    if outer.number(1) != _HANDSHAKE or outer.number(1) != 3:
        raise _Unusual
    outer.number(1)
    # What comes behind the first record is none of ours.
    record = _Reader(outer.vector(2, 4, _RECORD))
    if record.number(1) != _CLIENT_HELLO:
        raise _Unusual
    # A hello in several records is not taken.
    hello = _Reader(record.vector(3, _FIXED, _RECORD))
    record.end()
    if hello.take(_FIXED)[0] != 3:
        raise _Unusual
    hello.vector(1, 0, 32)
    if len(hello.vector(2, 2, _RECORD)) % 2:
        raise _Unusual
    hello.vector(1, 1, 255)
    if not hello:
        return []
    extensions = _Reader(hello.vector(2, 0, _RECORD))
    hello.end()
    found: list[bytes] | None = None
    while extensions:
        kind = extensions.number(2)
        extension = extensions.vector(2, 0, _RECORD)
        if kind == _ALPN:
            if found is not None:
                raise _Unusual
            found = _names(_Reader(extension))
    return found or []


def _names(extension: _Reader) -> list[bytes]:
    names = _Reader(extension.vector(2, 2, _RECORD))
    extension.end()
    found = []
    while names:
        found.append(names.vector(1, 1, 255))
    return found
