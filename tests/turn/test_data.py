"""
Permissions, channels and data, at the server (RFC 8656, 9 to 12).
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.stun.attributes import Attribute
from punchd.stun.message import Method, parse, request
from punchd.turn.channeldata import SEND_INDICATION, channelData, indication
from punchd.turn.limits import Limits
from tests.turn.link import CLIENT, LISTEN, PEER, Link, Raw

RELAYED = ("203.0.113.10", 50001)


def allocated(**options: Any) -> tuple[Link, Raw]:
    """
    @return: a link, and a raw client of it that has an allocation.
    """
    link = Link(**options)
    raw = Raw(link)
    assert raw.allocate().get(Attribute.ERROR_CODE) is None
    return link, raw


@pytest.mark.parametrize(
    ("number", "code"), [(0x4000, 0), (0x4FFF, 0), (0x7FFF, 0), (0x3FFF, 400), (0, 400)]
)
def test_channelNumbers(number: int, code: int) -> None:
    """
    RFC 8656, 12, and the upper numbers of RFC 5766.
    """
    _, raw = allocated()
    assert raw.bind(number, PEER) == code


def test_channelConflicts() -> None:
    """
    RFC 8656, 12.2: one number a peer and one peer a number, until it expires.
    """
    link, raw = allocated()
    assert raw.bind(0x4000, PEER) == 0
    assert raw.bind(0x4000, PEER) == 0
    assert raw.bind(0x4000, (PEER[0], 1)) == 400
    assert raw.bind(0x4001, PEER) == 400
    assert raw.code(Method.CHANNEL_BIND, (Attribute.CHANNEL_NUMBER, 0x4001)) == 400
    raw.ask(Method.REFRESH, (Attribute.LIFETIME, 3600))
    link.advance(601)
    assert raw.bind(0x4001, PEER) == 0
    assert raw.bind(0x4000, (PEER[0], 1)) == 0


def test_permissionExpires() -> None:
    """
    300 s for a permission, both ways; a channel does not outlast it.
    """
    link, raw = allocated()
    raw.bind(0x4000, PEER)
    data = channelData(0x4000, b"data")
    sending = indication(SEND_INDICATION, bytes(12), PEER, b"data")
    for frame in (data, sending):
        assert raw.send(frame)[0].remote == PEER
    link.advance(300)
    for frame in (data, sending):
        assert raw.send(frame) == []
    link.server.datagramReceived(b"data", RELAYED, PEER, link.now)
    assert link.server.takeDatagrams() == []
    assert link.server.counters == {"no permission": 3}
    raw.permit(PEER[0])
    assert raw.send(data)[0].remote == PEER


def test_channelOutlivesPurgedPermission() -> None:
    """
    A permission that was removed and is granted again serves the channel.
    """
    link, raw = allocated(limits=Limits(permissions=1))
    assert raw.bind(0x4000, PEER) == 0
    link.advance(301)
    assert raw.permit("192.0.2.1") == 0
    link.advance(200)
    raw.code(Method.REFRESH)
    link.advance(98)
    link.advance(2)
    assert raw.permit(PEER[0]) == 0
    assert raw.send(channelData(0x4000, b"x")) == []
    assert link.server.counters["no channel"] == 1
    assert raw.bind(0x4000, PEER) == 0
    assert raw.send(channelData(0x4000, b"x"))[0].data == b"x"


def test_permissionsAreAllOrNone() -> None:
    """
    RFC 8656, 10.2: one bad peer and none is installed.
    """
    link, raw = allocated()
    assert raw.permit(PEER[0], "10.0.0.1") == 403
    assert raw.permit(PEER[0], "2001:db8::7") == 443
    assert raw.permit() == 400
    (allocation,) = link.server.allocations()
    assert allocation.permissions == {}
    assert raw.permit(PEER[0], "192.0.2.1") == 0
    assert len(allocation.permissions) == 2


def test_dataIndication() -> None:
    """
    Data without a channel comes as an indication that names the peer.
    """
    link, raw = allocated()
    raw.permit(PEER[0])
    link.server.datagramReceived(b"hello", RELAYED, PEER, link.now)
    (datagram,) = link.server.takeDatagrams()
    message = parse(datagram.data)
    assert message.attributes == [
        (Attribute.XOR_PEER_ADDRESS, PEER),
        (Attribute.DATA, b"hello"),
    ]
    assert (datagram.local, datagram.remote) == (LISTEN, CLIENT)


def test_emptyAndPaddedChannelData() -> None:
    """
    RFC 8656, 12.4 and 12.5: data may be empty; padding is not relayed.
    """
    _, raw = allocated()
    raw.bind(0x4000, PEER)
    assert raw.send(b"\x40\x00\x00\x00")[0].data == b""
    assert raw.send(b"\x40\x00\x00\x01a\0\0\0")[0].data == b"a"
    assert raw.send(b"\x40\x00\x00\x05a\0\0\0") == []


def test_indicationsThatCannotBe() -> None:
    """
    RFC 8656, 11.2: without peer or data, or with DONT-FRAGMENT, dropped.
    """
    link, raw = allocated()
    raw.permit(PEER[0])
    peer, data = (Attribute.XOR_PEER_ADDRESS, PEER), (Attribute.DATA, b"x")
    for attributes in (
        [peer],
        [data],
        [peer, data, (Attribute.DONT_FRAGMENT, True)],
        [peer, data, (0x7FFE, b"")],
    ):
        message = request(Method.SEND, bytes(12), *attributes)
        assert raw.send(b"\x00\x16" + message.serialize()[2:]) == []
    assert link.server.counters == {"malformed": 4}
    optional = request(Method.SEND, bytes(12), data, (0xBEEF, b"?"), peer)
    assert raw.send(b"\x00\x16" + optional.serialize()[2:])[0].data == b"x"
