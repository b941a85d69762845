"""
What the rendezvous does over UDP, how it begins and how it ends.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.errors import InvalidOption, PortUnavailable
from punchd.services.places import Place
from punchd.services.rendezvous import Rendezvous, Settings
from punchd.signaling.observation import MappedAddress, Observed
from punchd.stun.attributes import CHANGE_IP, CHANGE_PORT, Attribute
from punchd.stun.message import Method, parse, request
from punchd.testing.packet import Packet
from tests.services.meeting import Meeting, Socket

RENDEZVOUS = ("203.0.113.10", 3478)


def binding(*attributes: tuple[int, Any]) -> bytes:
    """
    @return: a Binding request.
    """
    return request(Method.BINDING, b"t" * 12, *attributes).serialize()


# --- STUN


@pytest.mark.parametrize(
    ("change", "source"),
    [
        (0, ("203.0.113.10", 3478)),
        (CHANGE_IP, ("203.0.113.11", 3478)),
        (CHANGE_PORT, ("203.0.113.10", 3479)),
        (CHANGE_IP | CHANGE_PORT, ("203.0.113.11", 3479)),
    ],
)
def test_binding(change: int, source: tuple[str, int]) -> None:
    """
    A wildcard socket answers from the address that was asked, or, as RFC 5780
    has it, from another address or port of ours.
    """
    meeting = Meeting(Settings(alternatePort=3479))
    socket = Socket(meeting.network.addHost("asker", "192.0.2.5"))
    socket.send(binding((Attribute.CHANGE_REQUEST, change)), RENDEZVOUS)
    meeting.network.advance(1)
    ((data, _, remote),) = socket.received
    assert remote == source
    answer = parse(data)
    address = answer.get(Attribute.XOR_MAPPED_ADDRESS)
    assert address == ("192.0.2.5", socket.port.getHost()[1])
    assert answer.get(Attribute.OTHER_ADDRESS) == ("203.0.113.11", 3479)
    assert len(data) <= 80
    meeting.stop()


@pytest.mark.parametrize("alternate", [3479, 5349])
def test_alternateOfSeveral(alternate: int) -> None:
    """
    Where one address is listened on at several ports, the alternate one is opened
    once, or is one of those.
    """
    places = [Place("0.0.0.0", 3478), Place("0.0.0.0", 5349)]
    meeting = Meeting(Settings(places=places, alternatePort=alternate))
    socket = Socket(meeting.network.addHost("asker", "192.0.2.5"))
    for port in (3478, 5349, alternate):
        socket.send(binding(), ("203.0.113.10", port))
    meeting.network.advance(1)
    asked = [each[2][1] for each in socket.received]
    assert sorted(asked) == sorted((3478, 5349, alternate))
    meeting.stop()


def test_otherAddressIsServed(meeting: Meeting) -> None:
    """
    What is sent to the second address is answered from there.
    """
    socket = Socket(meeting.network.addHost("asker", "192.0.2.5"))
    socket.send(binding(), ("203.0.113.11", 3478))
    meeting.network.advance(1)
    assert [each[2] for each in socket.received] == [("203.0.113.11", 3478)]


def test_bindingFlood(meeting: Meeting) -> None:
    """
    Who asks without end is answered a burst and then at a rate.
    """
    socket = Socket(meeting.network.addHost("asker", "192.0.2.5"))
    for _ in range(500):
        socket.send(binding(), RENDEZVOUS)
    meeting.network.advance(1)
    assert len(socket.received) <= 250
    assert meeting.rendezvous.counters["binding: limited"] >= 250


def test_garbage(meeting: Meeting) -> None:
    """
    What is not STUN is counted, and that is all.
    """
    socket = Socket(meeting.network.addHost("asker", "192.0.2.5"))
    for data in (b"", b"\0", b"\0\1" + b"\0" * 18, b"\xff" * 99, binding()[:-1]):
        socket.send(data, RENDEZVOUS)
    meeting.network.advance(1)
    assert socket.received == []
    assert meeting.rendezvous.counters["udp: not STUN"] >= 3


def test_observed(meeting: Meeting) -> None:
    """
    A client's address is observed within two round trips.
    """
    (alice,) = meeting.join(1)
    registration = alice.link.registration
    assert registration is not None
    socket = Socket(alice.host)
    core = Observed(
        registration.stun, registration.handle, registration.key, alice.host.entropy
    )
    events = socket.drive(core)
    meeting.network.advance(0.11)
    (event,) = events
    assert isinstance(event, MappedAddress)
    assert event.mapped == (registration.observedHost, socket.port.getHost()[1])
    presence = meeting.rendezvous.directory.presenceOf(registration.handle)
    assert presence is not None
    assert presence.sightings.addresses(0.3) == [event.mapped]
    socket.driver.stop()


def test_forgedSource(meeting: Meeting) -> None:
    """
    A registered client that forges its source can make the rendezvous send one
    small answer for each request to the victim, and nothing else.
    """
    (mallory,) = meeting.join(1)
    registration = mallory.link.registration
    assert registration is not None
    victim = Socket(meeting.network.addHost("victim", "192.0.2.66"), 5000)
    data = request(
        Method.BINDING, b"t" * 12, (Attribute.USERNAME, registration.handle)
    ).serialize(key=registration.key)
    packet = Packet("udp", ("192.0.2.66", 5000), RENDEZVOUS, data, len(data) + 28)
    meeting.network.internet.forward(packet, mallory.host)
    meeting.network.advance(1)
    assert len(victim.received) == 1
    assert len(victim.received[0][0]) <= len(data)
    presence = meeting.rendezvous.directory.presenceOf(registration.handle)
    assert presence is not None
    assert presence.sightings.addresses(1) == []


# --- the beginning and the end


def test_portTaken(meeting: Meeting) -> None:
    """
    A port that is taken is one sentence, and nothing stays open.
    """
    places = [Place("0.0.0.0", 5000), Place("203.0.113.11", 3478)]
    settings = Settings(places=places)
    second = Rendezvous(meeting.host, meeting.credentials, settings)
    with pytest.raises(PortUnavailable) as caught:
        second.privilegedStartService()
    sentence = "Cannot listen on 203.0.113.11:3478: Address already in use"
    assert str(caught.value).startswith(sentence)
    Socket(meeting.host, 5000)


def test_noPublicAddress() -> None:
    """
    Neither can it start where clients cannot be told how to find it.
    """
    meeting = Meeting()
    host = meeting.network.addHost("private", "192.168.7.7")
    private = Rendezvous(host, meeting.credentials, Settings())
    with pytest.raises(InvalidOption, match="No address of this machine is public"):
        private.startService()
    meeting.stop()


def test_startedAgain(meeting: Meeting) -> None:
    """
    What was stopped can be started again.
    """
    for _ in range(2):
        (alice,) = meeting.join(1)
        meeting.network.runUntil(alice.link.stopService())
        meeting.network.runUntil(meeting.rendezvous.stopService())
        assert meeting.rendezvous.url is None
        assert meeting.host.reactor.getDelayedCalls() == []
        meeting.rendezvous.startService()
