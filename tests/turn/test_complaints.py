"""
DONT-FRAGMENT, and the errors that clients are told of (RFC 8656, 11 and 14.9).
"""

from __future__ import annotations

import pytest

from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Method, parse
from punchd.stun.message import indication as message
from punchd.turn.events import SendWhole
from tests.turn.link import CLIENT, LISTEN, OTHER, PEER, Link, Raw

RELAYED = ("203.0.113.10", 50001)
RELAYED6 = ("2001:db8::10", 50002)
PEER6 = ("2001:db8:7::7", 5000)
TRANSPORT = (Attribute.REQUESTED_TRANSPORT, UDP)
WHOLE = (Attribute.DONT_FRAGMENT, True)
BOTH = (Attribute.ADDITIONAL_ADDRESS_FAMILY, 2)


def allocated(**options: bool) -> tuple[Link, Raw]:
    """
    @return: a client with addresses of both families, and permissions.
    """
    link = Link(**options)
    raw = Raw(link)
    raw.allocate(BOTH)
    assert raw.permit(PEER[0]) == raw.permit(PEER6[0]) == 0
    link.server.takeEvents()
    return link, raw


def send(raw: Raw, *attributes: tuple[int, object]) -> int:
    """
    @return: how many datagrams a Send indication has made the relay send.
    """
    data = message(Method.SEND, bytes(12), *attributes).serialize()
    return len(raw.send(data))


def test_askedAtAllocate() -> None:
    """
    DONT-FRAGMENT in an Allocate asks whether it is known: 420 if it is not.
    """
    assert Raw(Link(whole=True)).code(Method.ALLOCATE, TRANSPORT, WHOLE) == 0
    answer = Raw(Link()).ask(Method.ALLOCATE, TRANSPORT, WHOLE)
    assert answer.get(Attribute.ERROR_CODE)[0] == 420
    assert answer.get(Attribute.UNKNOWN_ATTRIBUTES) == [Attribute.DONT_FRAGMENT]


@pytest.mark.parametrize(("peer", "relayed"), [(PEER, RELAYED), (PEER6, RELAYED6)])
def test_sentWhole(peer: tuple[str, int], relayed: tuple[str, int]) -> None:
    """
    A Send indication with DONT-FRAGMENT becomes a datagram that is sent whole.
    """
    link, raw = allocated(whole=True)
    data = (Attribute.XOR_PEER_ADDRESS, peer), (Attribute.DATA, b"whole")
    assert send(raw, *data, WHOLE) == 0
    (event,) = link.server.takeEvents()
    assert isinstance(event, SendWhole)
    sent = event.datagram
    assert (sent.data, sent.local, sent.remote) == (b"whole", relayed, peer)
    assert send(raw, *data) == 1
    assert link.server.takeEvents() == []


def test_notWhole() -> None:
    """
    It is dropped where that is not possible, without permission, and with another
    attribute that would have to be understood.
    """
    data = (Attribute.XOR_PEER_ADDRESS, PEER), (Attribute.DATA, b"x")
    link, raw = allocated()
    assert send(raw, *data, WHOLE) == 0
    link, raw = allocated(whole=True)
    assert send(raw, *data, WHOLE, (0x7FFF, b"")) == 0
    assert link.server.counters["malformed"] == 1
    stranger = (Attribute.XOR_PEER_ADDRESS, ("192.0.2.9", 1))
    assert send(raw, stranger, (Attribute.DATA, b"x"), WHOLE) == 0
    assert link.server.counters["no permission"] == 1
    assert link.server.takeEvents() == []


def test_wholeWithinTheRelay() -> None:
    """
    To a relayed address of ours nothing has to be cut: it is simply delivered.
    """
    link = Link(whole=True)
    one, two = Raw(link), Raw(link, OTHER)
    here, there = (
        each.allocate().get(Attribute.XOR_RELAYED_ADDRESS) for each in (one, two)
    )
    assert one.permit(there[0]) == two.permit(here[0]) == 0
    data = (Attribute.XOR_PEER_ADDRESS, there), (Attribute.DATA, b"x")
    assert send(one, *data, WHOLE) == 1


@pytest.mark.parametrize(
    ("local", "peer", "error", "told"),
    [
        (RELAYED, PEER, (3, 3, 0), (3, 3, 0)),
        (RELAYED, PEER, (3, 3, 77), (3, 3, 0)),
        (RELAYED, PEER, (3, 4, 1400), (3, 4, 1400)),
        (RELAYED, PEER, (11, 0, 0), (11, 0, 0)),
        (RELAYED, PEER, (5, 0, 0), None),
        (RELAYED6, PEER6, (1, 4, 0), (1, 4, 0)),
        (RELAYED6, PEER6, (2, 0, 1280), (2, 0, 1280)),
        (RELAYED6, PEER6, (3, 0, 0), (3, 0, 0)),
        (RELAYED6, PEER6, (11, 0, 0), None),
        (RELAYED, ("192.0.2.9", 1), (3, 3, 0), None),
        (("203.0.113.10", 9), PEER, (3, 3, 0), None),
    ],
)
def test_errors(
    local: tuple[str, int],
    peer: tuple[str, int],
    error: tuple[int, int, int],
    told: tuple[int, int, int] | None,
) -> None:
    """
    Of ICMP's errors those that RFC 8656, 11.5 names are told in a Data indication
    without DATA, if they are about a peer with a permission.
    """
    link, _ = allocated()
    link.server.errorReported(local, peer, error, link.now)
    sent = link.server.takeDatagrams()
    assert len(sent) == (told is not None) == link.server.counters["ICMP"]
    for each in sent:
        assert (each.local, each.remote) == (LISTEN, CLIENT)
        data = parse(each.data)
        assert data.attributes == [
            (Attribute.XOR_PEER_ADDRESS, peer),
            (Attribute.ICMP, told),
        ]


def test_errorAfterPermission() -> None:
    """
    A permission that has expired is none.
    """
    link, _ = allocated()
    link.server.errorReported(RELAYED, PEER, (3, 3, 0), link.now + 301)
    assert link.server.takeDatagrams() == []


def test_icmpOnTheWire() -> None:
    """
    RFC 8656, 18.13: 16 reserved bits, 7 of type, 9 of code, 32 of data.
    """
    icmp = (Attribute.ICMP, (3, 4, 1400))
    data = message(Method.DATA, bytes(12), icmp).serialize(fingerprint=False)
    assert data[20:] == bytes.fromhex("80040008 0000 0604 00000578")
