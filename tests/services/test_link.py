"""
How a client gets back to its rendezvous.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from punchd.errors import (
    RendezvousUnreachable,
)
from punchd.services.link import Registration
from punchd.testing.results import failureResultOf, successResultOf
from tests.services.meeting import Client, Meeting

# --- the way back


@pytest.mark.parametrize("killed", [False, True])
def test_restartOfTheRendezvous(meeting: Meeting, killed: bool) -> None:
    """
    Clients are back within a second or two after a restart that took one.
    """
    clients = meeting.join(1, 2, 3)
    if killed:
        meeting.kill(meeting.rendezvous, meeting.host)
    else:
        meeting.network.runUntil(meeting.rendezvous.stopService())
        assert meeting.network.clock.seconds() < 1
    meeting.network.advance(1)
    for client in clients:
        assert len(client.named("onDisconnected")) == 1
        assert not client.link.registered
    meeting.rendezvous = meeting.startRendezvous()
    began = meeting.network.clock.seconds()
    for client in clients:
        meeting.network.runUntil(client.link.whenRegistered())
        assert client.link.registration is not None
        assert not client.link.registration.resumed
    assert meeting.network.clock.seconds() - began < 1.5


def test_backoff(meeting: Meeting) -> None:
    """
    A rendezvous that stays away is not hammered, and clients do not come in
    step.
    """
    alice, bob = meeting.join(1, 2)
    meeting.kill(meeting.rendezvous, meeting.host)
    assert 5 <= meeting.attempts(alice, 10) / 2 <= 15
    meeting.network.advance(300)
    assert 40 <= meeting.attempts(alice, 1800) / 2 <= 70
    assert not bob.link.registered


def test_flapping(meeting: Meeting) -> None:
    """
    A connection that is lost as soon as it was made counts as one more
    failure.
    """

    def registered(registration: Registration) -> None:
        assert alice.link.connection is not None
        alice.link.connection.refuse("again")

    alice: Client = meeting.addClient(1, onRegistered=registered)
    assert 10 <= meeting.attempts(alice, 60) <= 20


def test_deadConnection(meeting: Meeting) -> None:
    """
    When a NAT has forgotten the connection, or the other machine is gone, this
    is noticed by a Ping without an answer: after 70 seconds, or ten after the
    machine has woken.
    """
    alice, bob = meeting.join(1, 2)
    meeting.services.remove(meeting.rendezvous)
    meeting.network.kill(meeting.host, silently=True)
    meeting.network.advance(20)
    bob.link.check()
    meeting.network.advance(11)
    assert alice.link.registered
    assert not bob.link.registered
    meeting.network.advance(40)
    assert not alice.link.registered


def test_idleConnection(meeting: Meeting) -> None:
    """
    An idle connection lasts.
    """
    (alice,) = meeting.join(1)
    meeting.network.advance(3600)
    assert len(alice.named("onRegistered")) == 1
    assert alice.named("onDisconnected") == []


def test_silentClient(meeting: Meeting) -> None:
    """
    The rendezvous forgets who has not sent anything for 150 seconds.
    """
    alice, bob = meeting.join(1, 2)
    meeting.services.remove(alice.link)
    meeting.network.kill(alice.host, silently=True)
    meeting.network.advance(149)
    assert len(meeting.rendezvous.directory) == 2
    meeting.network.advance(2)
    assert len(meeting.rendezvous.directory) == 1
    assert bob.link.registered


def test_stopWithoutAnAnswer(meeting: Meeting) -> None:
    """
    A rendezvous that is gone does not hold up the end of a client.
    """
    (alice,) = meeting.join(1)
    meeting.services.remove(meeting.rendezvous)
    meeting.network.kill(meeting.host, silently=True)
    began = meeting.network.clock.seconds()
    meeting.network.runUntil(alice.link.stopService())
    assert meeting.network.clock.seconds() - began <= 1


def test_stopWhileConnecting(meeting: Meeting) -> None:
    """
    A link can be stopped at any time, and who waits learns of it.
    """
    for moment in (0, 0.01, 0.06, 0.12, 0.149, 0.151):
        client = meeting.addClient(1)
        waiting = client.link.whenRegistered()
        meeting.network.advance(moment)
        meeting.network.runUntil(client.link.stopService())
        if moment < 0.15:
            failureResultOf(waiting, CancelledError)
        else:
            successResultOf(waiting)
        meeting.network.advance(1)
        assert client.host.reactor.getDelayedCalls() == []
        assert len(meeting.rendezvous.directory) == 0


def test_stopFromACallback(meeting: Meeting) -> None:
    """
    Even from the callback that tells of the registration.
    """
    client: Client = meeting.addClient(
        1, onRegistered=lambda _: client.link.stopService()
    )
    meeting.network.advance(5)
    assert not client.link.registered
    assert client.host.reactor.getDelayedCalls() == []


def test_brokenCallback(meeting: Meeting, hygiene: Any) -> None:
    """
    A callback that raises is logged and harms nobody.
    """
    client = meeting.addClient(1, onRegistered=lambda _: 1 / 0)
    meeting.network.runUntil(client.link.whenRegistered())
    assert len(hygiene.flush(ZeroDivisionError)) == 1


# --- without a connection


def test_dialWaits(meeting: Meeting) -> None:
    """
    A dial in a moment without connection waits for the next one.
    """
    alice, bob = meeting.join(1, 2)
    meeting.network.runUntil(meeting.rendezvous.stopService())
    meeting.network.advance(0.2)
    meeting.rendezvous.startService()
    meeting.network.runUntil(bob.link.whenRegistered())
    if alice.link.connection is not None:
        alice.link.connection.refuse("for the test")
        meeting.network.advance(0.05)
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    assert meeting.network.runUntil(dialling).answer == b"the answer"


def test_dialGivesUp(meeting: Meeting) -> None:
    """
    But not for ever.
    """
    alice, bob = meeting.join(1, 2)
    meeting.services.remove(meeting.rendezvous)
    meeting.network.kill(meeting.host, silently=True)
    meeting.network.advance(75)
    dialling = alice.link.dial(bob.peerId, "1", b"", [])
    meeting.network.advance(11)
    failureResultOf(dialling, RendezvousUnreachable)


def test_byeIsSaidLater(meeting: Meeting) -> None:
    """
    A goodbye that has no connection is said with the next one.
    """
    alice, bob = meeting.join(1, 2)
    meeting.network.runUntil(alice.link.dial(bob.peerId, "1", b"", []))
    assert alice.link.connection is not None
    alice.link.connection.refuse("for the test")
    meeting.network.advance(0.05)
    assert not alice.link.registered
    alice.link.trickle("1", b"lost", [])
    alice.link.bye("1", "over")
    meeting.network.advance(2)
    assert bob.named("onEnded") == [(alice.peerId, "1", "over")]
    assert bob.named("onTrickle") == []
