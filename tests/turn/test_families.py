"""
Two relayed addresses for one client, and reserved ports (RFC 8656, 7.2).
"""

from __future__ import annotations

import pytest

from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, Method, parse
from punchd.turn.channeldata import SEND_INDICATION, channelData, indication
from punchd.turn.events import AllocationClosed, AllocationOpened
from punchd.turn.limits import Limits, Quota
from tests.turn.link import CLIENT, OTHER, PEER, Link, Ports, Raw

PEER6 = ("2001:db8:7::7", 5000)
RELAYED = ("203.0.113.10", 50001)
RELAYED6 = ("2001:db8::10", 50002)
BOTH = (Attribute.ADDITIONAL_ADDRESS_FAMILY, 2)
IPV4 = (Attribute.REQUESTED_ADDRESS_FAMILY, 1)
IPV6 = (Attribute.REQUESTED_ADDRESS_FAMILY, 2)
GONE = (Attribute.LIFETIME, 0)
PAIR = (Attribute.EVEN_PORT, True)


def code(message: Message) -> int:
    """
    @return: its error code, or 0.
    """
    found: int = message.get(Attribute.ERROR_CODE, (0, ""))[0]
    return found


# --- two families


def test_bothFamilies() -> None:
    """
    One Allocate gives an address of each family; a channel and an indication to
    a peer leave from that one of its family, and both bring data back.
    """
    link = Link()
    raw = Raw(link)
    answer = raw.allocate(BOTH)
    assert answer.getAll(Attribute.XOR_RELAYED_ADDRESS) == [RELAYED, RELAYED6]
    assert answer.get(Attribute.ADDRESS_ERROR_CODE) is None
    assert raw.bind(0x4000, PEER) == raw.bind(0x4001, PEER6) == 0
    for number, peer, relayed in ((0x4000, PEER, RELAYED), (0x4001, PEER6, RELAYED6)):
        for data in (
            channelData(number, b"out"),
            indication(SEND_INDICATION, bytes(12), peer, b"out"),
        ):
            (sent,) = raw.send(data)
            assert (sent.data, sent.local, sent.remote) == (b"out", relayed, peer)
        link.server.datagramReceived(b"back", relayed, peer, link.now)
        (sent,) = link.server.takeDatagrams()
        assert (sent.data, sent.remote) == (channelData(number, b"back"), CLIENT)


def test_bothAnsweredAgain() -> None:
    """
    A retransmitted Allocate has the same answer, and opens nothing.
    """
    link = Link()
    raw = Raw(link)
    transport = (Attribute.REQUESTED_TRANSPORT, 17)
    data = raw.build(Method.ALLOCATE, transport, BOTH)
    answers = [parse(raw.send(data)[0].data).attributes for _ in range(2)]
    assert answers[0] == answers[1]
    assert link.ports.live == [RELAYED, RELAYED6]


@pytest.mark.parametrize(
    ("hosts", "error"),
    [({4: "203.0.113.10"}, (2, 440, "")), ({6: "2001:db8::10"}, (1, 440, ""))],
)
def test_oneFamilyOnly(hosts: dict[int, str], error: tuple[int, int, str]) -> None:
    """
    Where there is one family, its address is given, and ADDRESS-ERROR-CODE names
    the other.
    """
    link = Link(ports=Ports(hosts))
    answer = Raw(link).allocate(BOTH)
    (found,) = answer.getAll(Attribute.XOR_RELAYED_ADDRESS)
    assert found[0] in hosts.values()
    assert answer.get(Attribute.ADDRESS_ERROR_CODE) == error


def test_oldNumbers() -> None:
    """
    Clients of coturn before 4.7 ask by another number, and are answered by another.
    """
    old = (Attribute.OLD_ADDITIONAL_ADDRESS_FAMILY, 2)
    answer = Raw(Link()).allocate(old)
    assert answer.getAll(Attribute.XOR_RELAYED_ADDRESS) == [RELAYED, RELAYED6]
    answer = Raw(Link(ports=Ports({4: "203.0.113.10"}))).allocate(old)
    assert answer.get(Attribute.ADDRESS_ERROR_CODE) is None
    assert answer.get(Attribute.OLD_ADDRESS_ERROR_CODE) == (2, 440, "")
    assert code(Raw(Link()).allocate(old, IPV6)) == 400


def test_secondPortTooMany() -> None:
    """
    Where the second port is too many, by number or by limit, 508 is said of it.
    """
    limits = Limits(user=Quota(1))
    for link in (Link(ports=Ports(limit=1)), Link(limits=limits)):
        answer = Raw(link).allocate(BOTH)
        assert answer.getAll(Attribute.XOR_RELAYED_ADDRESS) == [RELAYED]
        assert answer.get(Attribute.ADDRESS_ERROR_CODE) == (2, 508, "")
    none = Raw(Link(ports=Ports({}))).allocate(BOTH)
    assert code(none) == 440


@pytest.mark.parametrize("first", [IPV4, IPV6])
def test_givingOneBack(first: tuple[int, int]) -> None:
    """
    Either address can be given back; the permissions and channels of the other
    stay, and nothing of the first.
    """
    link = Link()
    raw = Raw(link)
    raw.allocate(BOTH)
    raw.bind(0x4000, PEER)
    raw.bind(0x4001, PEER6)
    assert raw.code(Method.REFRESH, first, GONE) == 0
    ours, theirs = (0x4001, 0x4000) if first == IPV4 else (0x4000, 0x4001)
    kept = PEER6 if first == IPV4 else PEER
    assert raw.send(channelData(theirs, b"x")) == []
    (sent,) = raw.send(channelData(ours, b"x"))
    assert sent.remote == kept
    assert raw.code(Method.REFRESH, first) == 443
    assert raw.permit(PEER[0] if first == IPV4 else PEER6[0]) == 443
    assert raw.code(Method.REFRESH) == 0
    (left,) = link.server.allocations()
    assert left.permissions.keys() == {kept[0]}
    assert raw.code(Method.REFRESH, GONE) == 0
    assert link.ports.live == []
    assert raw.code(Method.REFRESH) == 437


def test_eachItsLifetime() -> None:
    """
    A Refresh of one family leaves the other to expire.
    """
    link = Link()
    raw = Raw(link)
    raw.allocate(BOTH)
    link.advance(300)
    assert raw.code(Method.REFRESH, IPV6) == 0
    link.advance(301)
    assert [each.family for each in link.server.allocations()] == [6]
    link.advance(300)
    assert link.server.allocations() == []
    kinds = [type(each) for each in link.server.takeEvents()]
    assert kinds == [AllocationOpened] * 2 + [AllocationClosed] * 2
    assert link.server.deadline() is None


def test_betweenRelayedOfTwo() -> None:
    """
    What goes from one client's pair of addresses to another's is delivered inside,
    and shows the sender's address of that family.
    """
    link = Link()
    raws = [Raw(link), Raw(link, OTHER)]
    relayed = [r.allocate(BOTH).getAll(Attribute.XOR_RELAYED_ADDRESS) for r in raws]
    for here, there in zip(relayed[0], relayed[1], strict=True):
        assert raws[0].permit(there[0]) == raws[1].permit(here[0]) == 0
        data = indication(SEND_INDICATION, bytes(12), there, b"x")
        (sent,) = raws[0].send(data)
        assert sent.remote == OTHER
        assert parse(sent.data).get(Attribute.XOR_PEER_ADDRESS) == here


# --- reserved ports


def reserved(link: Link) -> tuple[Raw, bytes]:
    """
    @return: a client with an even port, and the token of the next one.
    """
    raw = Raw(link)
    answer = raw.allocate(PAIR)
    assert answer.get(Attribute.XOR_RELAYED_ADDRESS) == ("203.0.113.10", 50002)
    assert link.ports.live[-1] == ("203.0.113.10", 50003)
    return raw, answer.get(Attribute.RESERVATION_TOKEN)


def test_reservation() -> None:
    """
    The token gives the odd port to another 5-tuple of the user, once.
    """
    link = Link()
    _, token = reserved(link)
    assert len(link.server.allocations()) == 1
    other = Raw(link, OTHER)
    link.advance(29)
    answer = other.allocate((Attribute.RESERVATION_TOKEN, token))
    assert answer.get(Attribute.XOR_RELAYED_ADDRESS) == ("203.0.113.10", 50003)
    assert answer.get(Attribute.LIFETIME) == 600
    assert len(link.server.allocations()) == 2
    third = Raw(link, ("198.51.100.8", 1))
    assert code(third.allocate((Attribute.RESERVATION_TOKEN, token))) == 508
    assert other.permit(PEER[0]) == 0
    link.server.datagramReceived(b"in", ("203.0.113.10", 50003), PEER, link.now)
    assert link.server.takeDatagrams()[0].remote == OTHER
    link.advance(601)
    assert link.ports.live == []


def test_unclaimedReservation() -> None:
    """
    After 30 s the port is closed, silently, and the token is worth nothing.
    """
    link = Link()
    _, token = reserved(link)
    link.server.takeEvents()
    link.advance(31)
    assert link.ports.live == [("203.0.113.10", 50002)]
    assert link.server.takeEvents() == []
    other = Raw(link, OTHER)
    assert code(other.allocate((Attribute.RESERVATION_TOKEN, token))) == 508


def test_reservedPortIsSilent() -> None:
    """
    A port that nobody has claimed takes no data and answers no requests.
    """
    link = Link()
    raw, _ = reserved(link)
    transport = (Attribute.REQUESTED_TRANSPORT, 17)
    for data in (b"x", raw.build(Method.ALLOCATE, transport), channelData(0x4000, b"")):
        link.server.datagramReceived(data, ("203.0.113.10", 50003), PEER, link.now)
    assert link.server.takeDatagrams() == []
    assert link.server.counters["no permission"] == 3


def test_tokenOfAnother() -> None:
    """
    Only the user who has reserved a port may claim it.
    """
    link = Link(users={"user": "password", "other": "password"})
    _, token = reserved(link)
    other = Raw(link, OTHER, "other")
    assert code(other.allocate((Attribute.RESERVATION_TOKEN, token))) == 508


def test_reservationCounts() -> None:
    """
    A reserved port is one of those that a user may have; giving the first back
    leaves it reserved.
    """
    link = Link(limits=Limits(user=Quota(2)))
    raw, token = reserved(link)
    other = Raw(link, OTHER)
    assert code(other.allocate()) == 486
    assert raw.code(Method.REFRESH, GONE) == 0
    assert code(other.allocate((Attribute.RESERVATION_TOKEN, token))) == 0
    assert code(raw.allocate()) == 0
    assert code(Raw(link, ("198.51.100.8", 1)).allocate()) == 486


def test_pairTooMany() -> None:
    """
    Who may have one port only gets none with a reservation.
    """
    link = Link(limits=Limits(user=Quota(1)))
    assert code(Raw(link).allocate(PAIR)) == 486
    assert link.ports.live == []


def test_noPair() -> None:
    """
    508 when there is no even port with a free one after it; none stays open.
    """
    link = Link(ports=Ports(limit=1))
    assert code(Raw(link).allocate(PAIR)) == 508
    assert link.ports.live == []
    taken = Link()
    taken.ports.taken = {50003}
    answer = Raw(taken).allocate(PAIR)
    assert answer.get(Attribute.XOR_RELAYED_ADDRESS) == ("203.0.113.10", 50004)
    assert len(taken.ports.live) == 2
