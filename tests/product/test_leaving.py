"""
A rendezvous that stops in good order, and one that does not, while there is another.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.identity import Identity
from punchd.net.tls import ServerCredentials
from punchd.services.client import PunchClient
from punchd.services.rendezvous import Rendezvous, Settings
from punchd.testing.pair import Pair
from punchd.turn.allocation import Allocation

from .talk import product, talk, until

SECOND = "203.0.113.20"


class TwoRendezvous(Pair):
    """
    Two clients that know two rendezvous.

    @ivar second: the other one.
    """

    def startRendezvous(self) -> Rendezvous:
        """
        Start both.
        """
        if not hasattr(self, "second"):
            self.host = self.network.addHost("second", SECOND)
            self.secondCredentials = ServerCredentials(Identity.create())
            self.second = self.startSecond()
        return super().startRendezvous()

    def startSecond(self) -> Rendezvous:
        """
        Start the other one.
        """
        made = Rendezvous(self.host, self.secondCredentials, Settings())
        made.privilegedStartService()
        made.startService()
        return made

    def urls(self) -> list[Any]:
        """
        The first one is preferred.
        """
        return [self.rendezvous.url, self.second.url]

    def stop(self) -> None:
        """
        Stop everything.
        """
        super().stop()
        self.network.runUntil(self.second.stopService(), 10.0)
        self.network.advance(1.0)


def allocations(rendezvous: Rendezvous) -> list[Allocation]:
    """
    @return: what it relays.
    """
    return [] if rendezvous.relay is None else rendezvous.relay.allocations()


def serving(client: PunchClient) -> str:
    """
    @return: the host of the rendezvous that sees the client.
    """
    return client.context.servers[0][0]


def test_order() -> None:
    """
    The first rendezvous of the list sees and relays, whichever is there first; the
    next one takes its place when it is lost, and gives it back.
    """
    with product("portrestricted", "portrestricted", make=TwoRendezvous) as pair:
        assert serving(pair.a) == "203.0.113.10"
        pair.network.kill(pair.scenario.rendezvous)
        until(pair, lambda: serving(pair.a) == serving(pair.b) == SECOND, 120.0)
        stream, collector = pair.open()
        stream.write(b"hello")
        assert pair.network.runUntil(collector.whenReceived(5), 10.0) == b"hello"
        pair.rendezvous = Pair.startRendezvous(pair)
        until(pair, lambda: serving(pair.a) == "203.0.113.10", 90.0)


def test_relayedSessionMoves() -> None:
    """
    When its rendezvous says goodbye, a relayed session moves to the relay of the
    other one before the first ends, hardly notices, and loses nothing.
    """
    with product("symmetric", "symmetric", make=TwoRendezvous) as pair:
        words = talk(pair, pace=0.1)
        pair.network.advance(2.0)
        assert allocations(pair.rendezvous)
        assert isinstance(pair, TwoRendezvous)
        assert not allocations(pair.second)
        words.silence()
        began = pair.clock.seconds()
        pair.network.runUntil(pair.rendezvous.stopService(), 10.0)
        assert pair.clock.seconds() - began < 4.0
        assert len(allocations(pair.second)) == 2
        pair.network.advance(5.0)
        assert words.silence() < 0.6
        assert pair.kinds() == ("relayed", "relayed")
        words.finish()


def test_transferMoves() -> None:
    """
    A transfer over a relay that stops arrives whole.
    """
    with product("symmetric", "symmetric", make=TwoRendezvous) as pair:
        stream, collector = pair.open()
        data = bytes(range(256)) * 4000
        stream.write(data[:100_000])
        pair.network.runUntil(collector.whenReceived(50_000), 30.0)
        stopping = pair.rendezvous.stopService()
        stream.write(data[100_000:])
        pair.network.runUntil(stopping, 10.0)
        got = pair.network.runUntil(collector.whenReceived(len(data)), 60.0)
        assert got == data


@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
def test_onlyOne(kind: str) -> None:
    """
    Without another rendezvous a direct session does not hold up the one that stops;
    a relayed one has the time that it gives.
    """
    with product(kind, kind) as pair:
        words = talk(pair, pace=0.1)
        pair.network.advance(5.0)
        words.silence()
        began = pair.clock.seconds()
        pair.network.runUntil(pair.rendezvous.stopService(), 10.0)
        took = pair.clock.seconds() - began
        assert words.silence() < 0.6
        if kind == "symmetric":
            assert 5.0 <= took < 6.0
        else:
            assert took < 2.0
        pair.rendezvous = pair.startRendezvous()
        pair.network.advance(20.0)
        words.finish()


def test_hurry() -> None:
    """
    Whoever says it twice does not wait.
    """
    with product("symmetric", "symmetric") as pair:
        talk(pair, pace=0.1).finish()
        stopping = pair.rendezvous.stopService()
        began = pair.clock.seconds()
        pair.network.advance(0.2)
        pair.rendezvous.hurry()
        pair.network.runUntil(stopping, 2.0)
        assert pair.clock.seconds() - began < 1.0


def test_nothingNew() -> None:
    """
    While it stops, it takes no registration and lends no address.
    """
    with product("symmetric", "symmetric") as pair:
        talk(pair, pace=0.1).finish()
        pair.network.advance(1.0)
        before = len(allocations(pair.rendezvous))
        stopping = pair.rendezvous.stopService()
        pair.b.presence.relaying.stop()
        pair.network.advance(0.5)
        left = len(allocations(pair.rendezvous))
        assert 0 < left < before
        assert pair.b.context.relay is not None
        pair.b.context.relay.whenAllocated().addErrback(lambda failure: None)
        pair.network.advance(1.0)
        assert len(allocations(pair.rendezvous)) == left
        assert pair.rendezvous.relay is not None
        assert pair.rendezvous.relay.counters["508"]
        pair.a.links.check()
        pair.network.runUntil(stopping, 10.0)
