"""
The control stream of a session: frames of type, length and body.

Each side opens one unidirectional stream for it (2 by the dialler, 3 by the
listener), so that all 100 bidirectional streams are left to the users.  The
dialler's first frame is L{Auth}.  Frames of unknown types are skipped and
bytes after the known part of a body are ignored: either side may be upgraded
first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from punchd.errors import ProtocolViolation

#: The version that L{Hello} tells.
VERSION = 1

#: The longest body of a frame in bytes.
MAX_BODY = 16384

_HEADER = struct.Struct(">BH")
_CREDIT = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Auth:
    """
    The dialler's proof of who it is; see L{punchd.session.auth}.
    """

    TYPE: ClassVar[int] = 1
    dialId: str
    spki: bytes
    signature: bytes

    def body(self) -> bytes:
        return b"".join(
            len(part).to_bytes(2, "big") + part
            for part in (self.dialId.encode("utf-8"), self.spki, self.signature)
        )

    @classmethod
    def parse(cls, body: bytes) -> Auth:
        parts = []
        for _ in range(3):
            length = int.from_bytes(_exactly(body[:2], 2), "big")
            parts.append(_exactly(body[2 : 2 + length], length))
            body = body[2 + length :]
        return cls(_text(parts[0]), parts[1], parts[2])


@dataclass(frozen=True, slots=True)
class Hello:
    """
    The first frame of the listener, and the dialler's second.

    @ivar incarnation: what tells this run of the program from its next one.
    """

    TYPE: ClassVar[int] = 2
    version: int
    incarnation: str

    def body(self) -> bytes:
        text = self.incarnation.encode("utf-8")
        return bytes((self.version, len(text))) + text

    @classmethod
    def parse(cls, body: bytes) -> Hello:
        version, length = _exactly(body[:2], 2)
        return cls(version, _text(_exactly(body[2 : 2 + length], length)))


@dataclass(frozen=True, slots=True)
class Credit:
    """
    How many bytes the users of streams have taken so far.

    @ivar taken: pairs of stream id and bytes since the stream began.
    """

    TYPE: ClassVar[int] = 3

    #: How many pairs fit into one frame.
    LIMIT: ClassVar[int] = MAX_BODY // _CREDIT.size
    taken: tuple[tuple[int, int], ...]

    def body(self) -> bytes:
        return b"".join(_CREDIT.pack(*pair) for pair in self.taken)

    @classmethod
    def parse(cls, body: bytes) -> Credit:
        if len(body) % _CREDIT.size:
            raise ProtocolViolation("A credit frame is cut short.")
        return cls(tuple(_CREDIT.iter_unpack(body)))


@dataclass(frozen=True, slots=True)
class Ends:
    """
    How long streams are whose end was sent without a byte: QUIC's library forgets
    such an end if it is lost together with what came before it.

    @ivar sizes: pairs of stream id and bytes since the stream began.
    """

    TYPE: ClassVar[int] = 8
    sizes: tuple[tuple[int, int], ...]

    def body(self) -> bytes:
        return b"".join(_CREDIT.pack(*pair) for pair in self.sizes)

    @classmethod
    def parse(cls, body: bytes) -> Ends:
        if len(body) % _CREDIT.size:
            raise ProtocolViolation("A frame of ends is cut short.")
        return cls(tuple(_CREDIT.iter_unpack(body)))


@dataclass(frozen=True, slots=True)
class _Opaque:
    TYPE: ClassVar[int]
    data: bytes

    def body(self) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True)
class Candidate(_Opaque):
    """
    Something about paths, in JSON; its meaning is not this room's business.
    """

    TYPE: ClassVar[int] = 4

    @classmethod
    def parse(cls, body: bytes) -> Candidate:
        return cls(body)


@dataclass(frozen=True, slots=True)
class Bye:
    """
    The sender ends the session.
    """

    TYPE: ClassVar[int] = 5
    reason: str

    def body(self) -> bytes:
        return self.reason.encode("utf-8", "replace")[:1024]

    @classmethod
    def parse(cls, body: bytes) -> Bye:
        return cls(body[:1024].decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Ping(_Opaque):
    """
    Asks for a L{Pong} with the same bytes.
    """

    TYPE: ClassVar[int] = 6

    @classmethod
    def parse(cls, body: bytes) -> Ping:
        return cls(body[:64])


@dataclass(frozen=True, slots=True)
class Pong(_Opaque):
    """
    Answers a L{Ping}.
    """

    TYPE: ClassVar[int] = 7

    @classmethod
    def parse(cls, body: bytes) -> Pong:
        return cls(body[:64])


Frame = Auth | Hello | Credit | Ends | Candidate | Bye | Ping | Pong

_KINDS: dict[int, type[Frame]] = {
    kind.TYPE: kind for kind in (Auth, Hello, Credit, Ends, Candidate, Bye, Ping, Pong)
}


def pack(frame: Frame) -> bytes:
    """
    @raise ValueError: the body is longer than L{MAX_BODY}.
    """
    body = frame.body()
    if len(body) > MAX_BODY:
        raise ValueError(f"A frame's body has at most {MAX_BODY} bytes.")
    return _HEADER.pack(frame.TYPE, len(body)) + body


class Parser:
    """
    Cuts the bytes of a control stream into frames.  It never holds more than
    one unfinished frame.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """
        @return: the frames that are complete now, without unknown ones.

        @raise ProtocolViolation: what came is no frame; the parser is of no
            use afterwards.
        """
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        position = 0
        while len(buffer) - position >= _HEADER.size:
            kind, length = _HEADER.unpack_from(buffer, position)
            if length > MAX_BODY:
                raise ProtocolViolation(f"A control frame has {length} bytes.")
            end = position + _HEADER.size + length
            if len(buffer) < end:
                break
            known = _KINDS.get(kind)
            if known is not None:
                frames.append(known.parse(bytes(buffer[end - length : end])))
            position = end
        del buffer[:position]
        return frames


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ProtocolViolation("A control frame is cut short.")
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ProtocolViolation("A control frame holds a text not in UTF-8.") from e
