"""
What the processes of a rendezvous tell each other, over a transport in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from punchd.services.traffic import Traffic
from punchd.services.workercopy import RETELL, Copy, ToldDirectory
from punchd.services.workerorders import changed
from punchd.services.workerpipe import MESSAGE, pack, unpack
from punchd.services.workers import AT_MOST, Workers
from punchd.signaling.directory import SIGHTING_LIFETIME, Limits, Presence
from punchd.turn.limits import limitsOf
from punchd.turn.networks import PeerNetworks, parseNetwork

A, B, C = ("192.0.2.1", 1000), ("198.51.100.2", 2000), ("203.0.113.200", 3000)
_APPLIED = {"dial": "dialled"}


def _entropy() -> Any:
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def _apply(copy: Copy, records: Sequence[Any], now: float) -> None:
    """
    What a worker does, by way of the wire.
    """
    for message in pack(records):
        for name, *values in unpack(message):
            assert isinstance(name, str)
            getattr(copy, _APPLIED.get(name, name))(now, *values)


class Told:
    """
    A directory and a copy that hears at once.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.heard: list[tuple[Any, ...]] = []
        self.copy = Copy(lambda *record: self.heard.append(record))
        self.told: list[tuple[Any, ...]] = []
        self.directory = ToldDirectory(_entropy(), Limits(), self._tell)

    def _tell(self, *record: Any) -> None:
        self.told.append(record)
        _apply(self.copy, [record], self.now)

    def register(self, peer: str, resume: str | None = None) -> Presence:
        """
        @return: the presence of a client.
        """
        return self.directory.register(
            peer, "192.0.2.9", object(), resume, self.now
        ).presence

    def agree(self, *presences: Presence) -> list[bool]:
        """
        @return: what each may, which a new copy says too.
        """
        fresh = Copy(lambda *record: None)
        _apply(fresh, list(self.directory.records(self.now)), self.now)
        found = []
        for presence in presences:
            handle = presence.handle
            for host, _ in (A, B, C):
                may = self.directory.mayRelay(handle, host, self.now)
                assert self.copy.mayRelay(handle, host, self.now) is may
                assert fresh.mayRelay(handle, host, self.now) is may
                found.append(may)
            may = self.directory.mayAllocate(handle)
            assert self.copy.mayAllocate(handle) is may
            assert fresh.mayAllocate(handle) is may
        return found


def test_copyDecidesAlike() -> None:
    """
    A copy, old or new, lets clients do what the directory lets them do, through
    registration, dials, their ends, and clients that come anew.
    """
    told = Told()
    a, b = told.register("a"), told.register("b")
    nothing = [False] * 6
    assert told.agree(a, b) == nothing
    a.sightings.add(A, told.now)
    b.sightings.add(B, told.now)
    b.sightings.add(C, told.now)
    assert told.agree(a, b) == nothing
    dial = told.directory.dial(a, "b", "1", told.now)
    # Before it has answered, the listener may, and the dialler not.
    assert told.agree(a, b) == [False, False, False, True, False, False]
    assert told.directory.accept(dial)
    both = [False, True, True, True, False, False]
    assert told.agree(a, b) == both
    assert told.register("a", a.handle) is a
    assert told.agree(a, b) == both
    told.now += SIGHTING_LIFETIME + 1
    assert told.agree(a, b) == nothing
    a.sightings.add(A, told.now)
    assert told.agree(a, b) == [False, False, False, True, False, False]
    told.directory.close(dial)
    assert told.agree(a, b) == nothing
    other = told.directory.dial(b, "a", "2", told.now)
    assert told.directory.accept(other)
    anew = told.register("a")
    assert told.agree(a, b, anew) == [False] * 9
    assert not told.copy.mayAllocate(a.handle)


def test_seenByAWorker() -> None:
    """
    A worker tells what it sees, again only after a while, and not what it was told.
    """
    told = Told()
    a = told.register("a")
    presence = told.copy.presenceOf(a.handle)
    assert presence is not None and presence.key == a.key
    for seconds in (0, 1, RETELL, RETELL + 1):
        presence.sightings.add(A, 1000.0 + seconds)
    assert told.heard == [("seen", a.handle, *A)] * 2
    a.sightings.add(B, told.now)
    assert len(told.heard) == 2
    assert set(presence.sightings.addresses(1000.0)) == {A, B}


def test_longMessagesAreCut() -> None:
    """
    Many records go in several messages, in order.
    """
    records = [["here", f"handle{number}", "k" * 24] for number in range(3000)]
    messages = list(pack(records))
    assert len(messages) > 2
    assert max(map(len, messages)) < 1.1 * MESSAGE
    assert [record for each in messages for record in unpack(each)] == records
    assert list(pack([])) == []


class _Connection:
    def __init__(self) -> None:
        self.lost = 0

    def loseConnection(self) -> None:
        """
        Count.
        """
        self.lost += 1


class _Pipe:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: bytes) -> None:
        """
        Keep the records; the first message has the orders.
        """
        if message[:1] == b"[":
            self.sent += json.loads(message)

    def close(self) -> None:
        """
        Nothing is left open.
        """


class _Relay:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def came(self, outside: Any, now: float) -> None:
        """
        Remember it.
        """
        self.heard.append(outside)


class _Driver:
    def call(self, command: Any, *arguments: Any) -> None:
        """
        Do it now.
        """
        command(*arguments, 0.0)


class _Rendezvous:
    def __init__(self) -> None:
        self.relay = _Relay()
        self.datagrams = SimpleNamespace(driver=_Driver())
        self.traffic = Traffic()
        self.directory: Any = None
        self.sightings: list[Any] = []
        self.events: list[Any] = []
        self.sighted = lambda *seen: self.sightings.append(seen)
        self.relayed = self.events.append


class _Network:
    def __init__(self) -> None:
        self.reactor: Any = Clock()
        self.entropy = _entropy()


@pytest.fixture(name="hub")
def _hub() -> Any:
    """
    @return: the process with the directory, and two workers that are none.
    """
    rendezvous = _Rendezvous()
    workers = Workers(rendezvous, _Network(), 3)
    rendezvous.directory = workers.makeDirectory(Limits())
    for child in workers._children:
        child.pipe = _Pipe()
    return workers


_LODGER = ("203.0.113.10", 50001, "10.0.0.1", 50001, "registered", "h", "192.0.2.0/24")


def test_othersAreTold(hub: Any) -> None:
    """
    What one worker says it has, the others and we know, until it has gone; nobody is
    told what he has said.
    """
    first, second = hub._children
    came = ["came", *_LODGER, "1:h"]
    hub._received(first, [came])
    assert hub.neighbours.live == {_LODGER[:2]: _LODGER[2:4]}
    assert hub._rendezvous.relay.heard == [_LODGER[:2]]
    assert hub.neighbours.counts[("user", ("registered", "h"))] == 1
    assert second.pipe.sent == [came] and first.pipe.sent == []
    assert list(hub.records(second)) == [tuple(came)]
    assert list(hub.records(first)) == []
    hub._received(first, [["went", *_LODGER[:2]]])
    assert not hub.neighbours.live and not hub.neighbours.counts
    assert second.pipe.sent[1:] == [["went", *_LODGER[:2]]]


def test_workerSees(hub: Any) -> None:
    """
    Where a worker sees a client counts, and every worker hears of it.
    """
    first, second = hub._children
    directory = hub._rendezvous.directory
    presence = directory.register("a", "192.0.2.9", object(), None, 0.0).presence
    hub._received(first, [["seen", presence.handle, *A], ["seen", "nobody", *B]])
    assert presence.sightings.addresses(0.0) == [A]
    assert hub._rendezvous.sightings == [(presence, A)]
    assert second.pipe.sent[-1] == ["seen", presence.handle, *A]


def test_workerDies(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a dead worker had is forgotten everywhere but in the sums; it is started
    again, later each time; and clients whose allocations it had come back.
    """
    first, second = hub._children
    rendezvous = hub._rendezvous
    connection = _Connection()
    arrival = rendezvous.directory.register("a", "192.0.2.9", connection, None, 0.0)
    username = f"9999:{arrival.presence.handle}"
    living = [["udp", 4, 1, 3, 300, 4, 400]]
    hub._received(
        first, [["came", *_LODGER, username], ["came", "x", 1, *_LODGER[2:], "bob"]]
    )
    hub._received(first, [["report", {"relay: 403": 2}, {"send EPERM": 1}, living]])
    assert hub.counters["relay: 403"] == 2
    spawned: list[Any] = []

    def spawn(child: Any) -> None:
        child.startedAt = hub._clock.seconds()
        child.pipe = _Pipe()
        spawned.append(child)

    monkeypatch.setattr(hub, "_spawn", spawn)
    for wait in (0.1, 0.2):
        first.gone()
        hub.ended(first, Failure(ProcessTerminated(signal=9)))
        hub._clock.advance(wait - 0.01)
        assert not spawned
        hub._clock.advance(0.02)
        assert spawned.pop() is first
    assert not hub.neighbours.live
    assert ["went", *_LODGER[:2]] in second.pipe.sent
    assert hub.counters["relay: 403"] == 2 and hub.portCounters["send EPERM"] == 1
    now, passed = rendezvous.traffic.totals(())
    assert not now and passed[("udp", 4), "receivedBytes"] == 400
    assert connection.lost == 0
    hub._received(first, [["ready"]])
    hub._received(first, [["ready"]])
    assert connection.lost == 1
    for _ in range(10):
        first.gone()
        hub.ended(first, Failure(ProcessTerminated(signal=9)))
        hub._clock.advance(AT_MOST)
    assert first.wait == AT_MOST


def test_changed(hub: Any) -> None:
    """
    New limits and networks reach every worker, those that are started later as well;
    each process has its share.
    """
    hub._prepared = {"limits": None, "peers": None, "realm": "punchd"}
    limits = limitsOf({"all.bytes": 9000.0, "user.packets": 30.0})
    denied = PeerNetworks([], [parseNetwork("--relay-deny", "192.0.2.0/24")])
    share = hub.change(limits, denied)
    assert (share.all.bytes, share.user.packets) == (3000.0, 30.0)
    for child in hub._children:
        ((name, text),) = child.pipe.sent
        assert name == "changed"
        told, networks = changed(text)
        assert told == share
        assert networks("192.0.2.1") and not networks("198.51.100.1")
    assert hub._prepared == {"limits": share, "peers": denied, "realm": "punchd"}
