"""
The relay of the rendezvous, and whom it serves.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from punchd.services.rendezvous import Settings
from punchd.stun.message import Method, request
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario
from punchd.turn.channeldata import channelData
from punchd.turn.client import Client as TurnClient
from punchd.turn.events import (
    Allocated,
    AllocationFailed,
    PermissionFailed,
    RelayedDatagram,
)
from tests.services.meeting import Client, Meeting, Socket


class Relayed:
    """
    An allocation of a registered client, from a socket of its own.

    @ivar relayed: the relayed address, if there is one.
    """

    def __init__(self, meeting: Meeting, client: Client) -> None:
        registration = client.link.registration
        assert registration is not None
        assert registration.relayUsername is not None
        self.core = TurnClient(registration.stun[0], entropy=client.host.entropy)
        self.socket = Socket(client.host)
        self.events = self.socket.drive(self.core)
        self.call = self.socket.driver.call
        self.call(
            self.core.allocate,
            registration.relayUsername,
            registration.relayPassword,
            registration.realm,
            registration.relayNonce,
        )
        self.address = (registration.observedHost, self.socket.port.getHost()[1])
        meeting.drivers.append(self.socket.driver)
        meeting.network.advance(0.06)
        self.relayed: tuple[str, int] = ("", 0)
        for event in self.named(Allocated):
            self.relayed = event.relayed

    def named(self, kind: type[Any]) -> list[Any]:
        """
        @return: the events of a kind.
        """
        return [event for event in self.events if isinstance(event, kind)]


def sight(meeting: Meeting, client: Client, address: tuple[str, int]) -> None:
    """
    Have a client be observed at an address.
    """
    registration = client.link.registration
    assert registration is not None
    presence = meeting.rendezvous.directory.presenceOf(registration.handle)
    assert presence is not None
    presence.sightings.add(address, meeting.network.clock.seconds())


def test_allocatedInOneRoundTrip(meeting: Meeting) -> None:
    """
    Credentials and nonce come with the registration, so that nothing has to
    be asked for first.
    """
    (alice,) = meeting.join(1)
    mine = Relayed(meeting, alice)
    host, port = mine.relayed
    assert host == "203.0.113.10"
    assert 49152 <= port <= 65535
    assert meeting.rendezvous.counters["relay: 401"] == 0
    mine.call(mine.core.release)
    meeting.network.advance(1)
    assert meeting.rendezvous.relay is not None
    assert meeting.rendezvous.relay.allocations() == []
    Socket(meeting.host, port)


def test_relayToRelay(meeting: Meeting) -> None:
    """
    Two clients can always meet at their relayed addresses.
    """
    alice, bob = meeting.join(1, 2)
    one, two = Relayed(meeting, alice), Relayed(meeting, bob)
    one.call(one.core.permit, ["203.0.113.10"])
    two.call(two.core.permit, ["203.0.113.10"])
    meeting.network.advance(0.06)
    for number in range(4):
        one.call(one.core.send, b"hello %d" % number, two.relayed)
        meeting.network.advance(0.2)
    assert [event.data for event in two.named(RelayedDatagram)] == [
        b"hello %d" % number for number in range(4)
    ]
    assert two.named(RelayedDatagram)[0].peer == one.relayed


def test_runs(meeting: Meeting) -> None:
    """
    What the kernel hands over together is relayed together, in order, requests
    and garbage among it or not.
    """
    alice, bob = meeting.join(1, 2)
    one, two = Relayed(meeting, alice), Relayed(meeting, bob)
    for each in (one, two):
        each.call(each.core.permit, ["203.0.113.10"])
    meeting.network.advance(0.06)
    for _ in range(3):
        one.call(one.core.send, b"hello", two.relayed)
        meeting.network.advance(0.2)
    two.events.clear()
    datagrams = meeting.rendezvous.datagrams
    frames = [channelData(0x4000, b"%d" % number) for number in range(9)]
    local = ("203.0.113.10", 3478)
    binding = request(Method.BINDING, b"t" * 12).serialize()
    datagrams.runsReceived(
        [
            (frames[:5], local, one.address),
            ([binding], local, two.address),
            ([frames[5]], local, one.address),
        ]
    )
    datagrams.runsReceived([([*frames[6:], b"\xff", b""], local, one.address)])
    meeting.network.advance(0.2)
    assert [event.data for event in two.named(RelayedDatagram)] == [
        b"%d" % number for number in range(9)
    ]
    assert meeting.rendezvous.counters["udp: not STUN"] == 1
    assert meeting.rendezvous.counters["binding: requests"] == 1


def test_onlyTheOtherSideOfADial(meeting: Meeting) -> None:
    """
    The relay sends to where the other side of an accepted dial was observed,
    and nowhere else, however often it is asked.
    """
    alice, bob, carol = meeting.join(1, 2, 3)
    mine = Relayed(meeting, alice)
    peer = Socket(bob.host, 7000)
    address = (bob.host.sourceFor("203.0.113.10") or "", 7000)
    sight(meeting, bob, address)
    stranger = (carol.host.sourceFor("203.0.113.10") or "", 7000)
    sight(meeting, carol, stranger)

    mine.call(mine.core.permit, [address[0], stranger[0], "192.168.0.1", "127.0.0.1"])
    meeting.network.advance(0.1)
    assert {event.code for event in mine.named(PermissionFailed)} == {403}
    assert len(mine.named(PermissionFailed)) == 4

    meeting.network.runUntil(alice.link.dial(bob.peerId, "1", b"", []))
    mine.events.clear()
    mine.call(mine.core.permit, [address[0], stranger[0]])
    meeting.network.advance(0.1)
    assert [e.host for e in mine.named(PermissionFailed)] == [stranger[0]]
    mine.call(mine.core.send, b"through", address)
    meeting.network.advance(0.2)
    assert [each[0] for each in peer.received] == [b"through"]
    assert peer.received[0][2] == mine.relayed
    peer.send(b"back", mine.relayed)
    meeting.network.advance(0.2)
    assert [event.data for event in mine.named(RelayedDatagram)] == [b"back"]


def test_theListenerNeedNotWait(meeting: Meeting) -> None:
    """
    The listener may ask for its permission before its answer has arrived; the
    dialler may not.
    """
    alice, bob = meeting.join(1, 2)
    theirs, mine = Relayed(meeting, bob), Relayed(meeting, alice)
    sight(meeting, alice, mine.address)
    sight(meeting, bob, theirs.address)
    bob.answer = Deferred()
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    meeting.network.advance(0.2)
    theirs.call(theirs.core.permit, [mine.address[0]])
    mine.call(mine.core.permit, [theirs.address[0]])
    meeting.network.advance(0.2)
    assert theirs.named(PermissionFailed) == []
    assert len(mine.named(PermissionFailed)) == 1
    bob.answer.callback((b"", []))
    meeting.network.runUntil(dialling)


def test_forgottenClient(meeting: Meeting) -> None:
    """
    Who has left allocates for two minutes more and keeps what he has as long;
    then his allocation cannot be refreshed.
    """
    (alice,) = meeting.join(1)
    mine = Relayed(meeting, alice)
    meeting.network.runUntil(alice.link.stopService())
    meeting.network.advance(100)
    assert meeting.rendezvous.relay is not None
    assert len(meeting.rendezvous.relay.allocations()) == 1
    meeting.network.advance(1500)
    assert meeting.rendezvous.relay.allocations() == []
    assert len(mine.events) > 1


def test_withoutARelay() -> None:
    """
    A rendezvous that does not relay offers no credentials, and answers nothing.
    """
    meeting = Meeting(Settings(relay=False))
    (alice,) = meeting.join(1)
    registration = alice.link.registration
    assert registration is not None
    assert registration.relayUsername is None
    assert meeting.network.runUntil(alice.link.renew()).relayUsername is None
    core = TurnClient(registration.stun[0], entropy=alice.host.entropy)
    socket = Socket(alice.host)
    events = socket.drive(core)
    socket.driver.call(core.allocate, "1:x", "x", "punchd", None)
    meeting.network.advance(60)
    assert isinstance(events[0], AllocationFailed)
    assert meeting.rendezvous.counters["udp: no relay"] > 0
    meeting.stop()


def test_behindOneToOneNat() -> None:
    """
    Behind a 1:1 NAT clients are told the public address, also that of the
    relay, and what they send to it arrives.
    """
    scenario = Scenario("open", "open", rendezvousNat=True)
    meeting = Meeting(Settings(publics=[("203.0.113.10", None)]), scenario=scenario)
    assert meeting.url.host == RENDEZVOUS_HOSTS[0]
    alice, bob = meeting.join(1, 2)
    one, two = Relayed(meeting, alice), Relayed(meeting, bob)
    assert one.relayed[0] == two.relayed[0] == RENDEZVOUS_HOSTS[0]
    for each in (one, two):
        each.call(each.core.permit, [RENDEZVOUS_HOSTS[0]])
    meeting.network.advance(0.1)
    one.call(one.core.send, b"hello", two.relayed)
    meeting.network.advance(0.2)
    assert [event.data for event in two.named(RelayedDatagram)] == [b"hello"]
    stranger = Socket(meeting.network.addHost("stranger", "192.0.2.77"))
    stranger.send(b"\0\1\0\0\x21\x12\xa4\x42" + b"t" * 12, (RENDEZVOUS_HOSTS[0], 3478))
    meeting.network.advance(0.2)
    assert [each[2] for each in stranger.received] == [(RENDEZVOUS_HOSTS[0], 3478)]
    meeting.stop()


@pytest.mark.parametrize("port", [50000, 50001])
def test_portsRunOut(port: int) -> None:
    """
    When no port is left, the next allocation is refused.
    """
    meeting = Meeting(Settings(relayPorts=(port, port)))
    alice, bob = meeting.join(1, 2)
    assert Relayed(meeting, alice).relayed == ("203.0.113.10", port)
    (failed,) = Relayed(meeting, bob).named(AllocationFailed)
    assert failed.code == 508
    meeting.stop()
