"""
The fast path of a relay, over loopback: what has a way goes it, whatever it comes
as, and all else comes to the receiver.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Generator
from typing import Any

import pytest
from zope.interface import implementer
from zope.interface.verify import verifyObject

from punchd.core import Address
from punchd.interfaces import IErrorReceiver, IWayReceiver
from punchd.net import ancillary
from punchd.net.carrying import Carrier, ListeningPort, RelayedPort
from punchd.net.crowd import Crowd
from punchd.net.udp import Run, flattened
from punchd.turn.allocation import Allocation
from punchd.turn.channeldata import channelData
from punchd.turn.ways import Way
from tests.net.sockets import ListReactor, linux

pytestmark = linux

HOSTS = {4: "127.0.0.1", 6: "::1"}
CHANNEL = 0x4000


def allocation() -> Allocation:
    """
    @return: one that counts.
    """
    nobody: Any = None
    address = ("192.0.2.1", 1)
    return Allocation(nobody, "", b"", address, address, address, address, 4, b"", ())


@implementer(IWayReceiver, IErrorReceiver)
class Relay:
    """
    I know the ways, and keep what comes to me.
    """

    def __init__(self) -> None:
        self.ways: dict[tuple[Address, int], tuple[Way, Carrier]] = {}
        self.got: list[bytes] = []

    def datagramReceived(self, data: bytes, local: Any, remote: Any) -> None:
        raise AssertionError("these come as runs")

    def datagramsReceived(self, datagrams: Any) -> None:
        raise AssertionError("these come as runs")

    def runsReceived(self, runs: list[Run]) -> None:
        self.got += [data for data, _, _ in flattened(runs)]

    def wayFor(self, local: Any, remote: Any, number: int) -> Any:
        return self.ways.get((remote, number))

    def errorReported(self, *report: Any) -> None:
        raise AssertionError("nothing is wrong")


class Scene:
    """
    A client and a peer, and the two ports of the relay between them.

    @ivar ended: what there is at the other ends, by direction.
    """

    def __init__(self, family: int, wildcard: bool, offload: bool) -> None:
        kind = ancillary.addressFamily(family)
        host = HOSTS[family]
        self.relay = Relay()
        self.reactor = ListReactor()
        self.crowd = Crowd(self.reactor)
        self.listening = ListeningPort(
            self.crowd, self.relay, family, "" if wildcard else host, offload=offload
        )
        self.relayed = RelayedPort(
            self.crowd, self.relay, family, host, offload=offload
        )
        self.client, self.peer = (
            socket.socket(kind, socket.SOCK_DGRAM) for _ in range(2)
        )
        for each in (self.client, self.peer):
            each.settimeout(5)
            each.bind((host, 0))
        self.there: Address = (host, self.listening.getHost()[1])
        self.account = allocation()
        outward = Way(
            2000.0,
            self.account,
            None,
            b"",
            self.relayed.getHost(),
            self.peer.getsockname()[:2],
        )
        inward = Way(
            2000.0,
            None,
            self.account,
            CHANNEL.to_bytes(2, "big"),
            self.there,
            self.client.getsockname()[:2],
        )
        self.ways = {
            (self.client.getsockname()[:2], CHANNEL): (outward, self.relayed),
            (self.peer.getsockname()[:2], 0): (inward, self.listening),
        }
        self.relay.ways.update(self.ways)

    def run(self) -> None:
        """
        Let the relay do what there is to do.
        """
        while select.select([self.crowd], [], [], 0.05)[0]:
            self.crowd.doRead()

    def sends(self, outward: bool, payloads: list[bytes], batch: int = 0) -> None:
        """
        Have the client or the peer send these, as batches of the kernel if told.
        """
        sock, to = (
            (self.client, self.there)
            if outward
            else (self.peer, self.relayed.getHost())
        )
        if batch:
            sock.sendmsg(payloads, [ancillary.segmentControl(batch)], 0, to)
        else:
            for each in payloads:
                sock.sendto(each, to)

    def gets(self, outward: bool, count: int) -> list[bytes]:
        """
        @return: what has come to the peer or the client.
        """
        sock = self.peer if outward else self.client
        return [sock.recv(65536) for _ in range(count)]

    def close(self) -> None:
        """
        Close all of it.
        """
        for each in (self.listening, self.relayed, self.client, self.peer):
            each.close()


@pytest.fixture(
    params=[(4, False, True), (4, True, True), (6, True, True), (4, True, False)],
    ids=["one address", "wildcard", "IPv6", "no offload"],
)
def scene(request: pytest.FixtureRequest) -> Generator[Scene, None, None]:
    """
    Both have sent something already, so that the ways are known.
    """
    made = Scene(*request.param)
    made.sends(True, [channelData(CHANNEL, b"first")])
    made.sends(False, [b"back"])
    made.run()
    assert sorted(made.relay.got) == [b"\x40\0\0\x05first", b"back"]
    made.relay.got.clear()
    yield made
    made.close()


def test_interfaces() -> None:
    """
    The relay of these tests is one that ports take for one.
    """
    assert verifyObject(IWayReceiver, Relay())


@pytest.mark.parametrize("count", [1, 2, 40])
def test_single(scene: Scene, count: int) -> None:
    """
    Datagrams of several sizes pass in both directions, in order, and are counted.
    """
    payloads = [b"%d" % each * (each % 3 + 1) for each in range(count)]
    for _ in range(3):
        scene.sends(True, [channelData(CHANNEL, each) for each in payloads])
        scene.sends(False, payloads)
        scene.run()
        assert scene.gets(True, count) == payloads
        framed = scene.gets(False, count)
        assert framed == [channelData(CHANNEL, each) for each in payloads]
    assert scene.relay.got == []
    size = 3 * sum(map(len, payloads))
    account = scene.account
    assert (account.sentPackets, account.sentBytes) == (3 * count, size)
    assert (account.receivedPackets, account.receivedBytes) == (3 * count, size)


@pytest.mark.parametrize("last", [100, 7, 0])
@pytest.mark.parametrize(("together", "full"), [(1, 100), (3, 100), (2, 101), (1, 102)])
def test_batches(scene: Scene, last: int, together: int, full: int) -> None:
    """
    Batches pass, with a last datagram that is shorter or not.
    """
    payloads = [bytes([each]) * full for each in range(20)]
    if last < 100:
        payloads.append(b"l" * last) if last else None
    frames = [channelData(CHANNEL, each) for each in payloads]
    for _ in range(together):
        scene.sends(True, frames, full + 4)
        scene.sends(False, payloads, full)
    scene.run()
    assert scene.gets(True, together * len(payloads)) == together * payloads
    assert scene.gets(False, together * len(payloads)) == together * frames
    assert scene.relay.got == []
    size = together * sum(map(len, payloads))
    assert (scene.account.sentBytes, scene.account.receivedBytes) == (size, size)
    assert scene.account.sentPackets == together * len(payloads)


@pytest.mark.parametrize("size", [8, 9, 10, 11])
def test_strangeBatches(scene: Scene, size: int) -> None:
    """
    A batch of more than one channel, or with a length that is wrong, is for the
    relay to look at; in order, and whole.
    """
    good = [channelData(CHANNEL, bytes([each]) * size) for each in range(6)]
    expected: list[bytes] = []
    for at, bad in (
        (3, channelData(CHANNEL + 1, b"x" * size)),
        (4, channelData(CHANNEL + 0x100, b"x" * size)),
        (2, bytes([0x40, 0, 0, size - 1]) + b"x" * size),
        (1, bytes([0x40, 0, 1, size]) + b"x" * size),
        (5, bytes([0x40, 0, 0, size + 1]) + b"x" * size),
        (0, bytes([0x40, 0, 0, size - 1]) + b"x" * size),
    ):
        frames = [*good[:at], bad, *good[at + 1 :]]
        scene.sends(True, frames, size + 4)
        expected += frames
    if scene.listening.coalescing:
        frames = [*good, b"\x40\0\0\x07abc"]
        scene.sends(True, frames, size + 4)
        expected += frames
    scene.run()
    if scene.listening.coalescing:
        assert scene.relay.got == expected
    else:
        # One by one, those of other channels and those that are cut off stay here.
        assert len(scene.relay.got) == 4


def test_strangers(scene: Scene) -> None:
    """
    What is no ChannelData, is cut short, is of another channel or has another source
    comes to the relay.
    """
    said = [
        b"",
        b"\x40",
        b"\0\x01\0\0",
        b"\x40\0\0\x09short",
        channelData(CHANNEL + 1, b"other"),
    ]
    for each in said:
        scene.sends(True, [each])
        scene.run()
    assert scene.relay.got == said
    with socket.socket(scene.client.family, socket.SOCK_DGRAM) as other:
        other.sendto(b"stranger", scene.relayed.getHost())
        other.sendto(channelData(CHANNEL, b"stranger"), scene.there)
        scene.run()
    assert scene.relay.got[len(said) :].count(b"stranger") == 1
    assert len(scene.relay.got) == len(said) + 2
    assert (scene.account.sentPackets, scene.account.receivedPackets) == (0, 0)


def test_ended(scene: Scene) -> None:
    """
    When the ways have ended or their time is over, the relay is asked again, and
    nothing of them is kept.
    """
    (outward, _), (inward, _) = scene.ways.values()
    assert scene.listening.lanes and scene.relayed.lanes
    scene.relay.ways.clear()
    outward.end()
    assert not scene.listening.lanes
    scene.reactor.now = inward.until
    scene.sends(True, [channelData(CHANNEL, b"more")])
    scene.sends(False, [b"back"])
    scene.run()
    assert sorted(scene.relay.got) == [b"\x40\0\0\x04more", b"back"]
    inward.end()
    assert not scene.relayed.lanes


@pytest.mark.parametrize("batch", [0, 14])
def test_noRoom(scene: Scene, batch: int) -> None:
    """
    Nothing passes beyond what there is room for; the rest comes to the relay.
    """
    frames = [channelData(CHANNEL, bytes([each]) * 10) for each in range(8)]
    scene.account.sentDue = 5
    scene.sends(True, frames, batch)
    scene.run()
    passed = scene.account.sentPackets
    assert passed in ((5,) if not batch else (0, 5))
    assert scene.gets(True, passed) == [each[4:] for each in frames[:passed]]
    assert scene.relay.got == frames[passed:]


def test_toAnotherClient(scene: Scene) -> None:
    """
    From channel to channel only the number changes.
    """
    other = allocation()
    local, remote = scene.there, scene.peer.getsockname()[:2]
    way = Way(2000.0, scene.account, other, b"\x40\x07", local, remote)
    number = CHANNEL + 5
    scene.relay.ways[scene.client.getsockname()[:2], number] = way, scene.listening
    payloads = [bytes([each]) * 50 for each in range(10)]
    frames = [channelData(number, each) for each in payloads]
    scene.sends(True, frames[:1])
    scene.run()
    assert scene.relay.got == frames[:1]
    expected = [channelData(0x4007, each) for each in payloads]
    for batch in (0, 54):
        scene.sends(True, frames, batch)
        scene.run()
        assert scene.gets(True, 10) == expected
    scene.sends(True, frames[:1])
    scene.run()
    assert scene.gets(True, 1) == expected[:1]
    assert scene.account.sentBytes == other.receivedBytes == 21 * 50


def test_waiting(scene: Scene) -> None:
    """
    What has to wait for room in the kernel keeps its place.
    """
    scene.relayed._enqueue([])
    from punchd.core import Datagram

    scene.relayed._enqueue([Datagram(b"earlier", None, scene.peer.getsockname()[:2])])
    scene.sends(True, [channelData(CHANNEL, b"later")])
    scene.crowd._take([(scene.listening.fileno(), select.EPOLLIN)])
    scene.run()
    assert scene.gets(True, 2) == [b"earlier", b"later"]
