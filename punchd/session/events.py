"""
What a QUIC connection has to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """
    @ivar peerSpki: DER SubjectPublicKeyInfo of the key that the listener
        showed; L{None} on the listener, for diallers show none here.
    """

    peerSpki: bytes | None


@dataclass(frozen=True, slots=True)
class StreamData:
    """
    Bytes came in order on a stream; C{end}: they were the last.
    """

    id: int
    data: bytes
    end: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """
    The peer will send nothing more on the stream, and took back what is lost.
    """

    id: int
    code: int


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """
    The peer reads nothing more on the stream.
    """

    id: int
    code: int


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """
    A DATAGRAM frame came (RFC 9221).
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class PingAcknowledged:
    """
    The ping of that number arrived.
    """

    uid: int


@dataclass(frozen=True, slots=True)
class Terminated:
    """
    The connection is over.
    """

    code: int
    reason: str


Event = (
    HandshakeCompleted
    | StreamData
    | StreamReset
    | StreamStopped
    | DatagramReceived
    | PingAcknowledged
    | Terminated
)


def translate(
    events: Iterable[Any], peerKey: Callable[[], bytes | None]
) -> list[Event]:
    """
    Make our events of the library's; qh3 and aioquic call theirs alike.  The
    data that came on a stream in one go is joined.
    """
    out: list[Event] = []
    joined: dict[int, list[bytes]] = {}
    ended: set[int] = set()
    for event in events:
        name = type(event).__name__
        if name == "StreamDataReceived":
            joined.setdefault(event.stream_id, []).append(event.data)
            if event.end_stream:
                ended.add(event.stream_id)
            continue
        _flush(joined, ended, out)
        if name == "HandshakeCompleted":
            out.append(HandshakeCompleted(peerKey()))
        elif name == "StreamReset":
            out.append(StreamReset(event.stream_id, event.error_code))
        elif name == "StopSendingReceived":
            out.append(StreamStopped(event.stream_id, event.error_code))
        elif name == "DatagramFrameReceived":
            out.append(DatagramReceived(event.data))
        elif name == "PingAcknowledged":
            out.append(PingAcknowledged(event.uid))
        elif name == "ConnectionTerminated":
            out.append(Terminated(event.error_code, event.reason_phrase))
    _flush(joined, ended, out)
    return out


def _flush(joined: dict[int, list[bytes]], ended: set[int], out: list[Event]) -> None:
    for id, parts in joined.items():
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        out.append(StreamData(id, data, id in ended))
    joined.clear()
    ended.clear()
