"""
To where the relay does not send, however it is asked.
"""

from __future__ import annotations

import pytest

from punchd.stun.attributes import Attribute
from punchd.turn.channeldata import SEND_INDICATION, channelData, indication
from tests.turn.link import LISTEN, OTHER, PEER, RELAY, Link, Raw

TARGETS = [
    "0.0.0.0",
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "224.0.0.251",
    "255.255.255.255",
]
TARGETS6 = [
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:192.0.2.77",
    "::ffff:0:127.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001:0:7f00:1::",
    "2001:0:101:101::80ff:fffe",
    "2001:db8::5efe:127.0.0.1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
]


def allocated(link: Link, family: int = 4) -> Raw:
    """
    @return: a client with an allocation of that family.
    """
    raw = Raw(link)
    wanted = (Attribute.REQUESTED_ADDRESS_FAMILY, 2 if family == 6 else 1)
    assert raw.allocate(wanted).get(Attribute.XOR_RELAYED_ADDRESS) is not None
    return raw


def reaches(raw: Raw, host: str, port: int) -> bool:
    """
    @return: whether anything at all goes to that address upon a permission,
        a channel, an indication and ChannelData.
    """
    peer = (host, port)
    raw.permit(host)
    raw.bind(0x4000, peer)
    sent = raw.send(indication(SEND_INDICATION, bytes(12), peer, b"attack"))
    sent += raw.send(channelData(0x4000, b"attack"))
    return bool(sent)


@pytest.mark.parametrize("host", TARGETS)
def test_ipv4(host: str) -> None:
    """
    No special IPv4 address gets a permission, a channel or a datagram.
    """
    raw = allocated(Link())
    assert raw.permit(host) == 403
    assert raw.bind(0x4000, (host, 80)) == 403
    assert not reaches(raw, host, 80)


@pytest.mark.parametrize("host", TARGETS6)
def test_ipv6(host: str) -> None:
    """
    Nor does any IPv6 address that is special or leads to a special one, nor
    an IPv4 address in disguise.
    """
    raw = allocated(Link(), 6)
    assert raw.permit(host) == 403
    assert raw.bind(0x4000, (host, 80)) == 403
    assert not reaches(raw, host, 80)


def test_allowed() -> None:
    """
    That these refusals are no accident: others are reached.
    """
    assert reaches(allocated(Link()), *PEER)
    assert reaches(allocated(Link(), 6), "2001:db8:7::7", 80)


def test_otherFamilyInDisguise() -> None:
    """
    An IPv4 allocation takes no IPv6 peers of whatever form: 443.
    """
    raw = allocated(Link())
    for host in ("::ffff:192.0.2.77", "2001:db8::1", "::1"):
        assert raw.permit(host) == 443
        assert not reaches(raw, host, 80)


@pytest.mark.parametrize("port", [3478, 443, 22, 1])
def test_ownAddress(port: int) -> None:
    """
    A permission for our own host reaches relayed addresses there, never
    another port; a channel is refused at once.
    """
    raw = allocated(Link())
    assert raw.bind(0x4000, (RELAY, port)) == 403
    assert not reaches(raw, RELAY, port)
    assert raw.link.server.counters["no such relayed address"] == 1


def test_ownOtherAddress() -> None:
    """
    Own hosts on which nothing is relayed get no permission: those that were
    named, and the one that the client has sent to.
    """
    raw = allocated(Link(ownHosts=["203.0.113.11"]))
    assert raw.permit("203.0.113.11") == 403
    assert not reaches(raw, "203.0.113.11", 3478)
    six = allocated(Link(), 6)
    assert six.permit("2001:db8::10") == 0  # there is a relayed address on it
    assert not reaches(six, "2001:db8::10", 3478)
    assert LISTEN[0] == RELAY


def test_relayedAddressThatIsGone() -> None:
    """
    What was a relayed address is an own address like any other afterwards.
    """
    link = Link()
    raw = allocated(link)
    other = Raw(link, OTHER)
    peer = other.allocate().get(Attribute.XOR_RELAYED_ADDRESS)
    assert raw.bind(0x4000, peer) == 0
    other.permit(RELAY)
    assert len(raw.send(channelData(0x4000, b"x"))) == 1
    other.ask(4, (Attribute.LIFETIME, 0))
    assert raw.send(channelData(0x4000, b"x")) == []
    assert raw.send(indication(SEND_INDICATION, bytes(12), peer, b"x")) == []
    assert link.server.counters["no such relayed address"] == 2


def test_strangerNeedsConsent() -> None:
    """
    Relayed to relayed: without the other's permission nothing arrives.
    """
    link = Link()
    raw = allocated(link)
    other = Raw(link, OTHER)
    peer = other.allocate().get(Attribute.XOR_RELAYED_ADDRESS)
    assert raw.bind(0x4000, peer) == 0
    assert raw.send(channelData(0x4000, b"x")) == []
    assert link.server.counters == {"no permission": 1}


def test_admissionDecides() -> None:
    """
    A stranger's address is refused when the admission says so, and relayed
    addresses are not asked about.
    """
    link = Link()
    raw = allocated(link)
    link.admission.hosts = {PEER[0]}
    assert raw.permit(PEER[0]) == 0
    assert raw.permit("192.0.2.1") == 403
    assert raw.bind(0x4001, ("192.0.2.1", 9)) == 403
    assert raw.permit(RELAY) == 0


def test_ownAllocation() -> None:
    """
    Sending to one's own relayed address makes no loop.
    """
    link = Link()
    raw = allocated(link)
    (allocation,) = link.server.allocations()
    assert raw.bind(0x4000, allocation.outside) == 0
    assert len(raw.send(channelData(0x4000, b"me"))) == 1


def test_portZero() -> None:
    """
    Port 0 is nobody's.
    """
    raw = allocated(Link())
    assert raw.bind(0x4000, (PEER[0], 0)) == 400
    assert not reaches(raw, PEER[0], 0)
