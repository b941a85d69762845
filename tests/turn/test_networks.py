"""
What operators deny and allow, and our own addresses in every encoding.
"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import InvalidOption
from punchd.stun.address import embeddedHosts, isForbiddenPeer
from punchd.stun.attributes import Attribute
from punchd.turn.limits import Limits, Quota, limitsOf, parseLimit
from punchd.turn.networks import PeerNetworks, parseNetwork
from tests.turn.link import RELAY, Link, Raw

IPV6 = (Attribute.REQUESTED_ADDRESS_FAMILY, 2)


def encodings(host: str) -> list[str]:
    """
    @return: the IPv6 addresses that lead to an IPv4 host.
    """
    number = int(ipaddress.IPv4Address(host))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    other = number ^ 0xFFFFFFFF
    return [
        f"::ffff:{host}",  # IPv4-mapped
        f"::{high}:{low}",  # IPv4-compatible
        f"::ffff:0:{high}:{low}",  # IPv4-translated
        f"2002:{high}:{low}::1",  # 6to4
        f"64:ff9b::{high}:{low}",  # NAT64
        f"2001:0:{high}:{low}::1",  # Teredo, the server
        f"2001:0:808:808:0:1:{other >> 16:x}:{other & 0xFFFF:x}",  # the client
        f"2001:db8::5efe:{high}:{low}",  # ISATAP
    ]


OWN = "198.51.100.250"


@pytest.mark.parametrize("host", [*encodings(OWN), *encodings(RELAY)])
def test_ownAddressInDisguise(host: str) -> None:
    """
    Our own IPv4 addresses cannot be reached by way of translators and tunnels,
    whether something is relayed there or not.
    """
    link = Link(ownHosts=[OWN])
    Raw(link, ("198.51.100.3", 9)).allocate()
    raw = Raw(link)
    raw.allocate(IPV6)
    assert raw.permit(host) == 403
    assert raw.bind(0x4000, (host, 22)) == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
def test_deniedInDisguise(host: str) -> None:
    """
    What is denied is denied in every encoding, and to everybody: users of a list
    too.
    """
    link = Link()
    raw = Raw(link)
    raw.allocate(IPV6)
    codes = {each: raw.permit(each) for each in encodings(host)}
    assert set(codes.values()) == {403}, codes


@given(st.ip_addresses(v=4))
def test_everyEncodingIsSeenThrough(address: ipaddress.IPv4Address) -> None:
    """
    Whatever leads to an IPv4 host is denied when the host is.
    """
    host = str(address)
    networks = PeerNetworks(denied=[ipaddress.ip_network(host)])
    for each in encodings(host):
        assert host in embeddedHosts(str(ipaddress.ip_address(each)))
        assert networks(each)
        assert PeerNetworks()(each) >= isForbiddenPeer(host)


def test_denied() -> None:
    """
    Networks that the operator denies, and nothing else.
    """
    denied = ["203.0.113.0/24", "2001:db8:1::/48", "192.0.2.7"]
    networks = PeerNetworks(denied=[parseNetwork("--relay-deny", e) for e in denied])
    for host in ("203.0.113.9", "2001:db8:1::9", "192.0.2.7", "64:ff9b::192.0.2.7"):
        assert networks(host), host
    for host in ("203.0.112.9", "2001:db8:2::9", "192.0.2.8", "64:ff9b::192.0.2.8"):
        assert not networks(host), host
    assert networks("not an address")


def test_allowed() -> None:
    """
    An allowed network is taken off both deny lists; what leads to it only if it is
    allowed, too.
    """
    allowed = ["10.1.0.0/16", "fd00:1::/64", "203.0.113.7", "64:ff9b::/96"]
    networks = PeerNetworks(
        [parseNetwork("--relay-allow", e) for e in allowed],
        [parseNetwork("--relay-deny", "203.0.113.0/24")],
    )
    for host in ("10.1.2.3", "fd00:1::1", "203.0.113.7", "64:ff9b::10.1.2.3"):
        assert not networks(host), host
    for host in ("10.2.0.1", "fd00:2::1", "203.0.113.8", "64:ff9b::10.2.0.1"):
        assert networks(host), host
    assert networks("2002:a01:203::1")


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "ff02::1"),
        *encodings("127.0.0.1"),
    ],
)
def test_neverAllowed(host: str) -> None:
    """
    Loopback, link-local, multicast and broadcast cannot be allowed.
    """
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    assert PeerNetworks(everything)(host)


def test_allowedIsNotOwn() -> None:
    """
    Nor can our own addresses.
    """
    everything = PeerNetworks([ipaddress.ip_network("0.0.0.0/0")])
    link = Link(ownHosts=["10.0.0.5"], forbidden=everything)
    raw = Raw(link)
    raw.allocate()
    assert raw.permit("10.0.0.6") == 0
    assert raw.permit("10.0.0.5") == 403


@pytest.mark.parametrize(
    "value",
    ["", "here", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "1.2.3", "/8"],
)
def test_wrongNetworks(value: str) -> None:
    """
    One sentence says what was expected.
    """
    with pytest.raises(InvalidOption, match=r"--relay-deny=.*: expected a network"):
        parseNetwork("--relay-deny", value)


# --- limits


def test_limitOptions() -> None:
    """
    Each limit can be given, with a suffix or without.
    """
    words = ["user.bytes=2M", "network.allocations=0", "all.total=1T", "channels=9"]
    limits = limitsOf(dict(map(parseLimit, words)))
    assert limits == Limits(
        user=Quota(allocations=8, bytes=2_000_000),
        network=Quota(allocations=0),
        all=Quota(allocations=10000, total=10**12),
        channels=9,
    )
    assert limitsOf({}) == Limits()


@pytest.mark.parametrize(
    "value",
    [
        *("", "user.bytes", "user.bytes=", "user.bytes=-1", "user.bytes=1.5"),
        *("user.bytes=2m", "user.bytes=2MB", "user.bytes=٣", "bytes=1", "user=1"),
        *("permissions=0", "channels=0", "user.permissions=1", f"all.total={'9' * 99}"),
    ],
)
def test_wrongLimits(value: str) -> None:
    """
    One sentence says what was expected.
    """
    with pytest.raises(InvalidOption, match=r"^--relay-limit=.*: expected "):
        parseLimit(value)
