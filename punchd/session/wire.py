"""
What stands at the head of each stream before the bytes of its user.

The opener sends a head that names the service, and may go on with data at
once.  The acceptor sends a head that says whether it lets the opener in, and
why not.  Both begin with the length of what follows, so that a later version
may append to either, in C{open} behind the flags::

    open  = length(2)  version(1)  nameLength(1)  name    [flags(1)]  extensions
    reply = length(2)  status(1)   reasonLength(1) reason              extensions
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from punchd.errors import (
    NoSuchService,
    NotAllowed,
    ProtocolViolation,
    RemoteError,
    ServiceFailed,
)

#: The version of the head of a stream.
VERSION = 1

#: The longest head, without its own two bytes of length.
MAX_HEAD = 1024

_DATAGRAMS = 0x01

#: The longest name of a service and the longest reason, in bytes of UTF-8.
MAX_TEXT = 255


class Status(IntEnum):
    """
    How an acceptor answers.
    """

    OK = 0
    NOT_ALLOWED = 1
    NO_SUCH_SERVICE = 2
    FAILED = 3


_ERRORS: dict[int, type[RemoteError]] = {
    Status.NOT_ALLOWED: NotAllowed,
    Status.NO_SUCH_SERVICE: NoSuchService,
    Status.FAILED: ServiceFailed,
}


@dataclass(frozen=True, slots=True)
class Open:
    """
    The head that an opener sends.

    @ivar datagrams: whether the stream accompanies datagrams, and carries those
        alone that do not fit into a DATAGRAM frame.
    """

    service: str
    version: int = VERSION
    datagrams: bool = False

    def pack(self) -> bytes:
        """
        @raise ValueError: the name is empty or too long.
        """
        name = self.service.encode("utf-8")
        if not 0 < len(name) <= MAX_TEXT:
            raise ValueError(
                f"A service's name has 1 to {MAX_TEXT} bytes of UTF-8, "
                f"{self.service!r} has {len(name)}."
            )
        flags = bytes((_DATAGRAMS,)) if self.datagrams else b""
        return _pack(self.version, name, flags)

    @classmethod
    def parse(cls, body: bytes) -> Open:
        """
        @raise ProtocolViolation: the bytes are no such head.
        """
        version, service = _parse(body)
        if not service:
            raise ProtocolViolation("The peer opened a stream for no service.")
        flags = body[2 + body[1] : 3 + body[1]]
        return cls(service, version, bool(flags and flags[0] & _DATAGRAMS))


@dataclass(frozen=True, slots=True)
class Reply:
    """
    The head that an acceptor sends.
    """

    status: int
    reason: str = ""

    def pack(self) -> bytes:
        # A character that was cut in two is dropped.
        reason = self.reason.encode("utf-8", "replace")[:MAX_TEXT]
        return _pack(self.status, reason.decode("utf-8", "ignore").encode("utf-8"))

    @classmethod
    def parse(cls, body: bytes) -> Reply:
        """
        @raise ProtocolViolation: the bytes are no such head.
        """
        return cls(*_parse(body))

    @classmethod
    def of(cls, error: type[RemoteError], reason: str = "") -> Reply:
        """
        @return: the refusal that becomes C{error} again at the opener;
            whatever has no status of its own becomes L{ServiceFailed}.
        """
        for status, known in _ERRORS.items():
            if issubclass(error, known):
                return cls(status, reason)
        return cls(Status.FAILED, reason)

    def error(self) -> RemoteError | None:
        """
        @return: what the opener is told, or L{None} when it was let in.
        """
        if self.status == Status.OK:
            return None
        kind = _ERRORS.get(self.status, ServiceFailed)
        return kind(self.reason) if self.reason else kind()


def cut(buffer: bytearray) -> bytes | None:
    """
    Take the head from the front of what came in so far.

    @return: the head without its length, or L{None} when some is missing.

    @raise ProtocolViolation: the head would be too long.
    """
    if len(buffer) < 2:
        return None
    length = int.from_bytes(buffer[:2], "big")
    if not 2 <= length <= MAX_HEAD:
        raise ProtocolViolation(f"The head of a stream has {length} bytes.")
    if len(buffer) < 2 + length:
        return None
    body = bytes(buffer[2 : 2 + length])
    del buffer[: 2 + length]
    return body


def _pack(first: int, text: bytes, more: bytes = b"") -> bytes:
    body = bytes((first, len(text))) + text + more
    return len(body).to_bytes(2, "big") + body


def _parse(body: bytes) -> tuple[int, str]:
    if len(body) < 2 or len(body) < 2 + body[1]:
        raise ProtocolViolation("The head of a stream is cut short.")
    try:
        return body[0], body[2 : 2 + body[1]].decode("utf-8")
    except UnicodeDecodeError as e:
        raise ProtocolViolation("The head of a stream is not UTF-8.") from e
