"""
Forwards of datagrams, in the simulator: programs on both hosts, and what is between.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.errors import InvalidOption
from punchd.forward.publish import Publisher
from punchd.forward.rules import Forward, Publication
from punchd.forward.udp import MAX_USERS, DatagramForwarder
from punchd.interfaces import IDatagramReceiver
from punchd.testing.pair import Pair
from tests.product.talk import product

KIND = "portrestricted"
HERE = ("127.0.0.1", 5353)


@implementer(IDatagramReceiver)
class Program:
    """
    A program with a UDP socket on a host.

    @ivar came: what came, with its source.
    """

    def __init__(self, host: Any, port: int = 0, *, echo: bool = False) -> None:
        self.came: list[tuple[bytes, Address]] = []
        self.port = host.listenDatagram(self, 4, "127.0.0.1", port)
        self._echo = echo

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Keep it, and perhaps send it back.
        """
        self.came.append((data, remote))
        if self._echo:
            self.send(data, remote)

    def send(self, data: bytes, remote: Address = HERE) -> None:
        """
        Send something.
        """
        self.port.send(Datagram(data, None, remote))

    @property
    def data(self) -> list[bytes]:
        """
        What came.
        """
        return [data for data, _ in self.came]


class Game:
    """
    A published echo of datagrams, and a forward that leads to it.
    """

    def __init__(self, pair: Pair, endpoint: str = "udp:5353") -> None:
        self.pair = pair
        hosts = pair.scenario
        self.echo = Program(hosts.hostB, 34197, echo=True)
        pair.b.peers.publish = Publisher(
            hosts.hostB, [Publication("game", "udp:127.0.0.1:34197:idle=30")]
        )
        rule = Forward(endpoint, "bob", "game")
        self.forwarder = DatagramForwarder(
            hosts.hostA, rule, pair.identityB.peerId, pair.a.open
        )
        self.forwarder.startService()

    def user(self) -> Program:
        """
        @return: a program beside the forward.
        """
        return Program(self.pair.scenario.hostA)

    def stop(self) -> None:
        """
        End it.
        """
        self.forwarder.stopService()
        self.pair.network.advance(1.0)


@pytest.fixture
def game() -> Generator[Game, None, None]:
    """
    Both, with a session that is yet to be.
    """
    with product(KIND, KIND) as pair:
        made = Game(pair)
        yield made
        made.stop()
        pair.network.advance(200.0)


def test_firstDatagrams(game: Game) -> None:
    """
    What is sent before there is a session gets there, too, and back.
    """
    user = game.user()
    for number in range(5):
        user.send(b"%d" % number)
    game.pair.network.advance(1.0)
    assert user.data == game.echo.data == [b"%d" % number for number in range(5)]
    assert {source for _, source in user.came} == {HERE}
    assert game.pair.kinds() == ("direct", "direct")


def test_usersAreApart(game: Game) -> None:
    """
    Each user has a socket of its own at the program, and gets its own answers.
    """
    users = [game.user() for _ in range(4)]
    for number, user in enumerate(users):
        user.send(b"%d" % number)
    game.pair.network.advance(1.0)
    assert [user.data for user in users] == [[b"%d" % n] for n in range(4)]
    assert len({source for _, source in game.echo.came}) == 4


def test_anySize(game: Game) -> None:
    """
    Datagrams of any size arrive as they were.
    """
    user = game.user()
    sizes = [0, 1, 1166, 1167, 1472, 9000, 65000]
    for size in sizes:
        user.send(bytes(size))
    game.pair.network.advance(3.0)
    assert sorted(map(len, user.data)) == sizes


def test_idle(game: Game) -> None:
    """
    What a user has ends after a while of silence, on both sides, and begins anew.
    """
    user = game.user()
    user.send(b"one")
    game.pair.network.advance(1.0)
    here, there = game.pair.sessions()
    assert (here.streams.count, there.streams.count) == (1, 1)
    game.pair.network.advance(32.0)
    assert (here.streams.count, there.streams.count) == (0, 0)
    user.send(b"two")
    game.pair.network.advance(1.0)
    assert user.data == [b"one", b"two"]


def test_manyUsers(game: Game) -> None:
    """
    There may be any number of users, one after the other: those who were silent
    for longest make room.
    """
    users = [game.user() for _ in range(MAX_USERS + 20)]
    for number, user in enumerate(users):
        user.send(b"%d" % number)
        game.pair.network.advance(0.3)
    assert [user.data for user in users] == [
        [b"%d" % number] for number in range(len(users))
    ]
    assert game.pair.sessions()[0].streams.count <= MAX_USERS


def test_strangers(game: Game) -> None:
    """
    Only the program itself is heard on the socket that it talks to.
    """
    user = game.user()
    user.send(b"one")
    game.pair.network.advance(1.0)
    stranger = Program(game.pair.scenario.hostB)
    stranger.send(b"forged", ("127.0.0.1", game.echo.came[0][1][1]))
    game.pair.network.advance(1.0)
    assert user.data == [b"one"]


def test_wrongKind(game: Game, warnings: list[str]) -> None:
    """
    A stream to a service of datagrams is refused with the reason, and so is the
    other way round.
    """
    pair = game.pair
    opened = pair.a.open(pair.identityB.peerId, "game")
    stream = pair.network.runUntil(opened, 10.0)
    reasons: list[str] = []
    stream.whenOpen().addErrback(lambda f: reasons.append(str(f.value)))
    pair.network.advance(1.0)
    assert reasons == ["The service takes datagrams: forward it with udp."]
    publication = Publication("game", "tcp:127.0.0.1:22")
    pair.b.peers.publish = Publisher(pair.scenario.hostB, [publication])
    game.user().send(b"x")
    pair.network.advance(1.0)
    assert warnings == [
        "--forward=udp:5353=bob/game: The service takes streams: forward it with tcp."
    ]


def test_takenPort() -> None:
    """
    A port that is taken is one sentence.
    """
    with product(KIND, KIND) as pair:
        Program(pair.scenario.hostA, 5353)
        with pytest.raises(InvalidOption, match="--forward=udp:5353=bob/game: cannot"):
            Game(pair)
