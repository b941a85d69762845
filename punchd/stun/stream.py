"""
STUN and ChannelData within a stream of bytes (RFC 8489, 6.2.2; RFC 8656, 12.5).
"""

from __future__ import annotations

from typing import Final

from punchd.errors import MalformedMessage

from .message import COOKIE, HEADER

#: The largest STUN message or ChannelData that the two length fields allow.
MAXIMUM_FRAME: Final = 0xFFFF + HEADER


class FrameSplitter:
    """
    I cut a stream into frames: STUN messages, and ChannelData without the
    padding that a stream gives it.  I keep at most one unfinished frame.
    """

    def __init__(self, maximum: int = MAXIMUM_FRAME) -> None:
        """
        @param maximum: the largest frame that is accepted, in bytes.
        """
        self._maximum = maximum
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """
        The bytes of the unfinished frame that are here.
        """
        return len(self._buffer)

    def dataReceived(self, data: bytes) -> list[bytes]:
        """
        @return: the frames that C{data} has completed.

        @raise MalformedMessage: this is not such a stream, or a frame is too
            large; there is no way to go on after it.
        """
        buffer = self._buffer
        buffer += data
        frames = []
        at = 0
        while len(buffer) - at >= 4:
            size, padded = self._measure(buffer, at)
            if len(buffer) - at < padded:
                break
            frames.append(bytes(buffer[at : at + size]))
            at += padded
        del buffer[:at]
        return frames

    def _measure(self, buffer: bytearray, at: int) -> tuple[int, int]:
        """
        @return: the size of the frame at C{at}, without and with padding.
        """
        length = buffer[at + 2] << 8 | buffer[at + 3]
        if buffer[at] < 0x40:
            size = HEADER + length
            seen = bytes(buffer[at + 4 : at + 8])
            if length & 3 or not COOKIE.startswith(seen):
                raise MalformedMessage("the stream carries something else than STUN")
        elif buffer[at] < 0x80:
            size = 4 + length
        else:
            raise MalformedMessage("the stream carries something else than STUN")
        if size > self._maximum:
            raise MalformedMessage("a frame of the stream is too large")
        return size, size + (-size & 3)


def pad(frame: bytes) -> bytes:
    """
    @return: the frame as a stream carries it, a multiple of four bytes long.
    """
    return frame + bytes(-len(frame) & 3)
