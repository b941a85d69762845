"""
The server, request by request: codes, lifetimes, forms (RFC 8656).
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, parse
from punchd.turn.channeldata import SEND_INDICATION, channelData, indication
from punchd.turn.credentials import makeCredentials
from punchd.turn.events import AllocationClosed, AllocationOpened
from tests.turn.link import CLIENT, OTHER, PEER, SECRET, WALL, Link, Ports, Raw

RELAYED = ("203.0.113.10", 50001)


def allocated(**options: Any) -> tuple[Link, Raw]:
    """
    @return: a link, and a raw client of it that has an allocation.
    """
    link = Link(**options)
    raw = Raw(link)
    assert raw.allocate().get(Attribute.ERROR_CODE) is None
    return link, raw


def test_allocate() -> None:
    """
    RFC 8656, 7.3: relayed and mapped address and lifetime, signed.
    """
    link = Link(software="punchd")
    answer = Raw(link).allocate()
    assert answer.attributes == [
        (Attribute.XOR_RELAYED_ADDRESS, RELAYED),
        (Attribute.LIFETIME, 600),
        (Attribute.XOR_MAPPED_ADDRESS, CLIENT),
        (Attribute.SOFTWARE, "punchd"),
    ]
    assert link.server.takeEvents() == [AllocationOpened("user", CLIENT, RELAYED)]
    assert link.server.deadline() == link.now + 600


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([], 400),
        ([(Attribute.REQUESTED_TRANSPORT, 6)], 442),
        ([(Attribute.REQUESTED_TRANSPORT, 17), (0x7FFE, b"")], 420),
        ([(Attribute.REQUESTED_TRANSPORT, 17), (Attribute.DONT_FRAGMENT, True)], 420),
        (
            [
                (Attribute.REQUESTED_TRANSPORT, 17),
                (Attribute.REQUESTED_ADDRESS_FAMILY, 9),
            ],
            440,
        ),
        (
            [
                (Attribute.REQUESTED_TRANSPORT, 17),
                (Attribute.RESERVATION_TOKEN, b"12345678"),
            ],
            508,
        ),
        (
            [
                (Attribute.REQUESTED_TRANSPORT, 17),
                (Attribute.RESERVATION_TOKEN, b"12345678"),
                (Attribute.EVEN_PORT, False),
            ],
            400,
        ),
        (
            [
                (Attribute.REQUESTED_TRANSPORT, 17),
                (Attribute.EVEN_PORT, True),
                (Attribute.ADDITIONAL_ADDRESS_FAMILY, 2),
            ],
            400,
        ),
        (
            [
                (Attribute.REQUESTED_TRANSPORT, 17),
                (Attribute.REQUESTED_ADDRESS_FAMILY, 1),
                (Attribute.ADDITIONAL_ADDRESS_FAMILY, 2),
            ],
            400,
        ),
        (
            [
                (Attribute.REQUESTED_TRANSPORT, 17),
                (Attribute.ADDITIONAL_ADDRESS_FAMILY, 1),
            ],
            400,
        ),
    ],
)
def test_allocateRefused(attributes: list[tuple[int, Any]], code: int) -> None:
    """
    RFC 8656, 7.2: each wrong Allocate has its code and opens no port.
    """
    link = Link()
    assert Raw(link).code(Method.ALLOCATE, *attributes) == code
    assert link.ports.live == []
    assert link.server.counters == {str(code): 1}


def test_evenPort() -> None:
    """
    EVEN-PORT without reservation is granted.
    """
    answer = Raw(Link()).allocate((Attribute.EVEN_PORT, False))
    assert answer.get(Attribute.XOR_RELAYED_ADDRESS)[1] % 2 == 0


def test_noPort() -> None:
    """
    508 when there is no port, 440 when there are none of that family.
    """
    link = Link(ports=Ports({4: "203.0.113.10"}))
    answer = Raw(link).allocate((Attribute.REQUESTED_ADDRESS_FAMILY, 2))
    assert answer.get(Attribute.ERROR_CODE)[0] == 440
    empty = Link(ports=Ports(limit=0))
    assert Raw(empty).allocate().get(Attribute.ERROR_CODE)[0] == 508


@pytest.mark.parametrize(
    ("asked", "granted"), [(None, 600), (0, 600), (30, 600), (1800, 1800), (9999, 3600)]
)
def test_lifetimes(asked: int | None, granted: int) -> None:
    """
    RFC 8656, 7.2: never less than 600 s nor more than an hour, and then the
    port is closed.
    """
    link = Link()
    extra = [] if asked is None else [(Attribute.LIFETIME, asked)]
    assert Raw(link).allocate(*extra).get(Attribute.LIFETIME) == granted
    link.server.takeEvents()
    link.advance(granted - 1)
    assert len(link.ports.live) == 1
    link.advance(1)
    assert link.ports.live == []
    (event,) = link.server.takeEvents()
    assert isinstance(event, AllocationClosed)
    assert event.reason == "expired"
    assert link.server.deadline() is None


def test_refresh() -> None:
    """
    RFC 8656, 8.2: a Refresh extends, with 0 it deletes, then there is 437.
    """
    link, raw = allocated()
    link.now += 500
    answer = raw.ask(Method.REFRESH, (Attribute.LIFETIME, 1000))
    assert answer.attributes == [(Attribute.LIFETIME, 1000)]
    link.advance(999)
    assert len(link.ports.live) == 1
    assert raw.ask(Method.REFRESH, (Attribute.LIFETIME, 0)).attributes == [
        (Attribute.LIFETIME, 0)
    ]
    assert link.ports.live == []
    assert raw.code(Method.REFRESH) == 437
    assert raw.permit(PEER[0]) == 437
    assert raw.bind(0x4000, PEER) == 437


def test_refreshOtherFamily() -> None:
    """
    443 for the family that was not allocated.
    """
    _, raw = allocated()
    assert raw.code(Method.REFRESH, (Attribute.REQUESTED_ADDRESS_FAMILY, 2)) == 443
    assert raw.code(Method.REFRESH, (Attribute.REQUESTED_ADDRESS_FAMILY, 1)) == 0


def test_refreshAsksAdmission() -> None:
    """
    Who is not admitted any more loses the allocation at the next Refresh.
    """
    link, raw = allocated()
    link.admission.refused = {"user"}
    assert raw.code(Method.REFRESH) == 403
    assert link.ports.live == []
    assert raw.allocate().get(Attribute.ERROR_CODE)[0] == 403


def test_secondAllocate() -> None:
    """
    RFC 8656, 7.2: another Allocate on the 5-tuple is 437; the same one again
    is answered again.
    """
    link, raw = allocated()
    assert raw.allocate().get(Attribute.ERROR_CODE)[0] == 437
    fresh = Raw(link, OTHER)
    same = fresh.build(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, 17))
    first, second = (parse(fresh.send(same)[0].data) for _ in range(2))
    assert first == second
    assert len(link.ports.live) == 2


def test_anotherUser() -> None:
    """
    441 for another user on the 5-tuple, whose password is right.
    """
    link, raw = allocated(users={"user": b"password", "two": b"password"})
    other = Raw(link, CLIENT, "two")
    assert other.permit(PEER[0]) == 441
    assert other.code(Method.REFRESH, (Attribute.LIFETIME, 0)) == 441
    assert raw.permit(PEER[0]) == 0


def test_expiredNameKeepsItsAllocation() -> None:
    """
    A name with an expiry is checked at Allocate only.
    """
    link = Link()
    username, password = makeCredentials(SECRET, "handle", WALL + link.now + 60)
    raw = Raw(link, CLIENT, username, password)
    assert raw.allocate().get(Attribute.LIFETIME) == 600
    link.advance(500)
    assert raw.code(Method.REFRESH) == 0
    other = Raw(link, OTHER, username, password)
    assert other.allocate().get(Attribute.ERROR_CODE)[0] == 401


def test_behindOneToOneNat() -> None:
    """
    The relayed address is announced as seen outside, bound as inside, and
    relayed to relayed works by the outer one.
    """
    link = Link(ports=Ports({4: "10.0.0.5"}), external={"10.0.0.5": "203.0.113.10"})
    a, b = Raw(link), Raw(link, OTHER)
    outer = [raw.allocate().get(Attribute.XOR_RELAYED_ADDRESS) for raw in (a, b)]
    assert outer == [("203.0.113.10", 50001), ("203.0.113.10", 50002)]
    a.permit(PEER[0])
    sent = a.send(indication(SEND_INDICATION, bytes(12), PEER, b"x"))
    assert sent[0].local == ("10.0.0.5", 50001)
    assert a.bind(0x4000, outer[1]) == 0
    assert b.bind(0x4001, outer[0]) == 0
    (datagram,) = a.send(channelData(0x4000, b"over"))
    assert (datagram.data, datagram.remote) == (channelData(0x4001, b"over"), OTHER)
    assert a.permit("10.0.0.5") == 403


def test_sha256Request() -> None:
    """
    A request signed with SHA-256 is answered so.
    """
    link = Link()
    raw = Raw(link)
    message = parse(raw.build(Method.ALLOCATE, (Attribute.REQUESTED_TRANSPORT, 17)))
    (answer,) = raw.send(message.serialize(key=raw.key, integrity="sha256"))
    assert parse(answer.data).hasSha256
    assert parse(answer.data).checkIntegrity(raw.key)


def test_accounting() -> None:
    """
    Packets and bytes both ways are reported at the end.
    """
    link, raw = allocated()
    raw.bind(0x4000, PEER)
    raw.send(channelData(0x4000, b"four"))
    link.server.datagramReceived(b"seventy", RELAYED, PEER, link.now)
    link.server.takeDatagrams()
    raw.ask(Method.REFRESH, (Attribute.LIFETIME, 0))
    assert link.server.takeEvents()[-1] == AllocationClosed(
        "user", CLIENT, RELAYED, "released", 1, 4, 1, 7
    )
