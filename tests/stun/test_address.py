"""
Addresses: their forms, and what no relay may reach in whatever form.
"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import MalformedMessage
from punchd.stun.address import (
    canonicalHost,
    family,
    isForbiddenPeer,
    isPublic,
    packAddress,
    packXorAddress,
    prefixOf,
    unpackAddress,
    unpackXorAddress,
)

ID = b"transactions"

FORBIDDEN4 = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.170",
    "192.88.99.1",
    "192.168.1.1",
    "198.19.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
ALLOWED4 = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.32.0.0",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.10",
    "223.255.255.255",
]


def encodings(host: str) -> list[str]:
    """
    @return: every IPv6 address that leads to the IPv4 address C{host}.
    """
    number = int(ipaddress.IPv4Address(host))
    high, low = number >> 16, number & 0xFFFF
    hidden = number ^ 0xFFFFFFFF
    return [
        f"::ffff:{host}",
        f"::FFFF:{high:x}:{low:x}",
        f"0:0:0:0:0:ffff:{host}",
        f"::{high:x}:{low:x}",
        f"::ffff:0:{host}",
        f"64:ff9b::{host}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}::",
        f"2001:0:101:101:0:0:{hidden >> 16:x}:{hidden & 0xFFFF:x}",
        f"2001:db8::5efe:{host}",
        f"2001:db8::200:5efe:{host}",
    ]


@pytest.mark.parametrize("host", FORBIDDEN4)
def test_forbiddenInEveryForm(host: str) -> None:
    """
    A forbidden IPv4 address is forbidden in all its encodings.
    """
    assert isForbiddenPeer(host)
    for each in encodings(host):
        assert isForbiddenPeer(each), each
        assert not isPublic(each), each


@pytest.mark.parametrize("host", ALLOWED4)
def test_allowed(host: str) -> None:
    """
    Public addresses, the documentation networks among them, are not.
    """
    assert not isForbiddenPeer(host)
    assert isPublic(host)


@pytest.mark.parametrize(
    "host",
    [
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "100::1",
        "64:ff9b:1::1.1.1.1",
        "",
        "example.org",
        "127.1",
        "0x7f000001",
        "127.0.0.01",
    ],
)
def test_forbiddenIPv6(host: str) -> None:
    """
    So are special IPv6 addresses, and what is no address at all.
    """
    assert isForbiddenPeer(host)
    assert not isPublic(host)


@pytest.mark.parametrize("host", ["2001:db8::1", "2a00::1", "64:ff9b::1.1.1.1"])
def test_allowedIPv6(host: str) -> None:
    """
    Global unicast, documentation and NAT64 of a public address pass.
    """
    assert not isForbiddenPeer(host)
    assert isPublic(host)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 65535))
def test_packed(host: ipaddress.IPv4Address, port: int) -> None:
    """
    Addresses survive both codecs; the text of IPv4-mapped ones has dots in
    every version of Python.
    """
    text = str(host)
    mapped = getattr(host, "ipv4_mapped", None)
    if mapped is not None:
        text = f"::ffff:{mapped}"
    address = (text, port)
    assert unpackAddress(packAddress(address)) == address
    assert unpackXorAddress(packXorAddress(address, ID), ID) == address
    assert family(address) == host.version


@given(st.binary(max_size=24))
def test_garbage(data: bytes) -> None:
    """
    Arbitrary bytes are an address or malformed.
    """
    for unpack in (unpackAddress, lambda value: unpackXorAddress(value, ID)):
        try:
            host, port = unpack(data)
        except MalformedMessage:
            continue
        ipaddress.ip_address(host)
        assert 0 <= port <= 65535


def test_canonical() -> None:
    """
    One host has one form.
    """
    assert canonicalHost("::FFFF:1.2.3.4") == "1.2.3.4"
    assert canonicalHost("2001:DB8:0:0::1") == "2001:db8::1"
    assert canonicalHost("fe80::1%eth0") == "fe80::1"
    with pytest.raises(ValueError):
        canonicalHost("localhost")


def test_prefix() -> None:
    """
    Limits are counted by /24 and /56.
    """
    assert prefixOf("203.0.113.77") == prefixOf("::ffff:203.0.113.1")
    assert prefixOf("203.0.113.77") != prefixOf("203.0.114.77")
    assert prefixOf("2001:db8:1:2ff::1") == prefixOf("2001:db8:1:200::1")
    assert prefixOf("2001:db8:1:300::1") != prefixOf("2001:db8:1:200::1")
