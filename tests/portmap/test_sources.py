"""
The built-in sources: found as plugins, and over a simulated network.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from punchd._plugins import pluginsByName
from punchd.core import Address, Datagram
from punchd.interfaces import (
    ICandidateSearch,
    ICandidateSeeker,
    ICandidateSource,
    IDatagramReceiver,
)
from punchd.net.gathering import Gathering
from punchd.portmap.asking import GatewaySearch, NATPMPSearch, PCPSearch
from punchd.portmap.gateway import Gateway
from punchd.portmap.inquiry import Asked
from punchd.portmap.lease import PORT
from punchd.portmap.upnp import UPnPSearch
from punchd.testing.host import Host
from punchd.testing.network import Network
from tests.portmap.dialects import (
    BASE,
    GATEWAY,
    OUTSIDE,
    Dialect,
    SpeaksNATPMP,
    SpeaksPCP,
)


def testPlugins() -> None:
    """All three are found by their names, in this order of preference."""
    found = pluginsByName(ICandidateSource)
    for name in ("pcp", "natpmp", "upnp"):
        assert verifyObject(ICandidateSource, found[name])
    ranked = sorted(found.values(), key=lambda each: -each.preference)
    assert [each.name for each in ranked] == ["pcp", "natpmp", "upnp"]


def testLight() -> None:
    """What every twistd loads imports nothing of ours but the interfaces."""
    program = (
        "import sys, twisted.plugins.punchd_plugins\n"
        "print(*[n for n in sys.modules if n.startswith('punchd.portmap.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["punchd.portmap.plugins"]


@pytest.mark.parametrize("kind", [GatewaySearch, NATPMPSearch, PCPSearch, UPnPSearch])
def testSearches(kind: Any) -> None:
    """Searches and who hears of them are what they are said to be."""
    assert verifyClass(ICandidateSearch, kind)
    assert verifyClass(ICandidateSeeker, Asked)


@implementer(IDatagramReceiver)
class Router:
    """
    The gateway: it answers when the test says so.
    """

    def __init__(self, host: Host) -> None:
        self.port = host.listenDatagram(self, 4, "", PORT)
        self.requests: list[bytes] = []
        self.client: Address = ("", 0)

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        self.requests.append(data)
        self.client = remote

    def answer(self, data: bytes) -> None:
        self.port.send(Datagram(data, None, self.client))


class World:
    """
    A host and its router, in one network without delay; also the seeker.
    """

    def __init__(
        self, dialect: Callable[[], Dialect], search: type[GatewaySearch]
    ) -> None:
        self.network = Network(1)
        self.router = Router(self.network.addHost("router", GATEWAY[0]))
        host = self.network.addHost("host", BASE[0], "192.168.1.9")
        host.entropy = lambda count: bytes(range(count))  # type: ignore[method-assign]
        self.told: list[Any] = []
        self.gate: Any = dialect()
        gateway = Gateway(GATEWAY[0], "eth0")
        self.host = host
        self.search = search(host, BASE, gateway, self)  # type: ignore[arg-type]

    def run(self) -> list[bytes]:
        self.network.advance(0.2)
        taken, self.router.requests = self.router.requests, []
        return taken

    def available(self, host: Any) -> None:
        self.told.append(("available", host))

    def mapped(self, address: Any) -> None:
        self.told.append(("mapped", address))

    def failed(self, reason: str) -> None:
        self.told.append(("failed", reason))


@pytest.fixture(params=[(SpeaksNATPMP, NATPMPSearch), (SpeaksPCP, PCPSearch)])
def world(request: Any) -> World:
    """Each protocol in a network."""
    return World(*request.param)


def _map(world: World) -> None:
    gate = world.gate
    assert world.run() == [gate.probe]
    assert world.router.client[0] == BASE[0]
    world.router.answer(gate.answer())
    world.run()
    world.search.map()
    assert world.run() == [gate.map]
    world.router.answer(gate.granted())
    world.run()
    assert world.told == [("available", gate.host), ("mapped", OUTSIDE)]


def testCourse(world: World) -> None:
    """The port is opened, renewed and closed, from the address that it leads to."""
    _map(world)
    world.network.advance(3600)
    assert world.gate.again in world.router.requests
    world.run()
    world.router.answer(world.gate.granted())
    world.run()
    stopped = world.search.stop()
    assert world.run() == [world.gate.release]
    assert not stopped.called
    world.router.answer(world.gate.granted(lifetime=0))
    world.run()
    assert stopped.called
    _assertQuiet(world)


def testGivenUp(world: World) -> None:
    """Who does not want to wait for the router cancels, and all is over."""
    _map(world)
    stopped: Deferred[None] = world.search.stop()
    stopped.addErrback(lambda _: None)
    stopped.cancel()
    world.run()
    _assertQuiet(world)


def testRefused(world: World) -> None:
    """A router that refuses is told apart from one that is silent."""
    world.run()
    world.router.answer(world.gate.answer(code=2))
    world.run()
    ((what, reason),) = world.told
    assert what == "failed"
    assert reason.startswith("the router ")
    assert world.search.stop().called
    _assertQuiet(world)


def _assertQuiet(world: World) -> None:
    """
    Neither timers nor sockets are left.
    """
    assert world.host.reactor.getDelayedCalls() == []
    world.router.answer(world.gate.answer())
    world.run()
    assert (
        world.network.received[GATEWAY, world.router.client]
        < world.network.sent[GATEWAY, world.router.client]
    )


class Socket:
    """
    A punching socket with two bases.
    """

    def bases(self) -> list[Address]:
        return [BASE, ("2001:db8:a:1::2", 40000)]


def testGathering() -> None:
    """An opened port is a candidate until it is withdrawn; its base lives on."""
    gathering = Gathering(Socket())  # type: ignore[arg-type]
    learned: list[Any] = []
    lost: list[Any] = []
    gathering.subscribe(learned.append, lost.append)
    for _ in range(2):
        gathering.mappedPortLearned(OUTSIDE, BASE)
    (told,) = learned
    assert (told.address, told.base) == (OUTSIDE, BASE)
    assert (told.source, told.type.value) == ("mapped", "srflx")
    assert gathering.candidates()[2:] == [told]
    # Seen by the rendezvous at the same place: one candidate is enough.
    gathering.mappedLearned(OUTSIDE)
    assert gathering.candidates()[2:] == [told]
    gathering.mappedPortWithdrawn(OUTSIDE)
    assert [each.source for each in gathering.candidates()[2:]] == ["srflx"]
    assert lost == []


def testGatheringPinhole() -> None:
    """A pinhole, and a port that leads to an address we have left, are no candidate."""
    gathering = Gathering(Socket())  # type: ignore[arg-type]
    base = ("2001:db8:a:1::2", 40000)
    gathering.mappedPortLearned(base, base)
    gathering.mappedPortLearned(OUTSIDE, ("10.0.0.2", 40000))
    assert [each.source for each in gathering.candidates()] == ["host", "host"]
