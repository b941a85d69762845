"""
What clients say to each other through the rendezvous, over real TLS in
simulated time.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from punchd.errors import PeerUnavailable, RendezvousRefused
from punchd.services.registrar import ANSWER, REFUSAL
from punchd.services.rendezvous import Settings
from punchd.signaling.commands import Register
from punchd.signaling.directory import Limits
from punchd.testing.results import assertNoResult, failureResultOf, successResultOf
from tests.services.meeting import IDENTITIES, Client, Meeting

RTT = 0.05


def dialled(meeting: Meeting, dialler: Client, listener: Client, dialId: str) -> None:
    """
    Have a dial that was accepted.
    """
    meeting.network.runUntil(dialler.link.dial(listener.peerId, dialId, b"offer", []))


def test_dial(meeting: Meeting) -> None:
    """
    Offer and flight go to the peer, answer and flight come back, with nothing
    waited for but the round trips: one to the rendezvous on each side.
    """
    alice, bob = meeting.join(1, 2)
    began = meeting.network.clock.seconds()
    dialling = alice.link.dial(bob.peerId, "d1", b"the offer", [b"one", b"two"])
    answer = meeting.network.runUntil(dialling)
    assert meeting.network.clock.seconds() - began == pytest.approx(2 * RTT)
    assert answer.answer == b"the answer"
    assert answer.flight == [b"back"]
    assert bob.named("onIncoming") == [
        (alice.peerId, "d1", b"the offer", [b"one", b"two"], [])
    ]


def test_observedAddresses(meeting: Meeting) -> None:
    """
    The dialler's observed addresses go out with its offer, the listener's only
    with its answer.
    """
    alice, bob = meeting.join(1, 2)
    now = meeting.network.clock.seconds()
    directory = meeting.rendezvous.directory
    addresses = {
        alice: [("203.0.113.200", 4000), ("2001:db8::200", 4000)],
        bob: [("203.0.113.201", 4001)],
    }
    for client, found in addresses.items():
        assert client.link.registration is not None
        presence = directory.presenceOf(client.link.registration.handle)
        assert presence is not None
        for address in reversed(found):
            presence.sightings.add(address, now)
    bob.answer = PeerUnavailable()
    dialling = alice.link.dial(bob.peerId, "d1", b"", [])
    meeting.network.advance(1)
    failureResultOf(dialling, PeerUnavailable)
    bob.answer = (b"yes", [])
    answer = meeting.network.runUntil(alice.link.dial(bob.peerId, "d2", b"", []))
    assert answer.observed == addresses[bob]
    assert [each[4] for each in bob.named("onIncoming")] == [addresses[alice]] * 2


def test_refusalsLookAlike(meeting: Meeting) -> None:
    """
    Unknown, gone and unwilling peers, and those who make an error: one error,
    one sentence, after one time.
    """
    alice, bob, carol, dave = meeting.join(1, 2, 3, 4)
    bob.answer = PeerUnavailable("not you, and this stays here")
    meeting.network.runUntil(dave.link.stopService())
    took, sentences = set(), set()
    for number, peer in enumerate((IDENTITIES[0].peerId, bob.peerId, dave.peerId)):
        began = meeting.network.clock.seconds()
        dialling = alice.link.dial(peer, str(number), b"", [])
        with pytest.raises(PeerUnavailable) as caught:
            meeting.network.runUntil(dialling)
        took.add(round(meeting.network.clock.seconds() - began, 6))
        sentences.add(str(caught.value))
    assert took == {REFUSAL + RTT}
    assert sentences == {"The peer is offline, unknown, or does not let you in."}
    assert carol.events[1:] == []


def test_errorOfTheListener(meeting: Meeting, hygiene: Any) -> None:
    """
    An unexpected error of the listener is its own affair.
    """
    alice, bob = meeting.join(1, 2)
    bob.answer = ZeroDivisionError()
    with pytest.raises(PeerUnavailable):
        meeting.network.runUntil(alice.link.dial(bob.peerId, "1", b"", []))
    assert len(hygiene.flush(ZeroDivisionError)) == 1
    assert bob.link.registered


def test_noAnswer(meeting: Meeting) -> None:
    """
    A listener has ten seconds; then it is told that the dial is over, and its
    late answer goes nowhere.
    """
    alice, bob = meeting.join(1, 2)
    bob.answer = Deferred()
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    meeting.network.advance(ANSWER)
    assertNoResult(dialling)
    meeting.network.advance(2 * RTT)
    failureResultOf(dialling, PeerUnavailable)
    assert bob.named("onEnded") == [
        (alice.peerId, "1", "the answer came too late"),
    ]
    bob.answer.callback((b"late", []))
    meeting.network.advance(1)
    assert alice.link.registered
    assert bob.link.registered


def test_diallerLeaves(meeting: Meeting) -> None:
    """
    The listener of a dial without an answer learns that the dialler has left,
    and its answer goes nowhere.
    """
    alice, bob = meeting.join(1, 2)
    bob.answer = Deferred()
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    meeting.network.advance(1)
    meeting.network.runUntil(alice.link.stopService())
    failureResultOf(dialling)
    meeting.network.advance(1)
    assert bob.named("onEnded") == [(alice.peerId, "1", "the dialler left")]
    assert bob.named("onPeerGone") == []
    bob.answer.callback((b"late", []))
    meeting.network.advance(1)
    assert meeting.rendezvous.counters["signaling: accepted"] == 0


def test_cancelled(meeting: Meeting) -> None:
    """
    So it does when the dial is cancelled.
    """
    alice, bob = meeting.join(1, 2)
    bob.answer = Deferred()
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    meeting.network.advance(1)
    dialling.cancel()
    failureResultOf(dialling)
    meeting.network.advance(1)
    assert bob.named("onEnded") == [(alice.peerId, "1", "cancelled")]
    bob.answer.callback((b"late", []))
    meeting.network.advance(1)


def test_listenerLeaves(meeting: Meeting) -> None:
    """
    A listener that leaves instead of answering is unavailable.
    """
    alice, bob = meeting.join(1, 2)
    bob.answer = Deferred()
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    meeting.network.advance(1)
    meeting.kill(bob.link, bob.host)
    meeting.network.advance(1)
    failureResultOf(dialling, PeerUnavailable)


def test_trickle(meeting: Meeting) -> None:
    """
    Either side can send more, the dialler before it is answered.
    """
    alice, bob, carol = meeting.join(1, 2, 3)
    bob.answer = Deferred()
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    alice.link.trickle("1", b"early", [b"e"])
    meeting.network.advance(1)
    bob.link.trickle("1", b"too early", [])
    meeting.network.advance(1)
    bob.answer.callback((b"", []))
    meeting.network.advance(1)
    successResultOf(dialling)
    bob.link.trickle("1", b"in time", [b"f", b"g"])
    carol.link.trickle("1", b"not mine", [])
    alice.link.trickle("2", b"no such dial", [])
    meeting.network.advance(1)
    assert bob.named("onTrickle") == [(alice.peerId, "1", b"early", [b"e"])]
    assert alice.named("onTrickle") == [(bob.peerId, "1", b"in time", [b"f", b"g"])]
    assert carol.named("onTrickle") == []
    assert meeting.rendezvous.counters["signaling: trickled into nothing"] == 3


def test_flightBudget(meeting: Meeting) -> None:
    """
    The rendezvous carries 16 KiB of datagrams a dial and direction, whatever
    commands they come with, and drops the rest silently; updates go on.
    """
    alice, bob = meeting.join(1, 2)
    flight = [bytes((number,)) * 1200 for number in range(16)]
    bob.answer = (b"", flight)
    answer = meeting.network.runUntil(alice.link.dial(bob.peerId, "1", b"", flight))
    assert answer.flight == flight[:13]
    (incoming,) = bob.named("onIncoming")
    assert incoming[3] == flight[:13]
    alice.link.trickle("1", b"update", [b"x" * 1200])
    alice.link.trickle("1", b"", [b"x" * 1200])
    bob.link.trickle("1", b"", [b"y" * 700])
    meeting.network.advance(1)
    assert bob.named("onTrickle") == [(alice.peerId, "1", b"update", [])]
    assert alice.named("onTrickle") == [(bob.peerId, "1", b"", [b"y" * 700])]
    counters = meeting.rendezvous.counters
    assert counters["signaling: flight datagrams over budget"] == 8


def test_bye(meeting: Meeting) -> None:
    """
    A dial that one side has ended is over for both.
    """
    alice, bob = meeting.join(1, 2)
    dialled(meeting, alice, bob, "1")
    bob.link.bye("1", "enough")
    meeting.network.advance(1)
    assert alice.named("onEnded") == [(bob.peerId, "1", "enough")]
    alice.link.trickle("1", b"still there?", [])
    alice.link.bye("1", "me too")
    meeting.network.advance(1)
    assert bob.named("onTrickle") == bob.named("onEnded") == []


def test_peerGoneAndReturned(meeting: Meeting) -> None:
    """
    Peers with an accepted dial learn when a connection is lost, and when the
    same process is back; their dial goes on.
    """
    alice, bob, carol = meeting.join(1, 2, 3)
    dialled(meeting, alice, bob, "1")
    dialled(meeting, alice, bob, "2")
    connection = alice.link.connection
    assert connection is not None
    connection.refuse("for the test")
    meeting.network.advance(2)
    assert bob.named("onPeerGone") == [(alice.peerId,)]
    assert bob.named("onPeerReturned") == [(alice.peerId,)]
    assert carol.events[1:] == []
    assert alice.link.registration is not None
    assert alice.link.registration.resumed
    bob.link.trickle("1", b"welcome back", [])
    meeting.network.advance(1)
    assert alice.named("onTrickle") == [(bob.peerId, "1", b"welcome back", [])]


def test_newProcess(meeting: Meeting) -> None:
    """
    A newer registration of the same peer replaces the older one, which is told
    so and stays away; the dials of the older one are over.
    """
    alice, bob = meeting.join(1, 2)
    dialled(meeting, alice, bob, "1")
    other = meeting.addClient(1)
    meeting.network.runUntil(other.link.whenRegistered())
    meeting.network.advance(60)
    assert alice.named("onReplaced") == [()]
    assert len(alice.named("onGaveUp")) == 1
    assert not alice.link.registered
    assert other.link.registered
    assert bob.named("onPeerGone") == [(alice.peerId,)]
    assert bob.named("onEnded") == []
    dialled(meeting, bob, other, "2")
    assert len(alice.named("onRegistered")) == 1


def test_renew(meeting: Meeting) -> None:
    """
    Credentials for the relay can be had anew; they are good for twelve hours.
    """
    (alice,) = meeting.join(1)
    first = alice.link.registration
    assert first is not None
    assert first.realm == "punchd"
    assert first.relayExpires == 12 * 3600
    meeting.network.advance(100)
    second = meeting.network.runUntil(alice.link.renew())
    assert second == alice.link.registration
    assert second.handle == first.handle
    assert second.relayUsername != first.relayUsername
    assert second.relayNonce != first.relayNonce


def test_otherVersion(meeting: Meeting) -> None:
    """
    A client with another version of signaling is told which one is spoken.
    """
    (alice,) = meeting.join(1)
    connection = alice.link.connection
    assert connection is not None
    asked = connection.ask(Register, 10, version=2, agent="new", resume=None)
    with pytest.raises(RendezvousRefused, match="speaks version 1"):
        meeting.network.runUntil(asked)


def test_full() -> None:
    """
    Who finds no room learns why.
    """
    meeting = Meeting(Settings(limits=Limits(total=1)))
    meeting.join(1)
    bob = meeting.addClient(2)
    with pytest.raises(RendezvousRefused, match="no room"):
        meeting.network.runUntil(bob.link.whenRegistered(failAfterFailures=1))
    meeting.stop()


def test_dialFlood(meeting: Meeting) -> None:
    """
    Who dials without end is refused, and its victim goes on to be reached.
    """
    mallory, bob = meeting.join(1, 2)
    alice = meeting.addClient(3, address="192.0.2.99")
    meeting.network.runUntil(alice.link.whenRegistered())
    dials = [
        mallory.link.dial(bob.peerId, str(number), b"", []) for number in range(60)
    ]
    for each in dials:
        each.addErrback(lambda failure: failure.trap(PeerUnavailable) and None)
    meeting.network.advance(5)
    assert len(bob.named("onIncoming")) < 60
    assert mallory.link.registered
    dialled(meeting, alice, bob, "from alice")


def test_commandFlood(meeting: Meeting) -> None:
    """
    A client has a burst of commands and then a rate; who passes it is sent
    away.
    """
    alice, bob = meeting.join(1, 2)
    dialled(meeting, alice, bob, "1")
    for number in range(300):
        alice.link.trickle("1", b"%d" % number, [])
    meeting.network.advance(1)
    assert len(bob.named("onTrickle")) == 300
    for _ in range(450):
        bob.link.trickle("1", b"", [])
    meeting.network.advance(1)
    assert len(bob.named("onDisconnected")) == 1
    assert alice.link.registered
