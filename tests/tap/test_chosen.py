"""
Plugins that options choose by name.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyClass, verifyObject

import twisted.plugins
from punchd.errors import InvalidOption
from punchd.forward.home import Home
from punchd.interfaces import (
    IHome,
    IPresences,
    IRelayLeg,
    IRelayReceiver,
    IRelayTransport,
)
from punchd.net.attempt import Attempt
from punchd.net.legs import Ground, SocketLeg, makeLeg
from punchd.net.streamleg import StreamLeg
from punchd.services.workercopy import ToldDirectory
from punchd.signaling.directory import Directory
from punchd.tap import client
from punchd.tap.relays import parseRelay
from punchd.tap.rendezvous import Options

Add = Callable[[str], None]

_ALL = ["fresh", "optimistic", "predicted", "reversal", "spray", "tcp"]


class Network:
    """
    All that directories need of one.
    """

    entropy = staticmethod(bytes)


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """
    Install a file of plugins.
    """
    path = [*twisted.plugins.__path__, str(tmp_path)]
    monkeypatch.setattr(twisted.plugins, "__path__", path)

    def write(source: str) -> None:
        name = f"chosen{abs(hash(source))}.py"
        (tmp_path / name).write_text(textwrap.dedent(source))

    return write


def chosen(*words: str) -> Any:
    """
    @return: the directory of a rendezvous with these options.
    """
    options = Options()
    options.parseOptions(list(words))
    return options.settings(Network()).directory


@pytest.mark.parametrize("words", [[], ["--directory=memory"]])
def test_memory(words: list[str]) -> None:
    """The directory that is built in comes by its name, and is the default."""
    found = chosen(*words)
    assert type(found) is Directory
    assert verifyObject(IPresences, found)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ["--directory=redis:localhost"],
            "--directory=redis: No IDirectory plugin is named 'redis'; known: memory.",
        ),
        (
            ["--directory=memory:x"],
            "--directory=memory:x: expected no arguments.",
        ),
        (
            ["--directory=redis", "--workers=2"],
            "--directory=redis: several processes need the one in memory; "
            "expected --workers=1.",
        ),
    ],
)
def test_noSuchDirectory(words: list[str], why: str) -> None:
    """One that cannot be had is one sentence."""
    with pytest.raises(InvalidOption) as caught:
        chosen(*words)
    assert str(caught.value) == why


def test_noName() -> None:
    """A name is needed."""
    with pytest.raises(SystemExit, match="expected NAME or NAME:ARGUMENTS"):
        chosen("--directory=")


def test_directoryOfSomebodyElse(add: Add) -> None:
    """A plugin's directory is the one that the rendezvous uses."""
    add(
        """
        from zope.interface import implementer
        from punchd.interfaces import IDirectory

        @implementer(IDirectory)
        class Other:
            name = "other"

            def directory(self, arguments, network, limits):
                return [arguments, limits.total]

        other = Other()
        """
    )
    assert chosen("--directory=other:a:b") == ["a:b", 50_000]


@pytest.mark.parametrize(
    ("interface", "implementation"),
    [
        (IPresences, Directory),
        (IPresences, ToldDirectory),
        (IHome, Home),
        (IRelayLeg, SocketLeg),
        (IRelayLeg, StreamLeg),
        (IRelayReceiver, Attempt),
    ],
)
def test_whole(interface: Any, implementation: type) -> None:
    """What plugins meet is what their interfaces say."""
    assert verifyClass(interface, implementation)


def test_transportOfSomebodyElse(add: Add) -> None:
    """A TURN server can be reached by a transport that a plugin knows."""
    add(
        """
        from zope.interface import implementer
        from punchd.interfaces import IRelayTransport

        @implementer(IRelayTransport)
        class Pigeons:
            name = "pigeons2"
            reliable = False

            def leg(self, way, ground):
                return way.server, ground.arrivals

        pigeons = Pigeons()
        """
    )
    way = parseRelay("turn:192.0.2.1?transport=pigeons2")
    assert way.transport == "pigeons2"
    assert verifyObject(IRelayTransport, way.carrier)
    nothing: Any = None
    leg: Any = makeLeg(way, nothing, nothing, "arrivals")
    assert leg == (("192.0.2.1", 3478), "arrivals")
    with pytest.raises(InvalidOption, match="there is no turn over pigeons3"):
        parseRelay("turn:192.0.2.1?transport=pigeons3")


def test_ground() -> None:
    """Over TCP there is an endpoint, whatever speaks over it."""

    class Socket:
        """
        As much of one as is needed.
        """

        class network:
            reactor = None

    socket: Any = Socket()
    endpoint = Ground(socket, None).endpointOf(parseRelay("turn:192.0.2.1"))
    assert callable(endpoint.connect)


@pytest.mark.parametrize(
    ("words", "strategies", "sources"),
    [
        ([], _ALL, ["natpmp", "pcp", "upnp"]),
        (["--no-spray", "--no-portmap"], [s for s in _ALL if s != "spray"], []),
        (["--strategy=tcp", "--strategy=spray"], ["tcp", "spray"], None),
        (["--strategy=spray", "--no-spray", "--source=upnp"], [], ["upnp"]),
    ],
)
def test_strategiesAndSources(
    words: list[str], strategies: list[str], sources: list[str] | None
) -> None:
    """A client takes all of them, or those that are named."""
    options = client.Options()
    options.parseOptions(["--rendezvous=punch://rendezvous.example.org", *words])
    assert [each.name for each in options.chosenStrategies()] == strategies
    if sources is not None:
        assert [each.name for each in options.chosenSources()] == sources


def test_noSuchStrategy() -> None:
    """A name that stands for none is one sentence that lists those there are."""
    options = client.Options()
    options.parseOptions(
        ["--rendezvous=punch://rendezvous.example.org", "--strategy=wish"]
    )
    with pytest.raises(InvalidOption) as caught:
        options.chosenStrategies()
    assert str(caught.value) == (
        "--strategy=wish: No ITraversalStrategy plugin is named 'wish'; known: "
        "fresh, optimistic, predicted, reversal, spray, tcp."
    )
