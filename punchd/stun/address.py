"""
Addresses as STUN writes them, and what may be done with them.

The deny list is explicit and compared after every form that hides an IPv4
address within an IPv6 one is unwrapped: lists that forgot one such form let
relays reach their own loopback (CVE-2020-26262).  C{ipaddress.is_global} is of
no use here: it calls the documentation networks, on which laboratories are
built, not global.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from punchd.core import Address
from punchd.errors import MalformedMessage

#: Address families on the wire (RFC 8489, 14.1).
FAMILY_IPV4: Final = 1
FAMILY_IPV6: Final = 2

_COOKIE: Final = b"\x21\x12\xa4\x42"
_COOKIE_HIGH: Final = 0x2112
_COOKIE_NUMBER: Final = 0x2112A442

_NOT_PEERS4 = (
    "0.0.0.0/8",  # unspecified, "this network" (RFC 1122, 3.2.1.3)
    "10.0.0.0/8",  # private (RFC 1918)
    "100.64.0.0/10",  # shared (RFC 6598)
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local (RFC 3927)
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocol assignments (RFC 6890)
    "192.88.99.0/24",  # 6to4 relays, withdrawn (RFC 7526)
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarks (RFC 2544)
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and the broadcast address
)
_NOT_PEERS6 = (
    "::/127",  # unspecified and loopback
    "64:ff9b:1::/48",  # NAT64 of somebody's own; its layout is unknown (RFC 8215)
    "100::/64",  # discard (RFC 6666)
    "fc00::/7",  # unique local (RFC 4193)
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local, deprecated (RFC 3879)
    "ff00::/8",  # multicast
)

#: The first 96 bits of what carries an IPv4 address in the last 32.
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # RFC 4291, 2.5.5.2
_LEAD_TO_IPV4: Final = frozenset(
    {
        _MAPPED,
        b"\0" * 12,  # IPv4-compatible (RFC 4291, 2.5.5.1)
        b"\0" * 8 + b"\xff\xff\0\0",  # IPv4-translated (RFC 2765)
        b"\0\x64\xff\x9b" + b"\0" * 8,  # NAT64 (RFC 6052)
    }
)


def _ranges(networks: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    found = (ipaddress.ip_network(text) for text in networks)
    return tuple(
        (int(each.network_address), int(each.broadcast_address)) for each in found
    )


_RANGES4 = _ranges(_NOT_PEERS4)
_RANGES6 = _ranges(_NOT_PEERS6)


def family(address: Address) -> int:
    """
    @return: 4 or 6.
    """
    return 6 if ":" in address[0] else 4


@lru_cache(maxsize=4096)
def packHost(host: str) -> bytes:
    """
    @return: the 4 or 16 bytes of the host; a scope is dropped.

    @raise ValueError: C{host} is not a literal address.
    """
    if ":" not in host:
        # The usual text is read without ado; a flood brings many hosts.
        try:
            packed = bytes(map(int, host.split(".")))
        except ValueError:
            packed = b""
        if len(packed) == 4 and unpackHost(packed) == host:
            return packed
    return ipaddress.ip_address(host.partition("%")[0]).packed


@lru_cache(maxsize=4096)
def _text6(packed: bytes) -> str:
    """
    @return: RFC 5952 text, the IPv4-mapped form with dots in every Python.
    """
    if packed.startswith(_MAPPED):
        return "::ffff:" + unpackHost(packed[12:])
    return ipaddress.IPv6Address(packed).compressed


def unpackHost(packed: bytes) -> str:
    """
    @return: the text of 4 or 16 bytes.

    @raise ValueError: there are not 4 or 16 of them.
    """
    if len(packed) == 4:
        return f"{packed[0]}.{packed[1]}.{packed[2]}.{packed[3]}"
    if len(packed) == 16:
        return _text6(packed)
    raise ValueError("an address has 4 or 16 bytes")


def packAddress(address: Address) -> bytes:
    """
    @return: the value of MAPPED-ADDRESS and its like (RFC 8489, 14.1).
    """
    packed = packHost(address[0])
    kind = FAMILY_IPV4 if len(packed) == 4 else FAMILY_IPV6
    return bytes((0, kind)) + address[1].to_bytes(2, "big") + packed


def unpackAddress(data: bytes) -> Address:
    """
    Read the value of MAPPED-ADDRESS and its like.

    @raise MalformedMessage: the family or the length is wrong.
    """
    if len(data) == 8 and data[1] == FAMILY_IPV4:
        return (".".join(map(str, data[4:])), data[2] << 8 | data[3])
    if len(data) == 20 and data[1] == FAMILY_IPV6:
        return (_text6(data[4:]), data[2] << 8 | data[3])
    raise MalformedMessage("an address has a wrong family or length")


def packXorAddress(address: Address, transactionId: bytes) -> bytes:
    """
    @return: the value of XOR-MAPPED-ADDRESS and its like (RFC 8489, 14.2).
    """
    return _xor(packAddress(address), transactionId)


def unpackXorAddress(data: bytes, transactionId: bytes) -> Address:
    """
    Read the value of XOR-MAPPED-ADDRESS and its like.

    @raise MalformedMessage: the family or the length is wrong.
    """
    if len(data) == 8 and data[1] == FAMILY_IPV4:
        number = int.from_bytes(data[4:], "big") ^ _COOKIE_NUMBER
        return (
            f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            (data[2] << 8 | data[3]) ^ _COOKIE_HIGH,
        )
    if len(data) != 20 or data[1] != FAMILY_IPV6:
        raise MalformedMessage("an address has a wrong family or length")
    return unpackAddress(_xor(data, transactionId))


def _xor(value: bytes, transactionId: bytes) -> bytes:
    """
    Exclusive-or the port with the cookie's upper half, and the host with the
    cookie and the transaction id.
    """
    mask = b"\0\0" + _COOKIE[:2] + (_COOKIE + transactionId)[: len(value) - 4]
    number = int.from_bytes(value, "big") ^ int.from_bytes(mask, "big")
    return number.to_bytes(len(value), "big")


def canonicalHost(host: str) -> str:
    """
    Write a host in the one form in which hosts are compared: RFC 5952 text
    without a scope, and an IPv4-mapped address as the IPv4 address it is.

    @raise ValueError: C{host} is not a literal address.
    """
    packed = packHost(host)
    if len(packed) == 16 and packed.startswith(_MAPPED):
        packed = packed[12:]
    return unpackHost(packed)


def _embedded(packed: bytes) -> Iterator[bytes]:
    """
    @return: the IPv4 addresses that an IPv6 address leads to.
    """
    if packed[:12] in _LEAD_TO_IPV4:
        yield packed[12:]
    elif packed.startswith(b"\x20\x02"):  # 6to4 (RFC 3056)
        yield packed[2:6]
    elif packed.startswith(b"\x20\x01\0\0"):  # Teredo (RFC 4380, 4)
        yield packed[4:8]
        yield bytes(each ^ 255 for each in packed[12:])
    if packed[8:12] in (b"\0\0\x5e\xfe", b"\2\0\x5e\xfe"):  # ISATAP (RFC 5214)
        yield packed[12:]


@lru_cache(maxsize=4096)
def embeddedHosts(host: str) -> tuple[str, ...]:
    """
    @return: the IPv4 hosts that an IPv6 one leads to.

    @raise ValueError: C{host} is not a literal address.
    """
    packed = packHost(host)
    found = _embedded(packed) if len(packed) == 16 else ()
    return tuple(unpackHost(each) for each in found)


def _within(packed: bytes, ranges: tuple[tuple[int, int], ...]) -> bool:
    number = int.from_bytes(packed, "big")
    return any(low <= number <= high for low, high in ranges)


@lru_cache(maxsize=4096)
def isForbiddenPeer(host: str) -> bool:
    """
    @return: whether no relay may ever send to C{host}: unspecified, loopback,
        link-local, private, shared, unique-local, multicast, broadcast and
        reserved addresses, in every encoding, and what is no address at all.
    """
    try:
        packed = packHost(host)
    except ValueError:
        return True
    if len(packed) == 4:
        return _within(packed, _RANGES4)
    return _within(packed, _RANGES6) or any(
        _within(each, _RANGES4) for each in _embedded(packed)
    )


@lru_cache(maxsize=4096)
def isPublic(host: str) -> bool:
    """
    @return: whether C{host} is an address of the public Internet.  The
        documentation networks (RFC 5737, RFC 3849) count as such.
    """
    if isForbiddenPeer(host):
        return False
    packed = packHost(host)
    # Global unicast is 2000::/3 so far (RFC 4291, 2.4); NAT64 lies outside.
    return len(packed) == 4 or packed[0] >> 5 == 1 or packed.startswith(b"\0\x64")


@lru_cache(maxsize=4096)
def prefixOf(host: str) -> str:
    """
    @return: the network that limits are counted by, since addresses within
        one are free to whoever has it: the /24 of an IPv4 and the /56 of an
        IPv6 address.

    @raise ValueError: C{host} is not a literal address.
    """
    packed = packHost(host)
    if packed.startswith(_MAPPED):
        packed = packed[12:]
    if len(packed) == 4:
        return f"{packed[0]}.{packed[1]}.{packed[2]}.0/24"
    return unpackHost(packed[:7] + b"\0" * 9) + "/56"
