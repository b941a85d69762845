"""
PCP (RFC 6887): its wire format, and the client of the MAP opcode as a core
object.

A mapping of IPv6 is a pinhole: most gateways tell the very address that was
asked for.  ANNOUNCE (RFC 6887, 14.1) is sent to find a server, and not listened
for: a restarted gateway is noticed when it is asked again.
"""

from __future__ import annotations

import struct
from typing import Final

from punchd.core import Address, Entropy
from punchd.stun.address import canonicalHost, packHost, unpackHost

from .events import Available
from .lease import LIFETIME, Lease, Request

VERSION: Final = 2
ANNOUNCE: Final = 0
MAP: Final = 1
#: The bit that tells a response (RFC 6887, 7.2).
RESPONSE: Final = 0x80
UDP: Final = 17

_REQUEST: Final = struct.Struct("!BBHI16s")
_RESPONSE: Final = struct.Struct("!BBxBII12x")
_MAP: Final = struct.Struct("!12sB3xHH16s")
#: RFC 6887, 7: no message is longer, all are multiples of four.
_LONGEST: Final = 1100

_DELETING: Final = (Request.RELEASE, Request.REPLACE)
#: Seconds that are asked for, unless it is a mapping to use: RFC 6887, 15 has 0 for its
#: end, and gateways make of 1 the least that they give.
_LIFETIMES: Final = {**dict.fromkeys(_DELETING, 0), Request.SHORTEN: 1}

_MAPPED_PREFIX: Final = b"\0" * 10 + b"\xff\xff"

#: RFC 6887, 7.4.
UNSUPP_VERSION: Final = 1
NOT_AUTHORIZED: Final = 2
UNSUPP_OPCODE: Final = 4
NO_RESOURCES: Final = 8
REASONS: Final = {
    UNSUPP_VERSION: "the router does not speak this version",
    NOT_AUTHORIZED: "the router does not allow it",
    3: "the router found the request malformed",
    UNSUPP_OPCODE: "the router does not know the request",
    5: "the router does not know an option",
    6: "the router found an option malformed",
    7: "the router has no connection to the outside",
    NO_RESOURCES: "the router has no resources left",
    9: "the router does not map UDP",
    10: "we have too many mappings already",
    11: "the router cannot provide the port",
    12: "there is another NAT between us and the router",
    13: "the router does not filter for so many peers",
}


def packInside(host: str) -> bytes:
    """
    @return: the 16 bytes of a host, IPv4 as IPv4-mapped (RFC 6887, 5).
    """
    packed = packHost(host)
    return packed if len(packed) == 16 else _MAPPED_PREFIX + packed


class PCP(Lease):
    """
    I ask a gateway by PCP.

    @ivar base: the address of ours that is to be reached.
    """

    def __init__(
        self, gateway: str, base: Address, entropy: Entropy, lifetime: int = LIFETIME
    ) -> None:
        """
        @param base: its host must be the one that the requests leave from (RFC
            6887, 8.1).
        @param entropy: for the nonce, by which the gateway knows whose mapping
            it is (RFC 6887, 11.1).
        """
        super().__init__(gateway, lifetime)
        self.base = base
        self._nonce = entropy(12)
        self._replaced = False

    def _message(self, request: Request) -> bytes:
        inside = packInside(self.base[0])
        if request is Request.PROBE:
            return _REQUEST.pack(VERSION, ANNOUNCE, 0, 0, inside)
        lifetime = _LIFETIMES.get(request, self.lifetime)
        # RFC 6887, 15: an end names none.
        outside = self.address if lifetime else None
        if outside is None:
            # Any address, our own port: RFC 6887, 11.1.
            wildcard = "::" if ":" in self.base[0] else "0.0.0.0"
            outside = (wildcard, self.base[1] if lifetime else 0)
        return _REQUEST.pack(VERSION, MAP, 0, lifetime, inside) + _MAP.pack(
            self._nonce, UDP, self.base[1], outside[1], packInside(outside[0])
        )

    def _restarted(self, epoch: int, now: float) -> bool:
        """
        RFC 6887, 8.5: the clocks may differ by a sixteenth, and two seconds.
        """
        assert self._epoch is not None
        before, when = self._epoch
        server, client = epoch - before, now - when
        return (
            server < -1
            or client + 2 < server - server / 16
            or server + 2 < client - client / 16
        )

    def _answered(self, data: bytes, now: float) -> str | None:
        if len(data) < 4 or not data[1] & RESPONSE:
            return "not a response"
        request = self._request
        if data[0] != VERSION:
            # A NAT-PMP server: version 0 and "unsupported" (RFC 6887, 9).
            if data[0] == 0 and request is Request.PROBE and self.address is None:
                self._refused(REASONS[UNSUPP_VERSION], UNSUPP_VERSION)
                return None
            return "another version"
        if len(data) < _RESPONSE.size or len(data) > _LONGEST or len(data) % 4:
            return "odd length"
        _, opcode, code, lifetime, epoch = _RESPONSE.unpack_from(data)
        opcode &= ~RESPONSE
        expected = ANNOUNCE if request is Request.PROBE else MAP
        if request is None or opcode != expected:
            return "response to nothing"
        if request is Request.PROBE:
            self._probed(code, epoch, now)
            return None
        return self._mapTold(data[_RESPONSE.size :], code, lifetime, epoch, now)

    def _probed(self, code: int, epoch: int, now: float) -> None:
        known = self.address is not None
        # A server that does not know ANNOUNCE is one all the same.
        if code not in (0, UNSUPP_OPCODE):
            if known:
                self._forget()
            else:
                self._refused(REASONS.get(code, f"the router says error {code}"), code)
            return
        self._forget()
        self._heard(epoch, now)
        if not known:
            self._events.append(Available())

    def _mapTold(
        self, rest: bytes, code: int, lifetime: int, epoch: int, now: float
    ) -> str | None:
        if len(rest) < _MAP.size:
            return "odd length"
        nonce, protocol, inside, port, host = _MAP.unpack_from(rest)
        # RFC 6887, 11.4.
        if (nonce, protocol, inside) != (self._nonce, UDP, self.base[1]):
            return "response for another mapping"
        request = self._request
        if code:
            self._mapRefused(code, now)
            return None
        if request in _DELETING and lifetime:
            return "late response"
        if request is Request.REPLACE:
            self._ask(Request.MAP, now)
            return None
        if request is not Request.MAP:
            self._refused("", 0)
            return None
        self._replaced = False
        self._heard(epoch, now)
        self._granted((canonicalHost(unpackHost(host)), port), lifetime, now)
        return None

    def _mapRefused(self, code: int, now: float) -> None:
        request = self._request
        renewing = request is Request.MAP and self.address is not None
        if request is Request.RELEASE and code == NOT_AUTHORIZED:
            # Some versions of miniupnpd forget whose a pinhole is when it is renewed.
            self._ask(Request.SHORTEN, now)
        elif renewing and code == NO_RESOURCES and not self._replaced:
            # miniupnpd on BSD can end pinholes, and cannot renew them.
            self._replaced = True
            self._ask(Request.REPLACE, now)
        elif request is Request.REPLACE:
            self._ask(Request.MAP, now)
        else:
            self._refused(REASONS.get(code, f"the router says error {code}"), code)
