"""
Gateways that speak NAT-PMP or PCP, by hand: the answers that tests feed.
"""

from __future__ import annotations

import struct
from typing import Any

from punchd.portmap.lease import PORT, Lease
from punchd.portmap.natpmp import NATPMP
from punchd.portmap.pcp import PCP, packInside

GATEWAY = ("192.168.1.1", PORT)
BASE = ("192.168.1.2", 40000)
OUTSIDE = ("198.51.100.10", 40001)
NONCE = bytes(range(12))


class Dialect:
    """
    One of the two protocols, and a core that speaks it.

    @ivar core: what is under test.
    @ivar requests: the bytes of a probe, a request to map and one to release.
    """

    def __init__(self, core: Lease, epoch: int = 1000) -> None:
        self.core = core
        self.epoch = epoch

    def receive(self, data: bytes, now: float, remote: Any = GATEWAY) -> None:
        """
        Feed the core.
        """
        self.core.datagramReceived(data, BASE, remote, now)

    def sent(self) -> list[bytes]:
        """
        Take what it sends, all to the gateway.
        """
        taken = self.core.takeDatagrams()
        assert {each.remote for each in taken} <= {GATEWAY}
        return [each.data for each in taken]

    def events(self) -> list[object]:
        """
        Take what it tells.
        """
        return list(self.core.takeEvents())


class SpeaksNATPMP(Dialect):
    """
    RFC 6886.
    """

    probe = b"\0\0"
    map = struct.pack("!BBHHHI", 0, 1, 0, BASE[1], BASE[1], 7200)
    again = struct.pack("!BBHHHI", 0, 1, 0, BASE[1], OUTSIDE[1], 7200)
    release = struct.pack("!BBHHHI", 0, 1, 0, BASE[1], 0, 0)
    host = OUTSIDE[0]

    def __init__(self) -> None:
        super().__init__(NATPMP(GATEWAY[0], BASE[1]))

    def answer(self, code: int = 0, epoch: int | None = None) -> bytes:
        """
        The answer to a probe.
        """
        seconds = self.epoch if epoch is None else epoch
        head = struct.pack("!BBHI", 0, 128, code, seconds)
        return head + bytes(map_(OUTSIDE[0]))

    def granted(
        self, code: int = 0, lifetime: int = 7200, inside: int = 40000
    ) -> bytes:
        """
        The answer to a request to map or to release.
        """
        return struct.pack(
            "!BBHIHHI", 0, 129, code, self.epoch, inside, OUTSIDE[1], lifetime
        )


class SpeaksPCP(Dialect):
    """
    RFC 6887.
    """

    _head = struct.Struct("!BBHI16s")
    _map = struct.Struct("!12sBBBBHH16s")

    probe = _head.pack(2, 0, 0, 0, packInside(BASE[0]))
    map = _head.pack(2, 1, 0, 7200, packInside(BASE[0])) + _map.pack(
        NONCE, 17, 0, 0, 0, BASE[1], BASE[1], packInside("0.0.0.0")
    )
    again = _head.pack(2, 1, 0, 7200, packInside(BASE[0])) + _map.pack(
        NONCE, 17, 0, 0, 0, BASE[1], OUTSIDE[1], packInside(OUTSIDE[0])
    )
    release = _head.pack(2, 1, 0, 0, packInside(BASE[0])) + _map.pack(
        NONCE, 17, 0, 0, 0, BASE[1], 0, packInside("0.0.0.0")
    )
    host = None

    def __init__(self) -> None:
        super().__init__(PCP(GATEWAY[0], BASE, lambda count: NONCE[:count]))

    def _response(self, opcode: int, code: int, lifetime: int, epoch: int) -> bytes:
        return struct.pack("!BBBBII12x", 2, opcode | 128, 0, code, lifetime, epoch)

    def answer(self, code: int = 0, epoch: int | None = None) -> bytes:
        """
        The answer to a probe.
        """
        return self._response(0, code, 0, self.epoch if epoch is None else epoch)

    def granted(
        self,
        code: int = 0,
        lifetime: int = 7200,
        inside: int = 40000,
        nonce: bytes = NONCE,
        protocol: int = 17,
    ) -> bytes:
        """
        The answer to a request to map or to release.
        """
        return self._response(1, code, lifetime, self.epoch) + self._map.pack(
            nonce, protocol, 0, 0, 0, inside, OUTSIDE[1], packInside(OUTSIDE[0])
        )


def map_(host: str) -> list[int]:
    """
    The bytes of an IPv4 address.
    """
    return [int(part) for part in host.split(".")]
