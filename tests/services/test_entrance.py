"""
The TCP port of the rendezvous, and what strangers do to it.
"""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.amp import Box

from punchd.net.tls import SIGNALING, ClientCredentials
from punchd.stun.attributes import CHANGE_IP, Attribute
from punchd.stun.message import Method, parse, request
from tests.services.meeting import IDENTITIES, Meeting
from tests.services.streamed import Anonymous, Stranger, connect, write


def binding(*attributes: tuple[int, Any]) -> bytes:
    """
    @return: a Binding request.
    """
    return request(Method.BINDING, b"t" * 12, *attributes).serialize()


# --- TCP


@pytest.mark.parametrize("credentials", [None, Anonymous(), Anonymous(b"stun.turn")])
def test_stunOverTCP(meeting: Meeting, credentials: Any) -> None:
    """
    Plain STUN is known by its first byte; within TLS by its name or by none.
    """
    stranger = connect(meeting, credentials)
    data = binding()
    write(meeting, stranger, data[:7])
    write(meeting, stranger, data[7:] + data)
    answer = parse(stranger.received[: len(stranger.received) // 2])
    assert answer.get(Attribute.XOR_MAPPED_ADDRESS)[0].startswith("192.0.2.")
    assert stranger.received[: len(stranger.received) // 2] * 2 == stranger.received
    meeting.network.advance(55)
    assert stranger.lost is None
    meeting.network.advance(10)
    assert stranger.lost is not None


@pytest.mark.parametrize(
    "attribute",
    [
        (Attribute.CHANGE_REQUEST, CHANGE_IP),
        (Attribute.RESPONSE_PORT, 5000),
        (Attribute.USERNAME, "somebody"),
    ],
)
def test_notOverTCP(meeting: Meeting, attribute: tuple[int, Any]) -> None:
    """
    What concerns other addresses has no answer on a connection.
    """
    stranger = connect(meeting)
    write(meeting, stranger, binding(attribute))
    assert stranger.received == b""
    assert meeting.rendezvous.counters["udp: not over TCP"] == 1
    meeting.network.advance(70)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x80\0\0\0", b"\xff"])
def test_otherProtocols(meeting: Meeting, data: bytes) -> None:
    """
    Whoever speaks something else is sent away.
    """
    stranger = connect(meeting)
    write(meeting, stranger, data)
    assert stranger.lost is not None


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\0" + b"x" * 40])
def test_slowLoris(meeting: Meeting, said: bytes) -> None:
    """
    Who says nothing, or begins a handshake and leaves it, has ten seconds.
    """
    stranger = connect(meeting)
    if said:
        write(meeting, stranger, said)
    meeting.network.advance(9)
    if len(said) < 10:
        assert stranger.lost is None
    meeting.network.advance(1)
    assert stranger.lost is not None


def test_slowLorisAfterTheHandshake(meeting: Meeting) -> None:
    """
    Ten seconds are for the handshake and the first box together.
    """
    stranger = connect(meeting, mine())
    meeting.network.advance(9)
    assert stranger.lost is None
    meeting.network.advance(1)
    assert stranger.lost is not None
    assert len(meeting.rendezvous.directory) == 0


def mine() -> ClientCredentials:
    """
    @return: a client's credentials.
    """
    fingerprint = IDENTITIES[0].peerId
    return ClientCredentials(IDENTITIES[1], fingerprint, "203.0.113.10")


@pytest.mark.parametrize("newest", [0, SSL.TLS1_2_VERSION])
def test_noCertificate(meeting: Meeting, newest: int) -> None:
    """
    Who wants signaling has to show a certificate, and to speak TLS 1.3.
    """
    stranger = connect(meeting, Anonymous(SIGNALING, newest=newest))
    assert stranger.lost is not None
    counters = meeting.rendezvous.counters
    assert counters["tcp: signaling without a certificate"] == 1


def test_oldTLS(meeting: Meeting) -> None:
    """
    With a certificate as well, signaling is for TLS 1.3; nobody gets 1.1.
    """
    credentials = mine()
    credentials._sslContext.set_min_proto_version(SSL.TLS1_2_VERSION)
    credentials._sslContext.set_max_proto_version(SSL.TLS1_2_VERSION)
    assert connect(meeting, credentials).lost is not None
    counters = meeting.rendezvous.counters
    assert counters["tcp: signaling without a certificate"] == 1
    stranger = connect(meeting, Anonymous(b"stun.turn", newest=SSL.TLS1_1_VERSION))
    assert stranger.lost is not None


def test_largeBoxBeforeRegistration(meeting: Meeting) -> None:
    """
    A box of more than 4 KiB may come only from who has registered.
    """
    stranger = connect(meeting, mine())
    write(meeting, stranger, Box(_ask=b"1", _command=b"X", x=b"x" * 4096).serialize())
    assert stranger.lost is not None


def test_endlessBox(meeting: Meeting) -> None:
    """
    A box that never ends is over after 4 KiB, over TLS as well.
    """
    stranger = connect(meeting, mine())
    assert stranger.transport is not None
    chunk = b"\0\4text\xff\xff" + b"x" * 60000
    for _ in range(20):
        stranger.transport.write(chunk)
        meeting.network.advance(0.05)
    meeting.network.advance(1)
    assert stranger.lost is not None


@pytest.mark.parametrize("command", [b"Dial", b"Trickle", b"Bye", b"Renew"])
@pytest.mark.parametrize("asking", [{}, {"_ask": b"1"}])
def test_commandBeforeRegistration(
    meeting: Meeting, command: bytes, asking: dict[str, bytes]
) -> None:
    """
    First of all comes Register.
    """
    stranger = connect(meeting, mine())
    names = "peer dialId offer flight update datagrams reason"
    fields = dict.fromkeys(names.split(), b"")
    box = Box(_command=command, **fields, **asking)
    write(meeting, stranger, box.serialize())
    assert stranger.lost is not None


def test_connectionFlood(meeting: Meeting) -> None:
    """
    One network cannot hold all the connections that have said nothing; others
    still come in, and those go after ten seconds.
    """
    host = meeting.network.addHost("flood", "192.0.2.5")
    factory: Any = Factory.forProtocol(Stranger)
    factory.noisy = False
    made: list[Any] = []
    for _ in range(400):
        endpoint = TCP4ClientEndpoint(host.reactor, "203.0.113.10", 3478)
        endpoint.connect(factory).addCallbacks(made.append, lambda _: None)
        meeting.network.advance(0.005)
    meeting.network.advance(0.2)
    assert sum(each.lost is None for each in made) == 256
    meeting.join(1)
    meeting.network.advance(10)
    assert all(each.lost for each in made)
