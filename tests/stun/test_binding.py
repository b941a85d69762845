"""
The Binding server: RFC 8489, RFC 5780, and no amplifier.
"""

from __future__ import annotations

import pytest

from punchd.core import Address, Datagram
from punchd.stun.attributes import CHANGE_IP, CHANGE_PORT, Attribute
from punchd.stun.binding import MAX_RESPONSE, BindingServer
from punchd.stun.limit import PrefixLimit
from punchd.stun.message import (
    Message,
    MessageClass,
    Method,
    indication,
    parse,
    request,
    success,
)

ID = b"transactions"
A, B = "203.0.113.10", "203.0.113.11"
A6, B6 = "2001:db8::10", "2001:db8::11"
CLIENT = ("198.51.100.7", 40000)
CLIENT6 = ("2001:db8:7::7", 40000)


def full() -> BindingServer:
    """
    @return: a server with two addresses of each family and two ports.
    """
    return BindingServer({each: each for each in (A, B, A6, B6)}, (3478, 3479))


def ask(
    server: BindingServer,
    message: Message,
    local: Address = (A, 3478),
    remote: Address = CLIENT,
) -> tuple[Datagram, Message]:
    """
    @return: the one answer, as sent and as read.
    """
    data = message.serialize()
    (datagram,) = server.handle(parse(data), data, local, remote, 0.0)
    return datagram, parse(datagram.data)


def test_mappedAddress() -> None:
    """
    The answer says where the question came from, and goes back there.
    """
    datagram, answer = ask(BindingServer(), request(Method.BINDING, ID))
    assert answer.messageClass is MessageClass.SUCCESS
    assert answer.transactionId == ID
    assert answer.attributes == [(Attribute.XOR_MAPPED_ADDRESS, CLIENT)]
    assert (datagram.local, datagram.remote) == ((A, 3478), CLIENT)


def test_otherAddress() -> None:
    """
    RFC 5780, 6.1: the answer names its origin and the alternative.
    """
    _, answer = ask(full(), request(Method.BINDING, ID), (B, 3478))
    assert answer.get(Attribute.OTHER_ADDRESS) == (A, 3479)
    assert answer.get(Attribute.RESPONSE_ORIGIN) == (B, 3478)


@pytest.mark.parametrize(
    ("flags", "source"),
    [
        (CHANGE_IP, (B, 3478)),
        (CHANGE_PORT, (A, 3479)),
        (CHANGE_IP | CHANGE_PORT, (B, 3479)),
        (0, (A, 3478)),
    ],
)
def test_changeRequest(flags: int, source: Address) -> None:
    """
    RFC 5780, 6.1: the answer comes from where it is wanted from.
    """
    question = request(Method.BINDING, ID, (Attribute.CHANGE_REQUEST, flags))
    datagram, answer = ask(full(), question)
    assert datagram.local == source
    assert answer.get(Attribute.RESPONSE_ORIGIN) == source
    assert datagram.remote == CLIENT


@pytest.mark.parametrize("flags", [CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT])
def test_changeRequestWithoutAlternative(flags: int) -> None:
    """
    A server with one address does not know CHANGE-REQUEST: 420.
    """
    question = request(Method.BINDING, ID, (Attribute.CHANGE_REQUEST, flags))
    _, answer = ask(BindingServer({A: A}, (3478,)), question)
    assert answer.get(Attribute.ERROR_CODE) == (420, "")
    assert answer.get(Attribute.UNKNOWN_ATTRIBUTES) == [Attribute.CHANGE_REQUEST]


def test_alternatePortOnly() -> None:
    """
    With a second port alone, the port can be changed and the host not.
    """
    server = BindingServer({A: A}, (3478, 3479))
    question = request(Method.BINDING, ID, (Attribute.CHANGE_REQUEST, CHANGE_PORT))
    datagram, answer = ask(server, question)
    assert datagram.local == (A, 3479)
    assert answer.get(Attribute.OTHER_ADDRESS) == (A, 3479)


def test_behindOneToOneNat() -> None:
    """
    Addresses are named as they are seen outside; sockets are those inside.
    """
    server = BindingServer({"10.0.0.1": A, "10.0.0.2": B}, (3478, 3479))
    question = request(
        Method.BINDING, ID, (Attribute.CHANGE_REQUEST, CHANGE_IP | CHANGE_PORT)
    )
    datagram, answer = ask(server, question, ("10.0.0.1", 3478))
    assert datagram.local == ("10.0.0.2", 3479)
    assert answer.get(Attribute.OTHER_ADDRESS) == (B, 3479)
    assert answer.get(Attribute.RESPONSE_ORIGIN) == (B, 3479)


@pytest.mark.parametrize(
    ("local", "remote"), [((A, 3478), CLIENT), ((A6, 3478), CLIENT6)]
)
def test_noAmplifier(local: Address, remote: Address) -> None:
    """
    To a bare question the answer has at most 80 bytes, and still names the
    alternative.
    """
    datagram, answer = ask(full(), request(Method.BINDING, ID), local, remote)
    assert len(datagram.data) <= MAX_RESPONSE == 80
    assert answer.get(Attribute.OTHER_ADDRESS) is not None


def test_largerQuestion() -> None:
    """
    Who asks with more bytes may be answered with more, never with more than
    that: PADDING is filled up to the size of the question.
    """
    padding = (Attribute.PADDING, bytes(500))
    datagram, answer = ask(
        full(), request(Method.BINDING, ID, padding), (A6, 3478), CLIENT6
    )
    assert answer.get(Attribute.RESPONSE_ORIGIN) == (A6, 3478)
    size = len(request(Method.BINDING, ID, padding).serialize())
    assert len(datagram.data) == size


def test_responsePort() -> None:
    """
    RFC 5780, 7.5: another port of the same host, but no privileged one, and
    not together with PADDING.
    """
    port = (Attribute.RESPONSE_PORT, 5555)
    datagram, _ = ask(full(), request(Method.BINDING, ID, port))
    assert datagram.remote == (CLIENT[0], 5555)
    low = request(Method.BINDING, ID, (Attribute.RESPONSE_PORT, 53))
    both = request(Method.BINDING, ID, port, (Attribute.PADDING, bytes(80)))
    for question in (low, both):
        datagram, answer = ask(full(), question)
        assert answer.get(Attribute.ERROR_CODE) == (400, "")
        assert datagram.remote == CLIENT


def test_unknownRequired() -> None:
    """
    RFC 8489, 6.3.1: what is not understood and must be gets 420, in an answer
    that names no more than fits.
    """
    many = [(0x7000 + each, b"") for each in range(40)]
    datagram, answer = ask(full(), request(Method.BINDING, ID, *many))
    assert answer.get(Attribute.ERROR_CODE)[0] == 420
    assert answer.get(Attribute.UNKNOWN_ATTRIBUTES)[0] == 0x7000
    assert len(datagram.data) <= MAX_RESPONSE


def test_onlyRequestsAreAnswered() -> None:
    """
    Indications, responses and other methods are dropped.
    """
    server = full()
    for message in (
        indication(Method.BINDING, ID),
        success(request(Method.BINDING, ID)),
        request(Method.ALLOCATE, ID),
    ):
        data = message.serialize()
        assert server.handle(parse(data), data, (A, 3478), CLIENT, 0.0) == []
    assert server.counters == {"ignored": 3}


def test_rationed() -> None:
    """
    One network gets its burst, then its rate; another is not concerned.
    """
    server = BindingServer(limit=PrefixLimit(rate=1.0, burst=5.0))
    data = request(Method.BINDING, ID).serialize()

    def answers(host: str, now: float) -> int:
        remote = (host, 4000)
        return sum(
            len(server.handle(parse(data), data, (A, 3478), remote, now))
            for _ in range(20)
        )

    assert answers("198.51.100.7", 0.0) == 5
    assert answers("198.51.100.8", 0.0) == 0
    assert answers("192.0.2.7", 0.0) == 5
    assert answers("198.51.100.7", 3.0) == 3
    assert server.counters["limited"] == 15 + 20 + 15 + 17
