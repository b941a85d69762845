"""
NAT-PMP (RFC 6886): its wire format, and the client as a core object.
"""

from __future__ import annotations

import struct
from typing import Final

from punchd.stun.address import unpackHost

from .events import Available
from .lease import LIFETIME, Lease, Request

VERSION: Final = 0
#: RFC 6886, 3.2.
ADDRESS: Final = 0
#: RFC 6886, 3.3.
MAP_UDP: Final = 1
#: Added to the opcode of a request in its response (RFC 6886, 3.5).
RESPONSE: Final = 128

_HEADER: Final = struct.Struct("!BBHI")
_MAP: Final = struct.Struct("!BBHHHI")
_MAPPED: Final = struct.Struct("!HHI")

#: RFC 6886, 3.5.
REASONS: Final = {
    1: "the router does not speak this version",
    2: "the router has it switched off",
    3: "the router has no address outside",
    4: "the router has no ports left",
    5: "the router does not know the request",
}


class NATPMP(Lease):
    """
    I ask a gateway by NAT-PMP.

    @ivar host: the gateway's address outside, once it was told.
    """

    def __init__(self, gateway: str, port: int, lifetime: int = LIFETIME) -> None:
        """
        @param port: our UDP port, which is also the one that we would like to
            have outside.
        """
        super().__init__(gateway, lifetime)
        self.port = port
        self.host: str | None = None
        self._wantsMap = False

    def map(self, now: float) -> None:
        """
        Ask for the mapping; for the address first, unless it was just told.
        """
        self._wantsMap = True
        super().map(now) if self.host is not None else self._ask(Request.PROBE, now)

    def release(self, now: float) -> None:
        """
        Give the mapping back (RFC 6886, 3.4).
        """
        self._wantsMap = False
        super().release(now)

    def _message(self, request: Request) -> bytes:
        if request is Request.PROBE:
            return bytes((VERSION, ADDRESS))
        if request is Request.RELEASE:
            return _MAP.pack(VERSION, MAP_UDP, 0, self.port, 0, 0)
        outside = self.address[1] if self.address is not None else self.port
        return _MAP.pack(VERSION, MAP_UDP, 0, self.port, outside, self.lifetime)

    def _restarted(self, epoch: int, now: float) -> bool:
        """
        RFC 6886, 3.6: it may lag an eighth behind, and two seconds.
        """
        assert self._epoch is not None
        before, when = self._epoch
        return epoch + 2 < before + (now - when) * 7 / 8

    def _answered(self, data: bytes, now: float) -> str | None:
        if len(data) < _HEADER.size:
            return "short"
        version, opcode, code, epoch = _HEADER.unpack_from(data)
        if version != VERSION or opcode < RESPONSE:
            return "not a NAT-PMP response"
        request = self._request
        expected = ADDRESS if request is Request.PROBE else MAP_UDP
        if request is None or opcode != RESPONSE + expected:
            return "response to nothing"
        if code:
            # RFC 6886, 3.5: an error may come without the rest.
            if request is Request.PROBE and self.address is not None:
                self._forget()
                return None
            self._refused(REASONS.get(code, f"the router says error {code}"), code)
            return None
        if request is Request.PROBE:
            return self._addressTold(data[_HEADER.size :], epoch, now)
        return self._mapTold(data[_HEADER.size :], epoch, now)

    def _addressTold(self, rest: bytes, epoch: int, now: float) -> str | None:
        if len(rest) < 4:
            return "short"
        host = unpackHost(rest[:4])
        before, self.host = self.host, host
        self._forget()
        self._heard(epoch, now)
        if self.address is not None:
            if host != before:
                self._renewAt = now
        elif self._wantsMap:
            super().map(now)
        else:
            self._events.append(Available(host))
        return None

    def _mapTold(self, rest: bytes, epoch: int, now: float) -> str | None:
        if len(rest) < _MAPPED.size:
            return "short"
        inside, outside, lifetime = _MAPPED.unpack_from(rest)
        if inside != self.port:
            return "response for another port"
        if self._request is Request.RELEASE:
            self._refused("", 0)
            return None
        self._heard(epoch, now)
        assert self.host is not None
        self._granted((self.host, outside), lifetime, now)
        return None
