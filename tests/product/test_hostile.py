"""
A peer that was let in and misbehaves, in virtual time: the client's other peers do not
notice, and what it makes the client keep is bounded.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from punchd.core import Burst
from punchd.net.udp import RECEIVE_BUFFER
from punchd.session.datagrams import EARLY
from punchd.session.flow import HIGH_WATER
from punchd.session.session import Session
from punchd.session.table import MAX_STREAMS
from punchd.session.turns import BUFFER
from punchd.testing.crowd import Crowd
from punchd.testing.scenario import Scenario

from .talk import Talk

KIND = "portrestricted"

#: The longest silence of the honest peer, in seconds: it says a word each 0.1 s,
#: and the round trip is 0.05 s.
SILENCE = 0.25

#: The window of a stream, in bytes, that a test makes smaller.
WINDOW = 64 << 10


@contextmanager
def attacked() -> Generator[tuple[Crowd, Talk, Session, Session], None, None]:
    """
    An honest peer talks with C{b}, and another one has a session.

    @return: the crowd, the talk, and the other's session as it has it and as C{b}
        does.
    """
    crowd = Crowd(Scenario(KIND, KIND, 1))
    crowd.ready()
    bad = crowd.join(KIND)
    crowd.network.runUntil(bad.whenRegistered(), 10.0)
    crowd.network.advance(1.0)
    stream, _ = crowd.connect(crowd.a, crowd.b)
    honest = Talk(crowd, stream)
    crowd.connect(bad, crowd.b)
    crowd.network.advance(2.0)
    honest.silence()
    theirs, ours = crowd.session(bad, crowd.b), crowd.session(crowd.b, bad)
    yield crowd, honest, theirs, ours
    assert honest.silence() < SILENCE
    honest.finish()
    crowd.stop()
    assert crowd.clock.getDelayedCalls() == []


@implementer(IPushProducer)
class Generous(Protocol):
    """
    Writes without end, as fast as it may.
    """

    made: list[Generous] = []

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self.made.append(self)
        self.paused = False
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """
        Write until paused.
        """
        self.paused = False
        while not self.paused and self.transport is not None:
            self.transport.write(bytes(65536))

    def pauseProducing(self) -> None:
        """
        Wait.
        """
        self.paused = True

    def stopProducing(self) -> None:
        """
        Write no more.
        """
        self.paused = True


def test_neverReads(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A peer that opens all the streams it may and more, and reads none of them, for a
    minute: each has a window under way, and a little waits here.
    """
    # So that a hundred of them are soon full.
    monkeypatch.setattr("punchd.session.credit.INITIAL_WINDOW", WINDOW)
    monkeypatch.setattr("punchd.session.credit.STEP", WINDOW // 4)
    with attacked() as (crowd, _, theirs, ours):
        Generous.made = []
        crowd.services.made["generous"] = Generous
        for _ in range(MAX_STREAMS + 20):
            stream = theirs.openStream("generous")
            stream.pauseProducing()
        crowd.network.advance(60.0)
        assert len(Generous.made) == MAX_STREAMS - 1
        kept = 0
        for each in Generous.made:
            assert each.paused
            out = each.transport.outgoing  # type: ignore[union-attr]
            assert out.credit.sent == WINDOW
            kept += out.size
        assert kept <= MAX_STREAMS * (HIGH_WATER + 65536)
        assert ours.carrier.quicCore.sendBufferSize() <= BUFFER + MAX_STREAMS * 16384


def test_floodOfDatagrams() -> None:
    """
    A peer that sends DATAGRAM frames for streams that do not exist, without any pace:
    some are kept, the others counted.
    """
    with attacked() as (crowd, _, theirs, ours):
        core = theirs.carrier.quicCore
        for _ in range(20):
            for number in range(500):
                core.sendDatagram(bytes((0x40, number % 256)) + bytes(1000))
            theirs.carrier.quic.wake()
            crowd.network.advance(0.1)
        datagrams = ours.streams._table.datagrams
        assert len(datagrams._early) == EARLY
        assert datagrams.dropped["no stream"] > 1000
        assert datagrams.received == 0


@pytest.mark.parametrize("kind", ["frames", "heads", "packets"])
def test_garbage(kind: str) -> None:
    """
    Garbage on the control stream ends that session; at the head of a stream, that
    stream; instead of packets, nothing at all.
    """
    noise = random.Random(7).randbytes
    with attacked() as (crowd, _, theirs, ours):
        if kind == "frames":
            theirs.streams._channel._out += b"\xff" * 5000
            theirs.carrier.quic.wake()
            crowd.network.advance(2.0)
            assert ours.streams.lost is not None
        elif kind == "heads":
            before, core = ours.streams.count, theirs.carrier.quicCore
            for _ in range(50):
                core.sendStream(core.openStream(), b"\xff" + noise(2000))
            theirs.carrier.quic.wake()
            crowd.network.advance(3.0)
            assert ours.streams.lost is None
            assert ours.streams.count == before
        else:
            path = theirs.paths.current
            assert path is not None
            where = path.local.base, path.remote.address
            before = ours.carrier.received
            for _ in range(20):
                payloads = [bytes((0x40 | n % 64,)) + noise(1199) for n in range(400)]
                theirs.carrier.socket.send(Burst(payloads, *where))
                crowd.network.advance(0.1)
            assert ours.carrier.received - before > RECEIVE_BUFFER
            assert ours.streams.lost is None
            crowd.connect(crowd.others[0], crowd.b)
