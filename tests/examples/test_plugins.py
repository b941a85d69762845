"""
Each example of a plugin does what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from punchd.errors import InvalidOption
from punchd.forward.home import Home
from punchd.forward.publish import Publisher
from punchd.forward.rules import Publication
from punchd.interfaces import (
    IAdmission,
    ICandidateSearch,
    ICandidateSource,
    IDirectory,
    IEventReceiver,
    IEventSink,
    IForwarder,
    IGuard,
    IPathPolicy,
    IPresences,
    IRelayLeg,
    IRelayTransport,
    ITraversalStrategy,
)
from punchd.net.legs import Ground
from punchd.net.ways import Way
from punchd.services.rendezvous import Settings
from punchd.signaling.directory import Limits
from punchd.tap.listing import pluginInterfaces
from punchd.testing.pair import Collector, Pair
from punchd.testing.scenario import Scenario
from punchd.traversal.policy import PathState
from tests.examples.shown import FOLDER, shown

ANYONE: Any = None


@contextmanager
def running(pair: Pair) -> Iterator[Pair]:
    """
    A pair that is stopped at the end.
    """
    pair.ready()
    try:
        yield pair
    finally:
        pair.stop()


@pytest.mark.parametrize(
    ("interface", "name", "plugin"),
    [
        (IAdmission, "admission", "from_"),
        (ICandidateSource, "source", "byHand"),
        (IDirectory, "directory", "book"),
        (IEventSink, "events", "last"),
        (IForwarder, "forwarder", "say"),
        (IPathPolicy, "policy", "frugal"),
        (IRelayTransport, "transport", "tunnel"),
        (ITraversalStrategy, "strategy", "newPort"),
    ],
)
def testWhole(interface: Any, name: str, plugin: str) -> None:
    """They provide their interfaces, and say in a line what they are."""
    found = getattr(shown(name), plugin)
    assert verifyObject(interface, found)
    assert found.__doc__.strip().endswith(".")


def testForwarder() -> None:
    """Who opens the service is told the words."""
    say = shown("forwarder").say
    with running(Pair(Scenario("portrestricted", "portrestricted", 1))) as pair:
        rule = Publication("quote", "say:Well done", say)
        pair.b.peers.publish = Publisher(pair.scenario.hostB, [rule])
        stream = pair.network.runUntil(
            pair.a.open(pair.identityB.peerId, "quote"), 20.0
        )
        collector = Collector()
        stream.attach(collector)
        pair.network.runUntil(collector.whenReceived(9), 20.0)
        assert bytes(collector.received) == b"Well done"
    with pytest.raises(ValueError, match="nothing to say"):
        say.publish(Publication("quote", "say:", say), Home(ANYONE))


def testSource() -> None:
    """The seeker is told of the port."""
    heard: list[Any] = []

    class Seeker:
        available = staticmethod(heard.append)
        mapped = staticmethod(heard.append)

    byHand = shown("source").byHand
    search = byHand.seek(None, ("192.168.1.2", 4000), None, Seeker())
    assert verifyObject(ICandidateSearch, search)
    search.map()
    assert heard == ["198.51.100.7", ("198.51.100.7", 4000)]
    assert search.stop().called


def testStrategy() -> None:
    """A pair that spoiled its ports becomes direct by fresh ones."""
    newPort = shown("strategy").newPort
    for strategies, kind in (([], "relayed"), ([newPort], "direct")):
        pair = Pair(
            Scenario("noinputfilter", "portrestricted", 1), strategies=strategies
        )
        with running(pair):
            pair.a.context.openerTtl = pair.b.context.openerTtl = None
            pair.open()
            pair.network.advance(5.0)
            (session,) = pair.a.status()["sessions"]
            assert session["path"]["kind"] == kind
    assert session["path"]["strategy"] == "new-port"
    (verdict,) = [v for v in session["verdicts"] if v["strategy"] == "new-port"]
    assert verdict["outcome"] == "succeeded"


def testPolicy() -> None:
    """Direct paths are preferred as long as they deliver."""
    choose = shown("policy").frugal.choose
    relayed, direct = PathState(kind="relayed", rtt=0.001), PathState(kind="direct")
    dead = PathState(kind="direct", delivers=False)
    assert choose([relayed, direct], relayed).path is direct
    assert choose([relayed, direct], direct) is None
    assert choose([relayed, dead], dead).path is relayed


def testAdmission() -> None:
    """Who comes from elsewhere is not admitted."""
    from_ = shown("admission").from_
    guard = from_.guard("from 1", "192.0.2.", None)
    assert verifyObject(IGuard, guard)
    hosts = ("192.0.2.7", "198.51.100.7")
    assert [guard.mayRegister("somebody", each) for each in hosts] == [True, False]
    with pytest.raises(InvalidOption, match="expected from:PREFIX"):
        from_.guard("from 1", "", None)


def testDirectory(tmp_path: Path) -> None:
    """A rendezvous with that directory works, and the book is kept."""
    path = tmp_path / "book"
    book = shown("directory").book

    class Booked(Pair):
        """
        A rendezvous with that directory.
        """

        def settings(self) -> Settings:
            """
            The rendezvous's.
            """
            network = self.scenario.rendezvous
            made = book.directory(str(path), network, Limits())
            assert verifyObject(IPresences, made)
            return Settings(directory=made)

    with running(Booked(Scenario("open", "open", 1))) as pair:
        pair.open()
        ids = {pair.identityA.peerId, pair.identityB.peerId}
    lines = [line.split() for line in path.read_text().splitlines()]
    assert {words[1] for words in lines if words[2] == "came"} == ids
    with pytest.raises(InvalidOption, match=r"No such file or directory\."):
        book.directory(
            str(tmp_path / "no" / "book"), pair.scenario.rendezvous, Limits()
        )


def testTransport() -> None:
    """The leg goes through the tunnel, and speaks to the server behind it."""
    scenario = Scenario("open", "open", 1)

    class Socket:
        network = scenario.hostA

    socket: Any = Socket()
    way = Way("tunnel", ("192.0.2.1", 3478))
    leg = shown("transport").tunnel.leg(way, Ground(socket, None))
    assert verifyObject(IRelayLeg, leg)
    assert leg.server == way.server


def testEvents(tmp_path: Path) -> None:
    """The file tells what has happened last."""
    path = tmp_path / "last"
    receiver = shown("events").last.open(str(path), None)
    assert verifyObject(IEventReceiver, receiver)
    for text in ("One.", "Two."):
        receiver.happened({"event": "test", "text": text})
    assert path.read_text() == "test: Two.\n"
    with pytest.raises(InvalidOption, match="expected last:FILE"):
        shown("events").last.open("", None)


def testEveryInterfaceIsShown() -> None:
    """There is a file for each, and the page about plugins names it."""
    page = (FOLDER.parent / "howto" / "plugins.rst").read_text()
    for path in FOLDER.glob("*.py"):
        interface = path.read_text().split()[1].rstrip(":")
        assert f"``{path.name}``" in page
        assert f"``{interface}``" in page
    told = [
        each.__name__ for each in pluginInterfaces() if f"``{each.__name__}``" in page
    ]
    assert told == [each.__name__ for each in pluginInterfaces()]
