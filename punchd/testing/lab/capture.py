"""
Watching the packets of a namespace.
"""

from __future__ import annotations

import ctypes
import ipaddress
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from .namespaces import Namespace

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_PACKET_OUTGOING = 4
_SOL_PACKET, _PACKET_STATISTICS = 263, 6

_LD_W, _LD_B, _JEQ, _AND, _RET = 0x20, 0x30, 0x15, 0x54, 0x06


@dataclass(frozen=True)
class Packet:
    """
    A packet that was seen.

    @ivar interface: where; C{outgoing} tells the direction.
    @ivar protocol: "udp", "tcp" or "icmp", else its number.
    @ivar source: the host and port (0 without ports).
    @ivar ttl: the hop limit that is left.
    @ivar data: the payload of UDP; of others, all after the IP header.
    """

    interface: str
    outgoing: bool
    protocol: str
    source: tuple[str, int]
    destination: tuple[str, int]
    ttl: int
    data: bytes


class Capture:
    """
    I see every IP packet that passes an interface of a namespace from now on, and
    keep it in the kernel until somebody asks.

    Given a host, an interface or a protocol, I keep no others'; only the host is
    sorted out by the kernel.
    """

    def __init__(
        self,
        namespace: Namespace,
        host: str | None = None,
        interface: str | None = None,
        protocol: str | None = None,
    ) -> None:
        self._socket = namespace.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        except OSError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        if host is not None:
            _attach(self._socket, _program(host))
        # Opened without an interface it saw others' packets, too.
        if interface is not None:
            self._socket.bind((interface, _ETH_P_ALL))
        self._drain()
        self._wanted = host and str(ipaddress.ip_address(host))
        self._interface = interface
        self._protocol = protocol
        self.missed = 0

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def packets(self, wait: float = 0.0) -> list[Packet]:
        """
        Take what was seen since the last time.

        @param wait: go on for this many seconds.
        @raise AssertionError: when the kernel could not keep all.
        """
        found = list(self._read(time.monotonic() + wait))
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.missed += struct.unpack("II", counts)[1]
        if self.missed:
            raise AssertionError(f"the capture has missed {self.missed} packets")
        return found

    def _read(self, until: float) -> Iterator[Packet]:
        while True:
            left = max(0.0, until - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return
            data, (interface, _, direction, *_) = self._socket.recvfrom(70000)
            packet = _parse(data, interface, direction == _PACKET_OUTGOING)
            if packet is None or self._interface not in (None, interface):
                continue
            if self._protocol not in (None, packet.protocol):
                continue
            if self._wanted in (None, packet.source[0], packet.destination[0]):
                yield packet

    def _drain(self) -> None:
        while select.select([self._socket], [], [], 0)[0]:
            # Python does nothing when it is asked for nothing.
            self._socket.recv(1)

    def close(self) -> None:
        """
        See nothing any more.
        """
        self._socket.close()


def _parse(data: bytes, interface: str, outgoing: bool) -> Packet | None:
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        length, number, ttl = (data[0] & 15) * 4, data[9], data[8]
        source, destination = data[12:16], data[16:20]
        # Only the first fragment has ports.
        ports = not struct.unpack_from("!H", data, 6)[0] & 0x1FFF
    elif version == 6 and len(data) >= 40:
        length, number, ttl = 40, data[6], data[7]
        source, destination = data[8:24], data[24:40]
        ports = True
    else:
        return None
    body = data[length:]
    a = b = 0
    if number in (6, 17) and ports and len(body) >= 8:
        a, b = struct.unpack_from("!HH", body)
    return Packet(
        interface,
        outgoing,
        {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}.get(number, str(number)),
        (str(ipaddress.ip_address(source)), a),
        (str(ipaddress.ip_address(destination)), b),
        ttl,
        body[8:] if number == 17 else body,
    )


def _program(host: str) -> list[tuple[int, int, int, int]]:
    """
    The classic BPF that accepts packets from or to a host.
    """
    address = ipaddress.ip_address(host)
    words = struct.unpack(f"!{address.max_prefixlen // 32}I", address.packed)
    places = (12, 16) if address.version == 4 else (8, 24)
    # version, source, destination, reject, accept
    size = 3 + 2 * 2 * len(words) + 2
    lines = [(_LD_B, 0, 0, 0), (_AND, 0, 0, 0xF0)]
    reject, accept = size - 2, size - 1
    lines.append((_JEQ, 0, reject - 3, address.version << 4))
    for n, place in enumerate(places):
        following = 3 + (n + 1) * 2 * len(words)
        for i, word in enumerate(words):
            lines.append((_LD_W, 0, 0, place + 4 * i))
            here = len(lines) + 1
            matched = accept - here if i == len(words) - 1 else 0
            lines.append((_JEQ, matched, following - here, word))
    return [*lines, (_RET, 0, 0, 0), (_RET, 0, 0, 0x40000)]


def _attach(sock: socket.socket, lines: list[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HL", len(lines), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
