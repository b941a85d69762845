"""
Who is here, and who has asked for whom.
"""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from punchd.errors import PeerUnavailable, RendezvousRefused
from punchd.signaling.commands import FLIGHT_BUDGET
from punchd.signaling.directory import (
    LINGER,
    SIGHTING_LIFETIME,
    Dial,
    Directory,
    Limits,
    Presence,
    Sightings,
)


def makeDirectory(**limits: float) -> Directory:
    """
    @return: a directory whose handles are all different.
    """
    numbers = count(1)
    return Directory(
        lambda size: next(numbers).to_bytes(size, "big"),
        Limits(**limits),  # type: ignore[arg-type]
    )


def arrive(
    directory: Directory, peer: str, host: str = "198.51.100.1", now: float = 0
) -> Presence:
    """
    @return: the presence of a peer on a connection of its own.
    """
    return directory.register(peer, host, object(), None, now).presence


def acceptedDial(
    directory: Directory, dialler: Presence, listener: Presence, dialId: str = "1"
) -> Dial:
    """
    @return: a dial that was answered.
    """
    dial = directory.dial(dialler, listener.peer, dialId, 0)
    assert directory.accept(dial)
    return dial


# --- sightings


def test_sightings() -> None:
    """
    The newest four addresses of each family, newest first, for two minutes.
    """
    seen = Sightings()
    for number in range(6):
        assert seen.add(("203.0.113.1", 1000 + number), number)
        assert seen.add(("2001:db8::1", 1000 + number), number)
    four = [("203.0.113.1", 1000 + number) for number in (5, 4, 3, 2)]
    assert [each for each in seen.addresses(6) if "." in each[0]] == four
    assert len(seen.addresses(6)) == 8
    assert not seen.add(("203.0.113.1", 1002), 10)
    assert seen.addresses(10)[0] == ("203.0.113.1", 1002)
    assert seen.holds("203.0.113.1", 10)
    assert seen.addresses(10 + SIGHTING_LIFETIME) == [("203.0.113.1", 1002)]
    assert seen.addresses(10.1 + SIGHTING_LIFETIME) == []
    assert not seen.holds("203.0.113.1", 10.1 + SIGHTING_LIFETIME)
    assert seen.add(("203.0.113.1", 1002), 11 + SIGHTING_LIFETIME)


# --- presence


def test_newerReplacesOlder() -> None:
    """
    A second process of the same peer takes the place of the first, whose
    handle is worth nothing any more.
    """
    directory = makeDirectory()
    first = directory.register("alice", "198.51.100.1", "old", None, 0)
    other = arrive(directory, "bob")
    dial = acceptedDial(directory, first.presence, other)
    second = directory.register("alice", "198.51.100.9", "new", None, 1)
    assert second.replaced == "old"
    assert second.former is first.presence
    assert list(second.ended) == [dial]
    assert other.dials == {}
    assert directory.presenceOf(first.presence.handle) is None
    assert directory.presenceOf(second.presence.handle) is second.presence
    assert second.presence.key != first.presence.key
    assert len(directory) == 2
    assert directory.depart(first.presence, "old", 2) == []
    assert len(directory) == 2


def test_resumed() -> None:
    """
    The same process, which knows its handle, goes on with its dials.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    dial = acceptedDial(directory, alice, bob)
    assert directory.depart(alice, alice.connection, 10) == []
    assert alice.connection is None
    arrival = directory.register("alice", "203.0.113.5", "new", alice.handle, 100)
    assert arrival.resumed
    assert arrival.presence is alice
    assert arrival.replaced is None
    assert alice.connection == "new"
    assert alice.host == "203.0.113.5"
    assert alice.dials == {"1": dial}
    assert directory.deadline() is None


def test_resumedBeforeTheOldConnectionWasLost() -> None:
    """
    The same, when the rendezvous has not noticed yet.
    """
    directory = makeDirectory()
    old = object()
    alice = directory.register("alice", "198.51.100.1", old, None, 0).presence
    arrival = directory.register("alice", "198.51.100.1", "new", alice.handle, 1)
    assert arrival.resumed
    assert arrival.replaced is old
    assert directory.depart(alice, old, 2) == []
    assert alice.connection == "new"


def test_handleOfAnother() -> None:
    """
    Knowing somebody's handle helps nobody else.
    """
    directory = makeDirectory()
    alice = arrive(directory, "alice")
    arrival = directory.register("mallory", "203.0.113.9", "x", alice.handle, 1)
    assert not arrival.resumed
    assert arrival.presence is not alice
    assert alice.connection is not None


def test_forgotten() -> None:
    """
    Who does not come back is forgotten, with all dials, after two minutes.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    acceptedDial(directory, alice, bob)
    directory.depart(alice, alice.connection, 10)
    assert directory.deadline() == 10 + LINGER
    directory.expire(9.9 + LINGER)
    assert directory.mayAllocate(alice.handle)
    directory.expire(10 + LINGER)
    assert not directory.mayAllocate(alice.handle)
    assert bob.dials == {}
    assert not directory.register("alice", "198.51.100.1", 1, alice.handle, 200).resumed


@given(st.floats(0, 1e7))
@example(8.2)
def test_expiryIsReached(left: float) -> None:
    """
    At the deadline there is something to forget, however the numbers are rounded.
    """
    directory = makeDirectory()
    alice = arrive(directory, "alice")
    directory.depart(alice, alice.connection, left)
    deadline = directory.deadline()
    assert deadline is not None
    directory.expire(deadline)
    assert directory.deadline() is None


def test_limits() -> None:
    """
    There is room for so many clients, and for so many of one network; those
    who left make room, and who is here already is not kept out.
    """
    directory = makeDirectory(total=4, perNetwork=2)
    arrive(directory, "a", "198.51.100.1")
    b = arrive(directory, "b", "198.51.100.200")
    with pytest.raises(RendezvousRefused, match="that network"):
        arrive(directory, "c", "198.51.100.3")
    arrive(directory, "c", "2001:db8::1")
    arrive(directory, "d", "2001:db8:0:ff::1")
    with pytest.raises(RendezvousRefused, match="no room for more clients"):
        arrive(directory, "e", "203.0.113.1")
    arrive(directory, "d", "203.0.113.7")
    directory.depart(b, b.connection, 0)
    directory.expire(LINGER)
    arrive(directory, "e", "198.51.100.3", LINGER)
    assert directory.counters == {"full": 1, "network full": 1}


# --- dials


def test_whoCannotBeDialled() -> None:
    """
    Unknown, gone, oneself, a dial id in use: all look alike.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    carol, gone = arrive(directory, "carol"), arrive(directory, "gone")
    directory.depart(gone, gone.connection, 0)
    directory.dial(alice, "bob", "1", 0)
    for dialler, peer, dialId in [
        (alice, "nobody", "2"),
        (alice, "gone", "2"),
        (alice, "alice", "2"),
        (alice, "carol", "1"),
        (carol, "bob", "1"),
        (alice, "bob", ""),
    ]:
        with pytest.raises(PeerUnavailable):
            directory.dial(dialler, peer, dialId, 0)
    assert directory.counters == {
        "refused: offline": 2,
        "refused: self": 1,
        "refused: dial id": 3,
    }
    assert list(bob.dials) == ["1"]


def test_tooManyDials() -> None:
    """
    A peer has so many dials, and fewer without an answer, so that a stranger
    cannot occupy it.
    """
    directory = makeDirectory(dials=4, pending=2)
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    dials = [directory.dial(alice, "bob", str(number), 0) for number in range(2)]
    with pytest.raises(PeerUnavailable):
        directory.dial(alice, "bob", "2", 0)
    for dial in dials:
        directory.accept(dial)
    for number in (2, 3):
        directory.accept(directory.dial(alice, "bob", str(number), 0))
    with pytest.raises(PeerUnavailable):
        directory.dial(bob, "alice", "4", 0)
    directory.close(dials[0])
    directory.dial(bob, "alice", "4", 0)


def test_dialFlood() -> None:
    """
    A network has a burst of dials and then a rate, whatever keys it makes up.
    """
    directory = makeDirectory(dialRate=2, dialBurst=5)
    arrive(directory, "bob", "203.0.113.1")
    others = [arrive(directory, f"m{each}", f"198.51.100.{each}") for each in range(9)]

    def dial(number: int, now: float) -> bool:
        try:
            directory.close(directory.dial(others[number], "bob", "1", now))
        except PeerUnavailable:
            return False
        return True

    assert sum(dial(number, 0) for number in range(9)) == 5
    assert sum(dial(number, 1) for number in range(9)) == 2
    stranger = arrive(directory, "carol", "192.0.2.1")
    directory.dial(stranger, "bob", "2", 1)


def test_departureEndsWhatHasNoAnswer() -> None:
    """
    Dials without an answer end with the connection of either side; accepted
    ones wait for its return.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    accepted = acceptedDial(directory, alice, bob, "1")
    waiting = directory.dial(alice, "bob", "2", 0)
    other = directory.dial(bob, "alice", "3", 0)
    assert directory.depart(alice, alice.connection, 0) == [waiting, other]
    assert list(bob.dials.values()) == [accepted]
    assert not directory.accept(waiting)


def test_whoMaySpeak() -> None:
    """
    The dialler at once, the listener after its answer, nobody else.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    carol = arrive(directory, "carol")
    dial = directory.dial(alice, "bob", "1", 0)
    assert directory.maySpeak(alice, "1") is dial
    assert directory.maySpeak(bob, "1") is None
    directory.accept(dial)
    assert directory.maySpeak(bob, "1") is dial
    assert directory.maySpeak(carol, "1") is None
    directory.close(dial)
    assert directory.maySpeak(alice, "1") is None


def test_counterparts() -> None:
    """
    Each peer with an accepted dial, once.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    carol, dave = arrive(directory, "carol"), arrive(directory, "dave")
    acceptedDial(directory, alice, bob, "1")
    acceptedDial(directory, bob, alice, "2")
    acceptedDial(directory, carol, alice, "3")
    directory.dial(alice, dave.peer, "4", 0)
    assert alice.counterparts() == [bob, carol]


def test_flightBudget() -> None:
    """
    16 KiB each way a dial; what does not fit is left out, smaller ones after
    it are not.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    dial = acceptedDial(directory, alice, bob)
    full = [b"x" * 1200] * 13
    assert dial.carry(alice, [*full, b"y" * 1200, b"z" * 500]) == [*full, b"z" * 500]
    assert dial.carry(alice, [b"x" * 1200]) == []
    assert dial.carry(bob, [b"x" * FLIGHT_BUDGET, b"x"]) == [b"x" * FLIGHT_BUDGET]


# --- the relay


def test_mayRelay() -> None:
    """
    The relay sends for a client to where the other side of a dial of its was
    observed, when that has accepted; for the listener at once, since it is who
    accepts.
    """
    directory = makeDirectory()
    alice, bob = arrive(directory, "alice"), arrive(directory, "bob")
    carol = arrive(directory, "carol")
    alice.sightings.add(("203.0.113.1", 1000), 0)
    bob.sightings.add(("203.0.113.2", 1000), 0)
    dial = directory.dial(alice, "bob", "1", 0)

    def may(presence: Presence, host: str, now: float = 1) -> bool:
        return directory.mayRelay(presence.handle, host, now)

    assert may(bob, "203.0.113.1")
    assert not may(alice, "203.0.113.2")
    directory.accept(dial)
    assert may(alice, "203.0.113.2")
    assert may(alice, "::ffff:203.0.113.2")
    assert not may(alice, "203.0.113.1")
    assert not may(carol, "203.0.113.1")
    assert not may(alice, "203.0.113.2", SIGHTING_LIFETIME + 1)
    assert not directory.mayRelay("nobody", "203.0.113.2", 1)
    directory.close(dial)
    assert not may(alice, "203.0.113.2")
