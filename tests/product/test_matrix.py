"""
Every pair of kinds of NAT, in virtual time.
"""

from __future__ import annotations

import pytest

from punchd.services.rendezvous import Settings
from punchd.testing.link import Link
from punchd.testing.pair import Collector, Pair

from .talk import RTT, failure, firstByte, product

DATA = bytes(range(256)) * 4096
KINDS = (
    "open",
    "fullcone",
    "restricted",
    "portrestricted",
    "cgnat",
    "symmetric",
    "ipv6",
)
#: What a symmetric NAT gets through to without prediction.
EASY = ("open", "fullcone", "restricted")


class Behind(Pair):
    """
    A rendezvous that has to be told its public address.
    """

    def settings(self) -> Settings:
        """
        The rendezvous's.
        """
        return Settings(publics=[("203.0.113.10", None)])


class Unrelayed(Pair):
    """
    A rendezvous without a relay.
    """

    def settings(self) -> Settings:
        """
        The rendezvous's.
        """
        return Settings(relay=False)


def expected(kindA: str, kindB: str) -> str:
    """
    @return: the kind of path that there has to be.  A host of kind C{"ipv6"}
        has a symmetric NAT for IPv4.
    """
    hard = ("symmetric", "ipv6")
    if kindA == kindB == "ipv6":
        return "direct"
    for one, other in ((kindA, kindB), (kindB, kindA)):
        if one in hard and other not in EASY:
            return "relayed"
    return "direct"


def exchange(pair: Pair, data: bytes = DATA) -> float:
    """
    Send C{data} there and back.

    @return: seconds to the first byte.
    """
    stream, collector, seconds = firstByte(pair)
    stream.write(data)
    pair.network.runUntil(collector.whenReceived(len(data) + 5), 50.0)
    assert collector.received[5:] == data
    return seconds


@pytest.mark.parametrize("kindB", KINDS)
@pytest.mark.parametrize("kindA", KINDS)
def test_pair(kindA: str, kindB: str) -> None:
    """
    The path is of the kind it should be on both sides, the first byte is back
    in three round trips, or four relayed, and a megabyte both ways is identical.
    """
    kind = expected(kindA, kindB)
    with product(kindA, kindB) as pair:
        seconds = exchange(pair)
        pair.network.advance(1.0)
        assert pair.kinds() == (kind, kind)
        limit = 3 if kind == "direct" else 4
        assert seconds / RTT <= limit + 0.11
        strategies = {s.paths.current.strategy for s in pair.sessions()}  # type: ignore[union-attr]
        if kind == "relayed":
            assert strategies == {"relay"}
        elif kindA == kindB == "ipv6":
            assert strategies == {"ipv6"}


CONES = ("open", "fullcone", "restricted", "portrestricted", "noinputfilter", "cgnat")


@pytest.mark.parametrize("kindA", CONES)
def test_proven(kindA: str) -> None:
    """
    Where a hole is there to be found, both sides have a direct path, proven by
    data, within 2.1 round trips after the dial has reached the peer: one for the
    answer, and one for the check with a sample ahead.
    """
    for kindB in CONES:
        with product(kindA, kindB) as pair:
            firstByte(pair)
            pair.network.advance(1.0)
            dialler, listener = (s.secondsToDirect for s in pair.sessions())
            assert dialler is not None and listener is not None
            assert max(dialler / RTT - 1, listener / RTT) <= 2.1, kindB


def test_lan() -> None:
    """
    Two hosts behind one NAT meet in their LAN.
    """
    with product("lan", "lan") as pair:
        seconds = exchange(pair)
        pair.network.advance(1.0)
        a, b = pair.sessions()
        for session in (a, b):
            path = session.paths.current
            assert path is not None
            assert path.strategy == "host"
            assert path.remote.address[0].startswith("192.168.")
        assert seconds / RTT <= 3.5


def test_rendezvousBehindNat() -> None:
    """
    A rendezvous behind a 1:1 NAT is one like any other.
    """
    kind = "portrestricted"
    with product(kind, kind, make=Behind, rendezvousNat=True) as pair:
        assert firstByte(pair)[2] / RTT <= 3.5
        pair.network.advance(1.0)
        assert pair.kinds() == ("direct", "direct")


@pytest.mark.parametrize("delay", [0.001, 0.01, 0.1, 0.3])
def test_anyDistance(delay: float) -> None:
    """
    Round trips count, not milliseconds: there is no timer of fixed length in
    the way.
    """
    with product("portrestricted", "portrestricted", delay=delay) as pair:
        assert firstByte(pair)[2] <= 3.5 * 2 * delay + 0.02


def test_warm() -> None:
    """
    Once there is a session, a stream's first byte takes one round trip.
    """
    with product("portrestricted", "portrestricted") as pair:
        firstByte(pair)
        pair.network.advance(2.0)
        assert firstByte(pair)[2] == pytest.approx(RTT, abs=0.001)


def times(kindA: str, kindB: str, link: Link, count: int) -> list[float]:
    """
    @return: seconds to the first byte, for seeds 0 to C{count}, sorted.
    """
    found = []
    for seed in range(count):
        with product(kindA, kindB, seed=seed, link=link) as pair:
            found.append(firstByte(pair)[2])
    return sorted(found)


@pytest.mark.parametrize(
    ("kindA", "kindB"),
    [
        ("portrestricted", "portrestricted"),
        ("restricted", "symmetric"),
        ("symmetric", "symmetric"),
    ],
)
def test_loss(kindA: str, kindB: str) -> None:
    """
    With 10 % loss the first byte is back within 2 s in 19 of 20 runs.
    """
    found = times(kindA, kindB, Link(RTT / 2, loss=0.1), 40)
    assert found[int(len(found) * 0.95) - 1] <= 2.0
    assert found[-1] < 10.0


@pytest.mark.parametrize(
    "link",
    [
        Link(RTT / 2, duplication=0.3),
        Link(RTT / 2, reordering=0.1, reorderDelay=0.002),
        Link(RTT / 2, jitter=0.03),
        Link(RTT / 2, jitter=0.02, loss=0.02, duplication=0.1, reordering=0.02),
    ],
)
@pytest.mark.parametrize("kind", ["portrestricted", "symmetric"])
def test_disorder(kind: str, link: Link) -> None:
    """
    Packets that come twice, late or out of order change no byte.
    """
    with product(kind, kind, link=link) as pair:
        assert exchange(pair, DATA[:200_000]) < 2.0
        pair.network.advance(5.0)
        kinds = {"portrestricted": "direct", "symmetric": "relayed"}
        assert pair.kinds() == (kinds[kind], kinds[kind])


def test_manyStreams() -> None:
    """
    Fifty streams that are opened at once share one dial and one session, and
    each has its own bytes.
    """
    with product("portrestricted", "portrestricted") as pair:
        opened = [pair.a.open(pair.identityB.peerId, "echo") for _ in range(50)]
        collectors = []
        for number, each in enumerate(opened):
            stream = pair.network.runUntil(each, 30.0)
            collector = Collector()
            stream.attach(collector)
            stream.write(b"%d," % number * 3000)
            collectors.append(collector)
        for number, collector in enumerate(collectors):
            word = b"%d," % number * 3000
            pair.network.runUntil(collector.whenReceived(len(word)), 30.0)
            assert collector.received == word
        assert len(pair.a.peers.sessions) == 1


@pytest.mark.parametrize(
    ("kindA", "kindB", "advice"),
    [
        ("udpblocked", "open", "Your network blocks UDP"),
        ("open", "udpblocked", "The peer's network blocks UDP"),
    ],
)
def test_udpBlocked(kindA: str, kindB: str, advice: str) -> None:
    """
    Where UDP is blocked and there is no relay, what fits through the rendezvous
    passes; then the streams fail with a reason, and C{why} says what was tried.
    """
    with product(kindA, kindB, seen=False, make=Unrelayed) as pair:
        stream, collector, _ = firstByte(pair)
        stream.write(bytes(100_000))
        pair.network.runUntil(lambda: collector.reason, 60.0)
        assert "No path" in collector.reason.getErrorMessage()
        assert len(collector.received) < 100_000
        why = pair.a.why(pair.identityB.peerId)
        assert advice in why["text"]
        reasons = {v["strategy"]: v["reason"] for v in why["verdicts"]}
        assert reasons["checks"] == "no-answer"
        assert reasons["relay"] == "no-relay"


def test_noService() -> None:
    """
    Who is not there cannot be dialled.
    """
    with product("open", "open") as pair:
        pair.network.runUntil(pair.b.stopService(), 10.0)
        assert "offline" in str(failure(pair))
