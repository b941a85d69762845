"""
STUN messages: parsing, building, integrity (RFC 8489, 5 and 14).

A message that was parsed keeps the bytes it came in, because integrity covers
exactly those, padding included.  What follows MESSAGE-INTEGRITY is dropped by
L{parse} and can therefore mislead nobody.  The integrity attributes and
FINGERPRINT are not listed among C{attributes}: they are properties of the
bytes, made by L{Message.serialize} and judged by L{parse} and
L{Message.checkIntegrity}.
"""

from __future__ import annotations

import hmac
from binascii import crc32
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Any, Final, Literal

from punchd.errors import MalformedMessage

from .attributes import CODECS, Attribute

COOKIE: Final = b"\x21\x12\xa4\x42"
HEADER: Final = 20
TRANSACTION_ID: Final = 12

#: More attributes than this are nothing but work for the parser.
MAX_ATTRIBUTES: Final = 64

_HEAD = Struct(">HH4s12s")
_PAIR = Struct(">HH")
_FINGERPRINT_MASK = 0x5354554E  # RFC 8489, 14.7
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

_SHA1 = int(Attribute.MESSAGE_INTEGRITY)
_SHA256 = int(Attribute.MESSAGE_INTEGRITY_SHA256)
_FINGERPRINT = int(Attribute.FINGERPRINT)

Integrity = Literal["sha1", "sha256", "both"]


class MessageClass(IntEnum):
    """
    RFC 8489, 5.
    """

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Method(IntEnum):
    """
    RFC 8489, 18.2 and RFC 8656, 17.
    """

    BINDING = 1
    ALLOCATE = 3
    REFRESH = 4
    SEND = 6
    DATA = 7
    CREATE_PERMISSION = 8
    CHANNEL_BIND = 9


_CLASSES = tuple(MessageClass)


@dataclass(slots=True)
class Message:
    """
    @ivar method: one of L{Method}, or a number that nobody knows.
    @ivar transactionId: 12 bytes.
    @ivar attributes: types and decoded values in order; the bytes of those
        that are not known.
    @ivar raw: the bytes it was parsed from.
    @ivar hasFingerprint: whether it came with a FINGERPRINT, which was right.
    @ivar spoiled: whether there were attributes without sense, which are left out.
    """

    messageClass: MessageClass
    method: int
    transactionId: bytes
    attributes: list[tuple[int, Any]] = field(default_factory=list)
    raw: bytes | None = field(default=None, compare=False, repr=False)
    hasFingerprint: bool = field(default=False, compare=False, repr=False)
    spoiled: bool = field(default=False, compare=False, repr=False)
    # Where the integrity attributes begin within raw; 0 when there is none.
    _sha1At: int = field(default=0, compare=False, repr=False)
    _sha256At: int = field(default=0, compare=False, repr=False)

    def get(self, type: int, default: Any = None) -> Any:
        """
        @return: the value of the first attribute of that type: the others
            are to be ignored (RFC 8489, 14).
        """
        for each, value in self.attributes:
            if each == type:
                return value
        return default

    def getAll(self, type: int) -> list[Any]:
        """
        @return: the values of all attributes of that type, in order.
        """
        return [value for each, value in self.attributes if each == type]

    def add(self, type: int, value: Any) -> Message:
        """
        @return: this message, with one more attribute.
        """
        self.attributes.append((type, value))
        return self

    @property
    def unknownRequired(self) -> list[int]:
        """
        The types that have to be understood and are not: the request is to
        be answered with 420, a response dropped (RFC 8489, 6.3.1, 6.3.3).
        """
        return [
            each for each, _ in self.attributes if each < 0x8000 and each not in CODECS
        ]

    @property
    def hasIntegrity(self) -> bool:
        """
        Whether it was parsed from bytes with a MESSAGE-INTEGRITY of any kind.
        """
        return bool(self._sha1At or self._sha256At)

    @property
    def hasSha256(self) -> bool:
        """
        Whether it was parsed from bytes with a MESSAGE-INTEGRITY-SHA256.
        """
        return bool(self._sha256At)

    def checkIntegrity(self, key: bytes) -> bool:
        """
        Check the bytes this was parsed from, by the stronger algorithm when
        they carry both (RFC 8489, 9.1.3).

        @return: whether they were made with C{key}; never, when there is no
            integrity attribute.
        """
        raw = self.raw
        if raw is None:
            return False
        if self._sha256At:
            at = self._sha256At
            length = _PAIR.unpack_from(raw, at)[1]
            made = hmac.digest(key, _covered(raw, at, length), "sha256")[:length]
        elif self._sha1At:
            at, length = self._sha1At, 20
            made = hmac.digest(key, _covered(raw, at, length), "sha1")
        else:
            return False
        return hmac.compare_digest(made, raw[at + 4 : at + 4 + length])

    def serialize(
        self,
        *,
        key: bytes | None = None,
        integrity: Integrity = "sha1",
        fingerprint: bool = True,
    ) -> bytes:
        """
        @param key: makes integrity attributes, of the kind C{integrity}.

        @raise ValueError: a value does not fit its attribute.
        """
        transactionId = self.transactionId
        parts = [b""]
        length = 0
        for kind, value in self.attributes:
            codec = CODECS.get(kind)
            data = bytes(value) if codec is None else codec.encode(value, transactionId)
            size = len(data)
            parts.append(_PAIR.pack(kind, size))
            parts.append(data)
            if size & 3:
                parts.append(_PADDING[size & 3])
                size += 4 - (size & 3)
            length += 4 + size
        method, klass = self.method, self.messageClass
        kind = (method & 0xF80) << 2 | (method & 0x70) << 1 | method & 0xF
        kind |= (klass & 2) << 7 | (klass & 1) << 4

        def head(extra: int) -> bytes:
            return _HEAD.pack(kind, length + extra, COOKIE, transactionId)

        # Each of the three covers the header as if it were the last one.
        if key is not None and integrity != "sha256":
            parts[0] = head(24)
            made = hmac.digest(key, b"".join(parts), "sha1")
            parts.append(_PAIR.pack(_SHA1, 20) + made)
            length += 24
        if key is not None and integrity != "sha1":
            parts[0] = head(36)
            made = hmac.digest(key, b"".join(parts), "sha256")
            parts.append(_PAIR.pack(_SHA256, 32) + made)
            length += 36
        if fingerprint:
            parts[0] = head(8)
            made = (crc32(b"".join(parts)) ^ _FINGERPRINT_MASK).to_bytes(4, "big")
            parts.append(_PAIR.pack(_FINGERPRINT, 4) + made)
            length += 8
        parts[0] = head(0)
        return b"".join(parts)


def _covered(raw: bytes, at: int, length: int) -> bytes:
    """
    @return: what an integrity attribute of C{length} bytes at C{at} covers:
        all before it, with a header that ends with it (RFC 8489, 14.5).
    """
    return raw[:2] + (at + 4 + length - HEADER).to_bytes(2, "big") + raw[4:at]


def isMessage(data: bytes) -> bool:
    """
    Tell STUN from all else that may share a port, cheaply: by the first two
    bits, the cookie and the length (RFC 8489, 6.3).
    """
    return (
        len(data) >= HEADER
        and data[0] < 0x40
        and data[4:8] == COOKIE
        and (data[2] << 8 | data[3]) + HEADER == len(data)
        and not len(data) & 3
    )


def isAnswer(data: bytes) -> bool:
    """
    @param data: a message.

    @return: whether it is a response or an indication, and no request (RFC 8489, 5).
    """
    return bool(data[0] & 0x01 or data[1] & 0x10)


def parse(data: bytes, lenient: bool = False) -> Message:
    """
    @param lenient: whether values that make no sense are no reason to raise, as long
        as it can be told where the next one begins: it will be C{spoiled}.

    @raise MalformedMessage: these bytes are no STUN message, or one that
        was damaged on its way.
    """
    if not isMessage(data):
        raise MalformedMessage()
    kind, _, _, transactionId = _HEAD.unpack_from(data)
    method = (kind & 0x3E00) >> 2 | (kind & 0xE0) >> 1 | kind & 0xF
    klass = _CLASSES[(kind & 0x100) >> 7 | (kind & 0x10) >> 4]
    message = Message(klass, method, transactionId, [], data)
    _parseAttributes(message, data, lenient)
    return message


def _parseAttributes(message: Message, data: bytes, lenient: bool) -> None:
    """
    Fill in the attributes of C{message}.
    """
    attributes = message.attributes
    transactionId = message.transactionId
    at, end, count = HEADER, len(data), 0
    while at < end:
        kind, size = _PAIR.unpack_from(data, at)
        start = at + 4
        following = start + size + (-size & 3)
        count += 1
        if following > end or count > MAX_ATTRIBUTES:
            raise MalformedMessage("the attributes do not fit the message")
        if kind == _FINGERPRINT:
            # The last attribute, always (RFC 8489, 14.7).
            if size != 4 or following != end:
                raise MalformedMessage("the fingerprint is misplaced")
            made = (crc32(data[:at]) ^ _FINGERPRINT_MASK).to_bytes(4, "big")
            if made != data[start:]:
                raise MalformedMessage("the fingerprint is wrong")
            message.hasFingerprint = True
        elif message._sha256At:
            pass
        elif kind == _SHA256:
            if size & 3 or not 16 <= size <= 32:  # RFC 8489, 14.6
                raise MalformedMessage("an integrity attribute has a wrong length")
            message._sha256At = at
        elif message._sha1At:
            pass
        elif kind == _SHA1:
            if size != 20:
                raise MalformedMessage("an integrity attribute has a wrong length")
            message._sha1At = at
        else:
            codec = CODECS.get(kind)
            value = data[start : start + size]
            try:
                if codec is not None:
                    value = codec.decode(value, transactionId)
                attributes.append((kind, value))
            except MalformedMessage:
                if not lenient:
                    raise
                message.spoiled = True
        at = following


def request(method: int, transactionId: bytes, *attributes: tuple[int, Any]) -> Message:
    """
    @return: a request; the transaction id is to be 12 random bytes.
    """
    return Message(MessageClass.REQUEST, method, transactionId, list(attributes))


def indication(
    method: int, transactionId: bytes, *attributes: tuple[int, Any]
) -> Message:
    """
    @return: an indication, which nobody answers.
    """
    return Message(MessageClass.INDICATION, method, transactionId, list(attributes))


def success(request: Message, *attributes: tuple[int, Any]) -> Message:
    """
    @return: the success response to C{request}.
    """
    return Message(
        MessageClass.SUCCESS, request.method, request.transactionId, list(attributes)
    )


def failure(
    request: Message, code: int, reason: str = "", *attributes: tuple[int, Any]
) -> Message:
    """
    @return: the error response to C{request}, with C{code} from 300 to 699.
    """
    first = (int(Attribute.ERROR_CODE), (code, reason))
    return Message(
        MessageClass.ERROR,
        request.method,
        request.transactionId,
        [first, *attributes],
    )
