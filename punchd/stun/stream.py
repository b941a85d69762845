"""
STUN and ChannelData within a stream of bytes (RFC 8489, 6.2.2; RFC 8656, 12.5).
"""

from __future__ import annotations

from typing import Final

from punchd.errors import MalformedMessage

from .message import COOKIE, HEADER

#: The largest STUN message or ChannelData that the two length fields allow.
MAXIMUM_FRAME: Final = 0xFFFF + HEADER
#: So many bytes tell a STUN message from other protocols.
_TELLING: Final = 8


class FrameSplitter:
    """
    I cut a stream into frames: STUN messages, and ChannelData without the
    padding that a stream gives it.  I keep at most one unfinished frame.

    @ivar maximum: the largest frame that is accepted, in bytes.
    """

    def __init__(self, maximum: int = MAXIMUM_FRAME) -> None:
        """
        @param maximum: the largest frame that is accepted, in bytes.
        """
        self.maximum = maximum
        # What is here of an unfinished frame, the size of which may be known.
        self._buffer = bytearray()
        self._wanted = 0

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
        if buffer:
            buffer += data
            if len(buffer) < self._wanted:
                return []
            data = bytes(buffer)
            buffer.clear()
        frames = []
        at, end = 0, len(data)
        padded = 0
        while end - at >= 4:
            size, padded = self._measure(data, at)
            if end - at < padded:
                if end - at < _TELLING:
                    padded = _TELLING
                break
            frames.append(data[at : at + size])
            head = data[at : at + 4]
            at += padded
            if head[0] >= 0x40:
                # Data of one channel and one size follow each other, mostly.
                while end - at >= padded and data.startswith(head, at):
                    frames.append(data[at : at + size])
                    at += padded
            padded = 0
        if at < end:
            buffer += data[at:]
        self._wanted = padded
        return frames

    def _measure(self, data: bytes, at: int) -> tuple[int, int]:
        """
        @return: the size of the frame at C{at}, without and with padding.
        """
        length = data[at + 2] << 8 | data[at + 3]
        first = data[at]
        if first < 0x40:
            size = HEADER + length
            if length & 3 or not COOKIE.startswith(data[at + 4 : at + 8]):
                raise MalformedMessage("the stream carries something else than STUN")
        elif first < 0x80:
            size = 4 + length
        else:
            raise MalformedMessage("the stream carries something else than STUN")
        if size > self.maximum:
            raise MalformedMessage("a frame of the stream is too large")
        return size, size + (-size & 3)


def pad(frame: bytes) -> bytes:
    """
    @return: the frame as a stream carries it, a multiple of four bytes long.
    """
    return frame + bytes(-len(frame) & 3)
