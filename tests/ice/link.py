"""
A small network for two agents: NATs, relays, delay, loss, in virtual time.

Everything happens in one queue, in a fixed order, so packets can be counted.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import TypeVar

from punchd.core import Address, Datagram
from punchd.ice.agent import Agent
from punchd.ice.candidate import (
    Candidate,
    hostCandidate,
    reflexiveCandidate,
    relayedCandidate,
)
from punchd.ice.credentials import makeCredentials
from punchd.ice.events import Event
from punchd.ice.pair import CandidatePair
from punchd.ice.timing import Limits, Timing

T = TypeVar("T")

PORT = 5000
#: More steps than this are a loop.
MOST_STEPS = 20_000


class Nat:
    """
    @ivar kind: C{"open"} translates and filters nothing; C{"fullcone"},
        C{"restricted"}, C{"portrestricted"} map by endpoint and filter as
        their names say; C{"symmetric"} maps by destination.
    @ivar lifetime: after so many seconds without an outgoing packet a binding
        is forgotten.
    """

    def __init__(
        self, kind: str, host: str, lifetime: float = 1e9, firstPort: int = 40000
    ) -> None:
        self.kind = kind
        self.host = host
        self.lifetime = lifetime
        self._ports = itertools.count(firstPort)
        self._out: dict[tuple[Address, Address | None], Address] = {}
        self._in: dict[Address, Address] = {}
        self._used: dict[tuple[Address, Address], float] = {}
        self._last: dict[Address, float] = {}

    def outward(self, local: Address, remote: Address, now: float) -> Address:
        """
        @return: the source address that the other side sees.
        """
        if self.kind == "open":
            return local
        key = (local, remote if self.kind == "symmetric" else None)
        public = self._out.get(key)
        if public is None or now - self._last[public] > self.lifetime:
            public = self._out[key] = (self.host, next(self._ports))
            self._in[public] = local
        self._last[public] = self._used[public, remote] = now
        return public

    def inward(self, public: Address, remote: Address, now: float) -> Address | None:
        """
        @return: where a packet for C{public} goes, if it is let in.
        """
        if self.kind == "open":
            return public
        local = self._in.get(public)
        if local is None or now - self._last[public] > self.lifetime:
            return None
        if self.kind == "fullcone":
            return local
        for (mapped, peer), when in self._used.items():
            if mapped == public and now - when <= self.lifetime:
                same = peer == remote
                if same or (self.kind == "restricted" and peer[0] == remote[0]):
                    return local
        return None


class Peer:
    """
    An agent on a host behind a NAT.

    @ivar events: what the agent said, with the time of it.
    @ivar arrived: the datagrams that reached the agent.
    """

    def __init__(self, link: Link, name: str, agent: Agent, nat: Nat, host: str):
        self.link = link
        self.name = name
        self.agent = agent
        self.nat = nat
        self.base: Address = (host, PORT)
        self.relayed: Address | None = None
        self.events: list[tuple[float, Event]] = []
        self.arrived: list[Datagram] = []

    @property
    def candidates(self) -> list[Candidate]:
        """
        Those that signaling would carry.
        """
        return [c for c in self.agent.localCandidates if c.source != "prflx"]

    def gather(self, *, relay: Address | None = None, host: bool = True) -> None:
        """
        Add host, server-reflexive and relayed candidates.
        """
        now = self.link.now
        server = ("203.0.113.10", 3478)
        mapped = self.nat.outward(self.base, server, now)
        if host:
            self.agent.addLocalCandidate(hostCandidate(self.base), now)
        if mapped != self.base:
            srflx = reflexiveCandidate(mapped, self.base, server=server[0])
            self.agent.addLocalCandidate(srflx, now)
        if relay is not None:
            self.relayed = relay
            self.agent.addLocalCandidate(relayedCandidate(relay), now)

    def hear(self, other: Peer, *, candidates: bool = True) -> None:
        """
        Signaling has brought the other's credentials and candidates.
        """
        self.agent.setRemoteCredentials(other.agent.credentials, self.link.now)
        if candidates:
            for each in other.candidates:
                copy = Candidate.fromDict(each.toDict())
                self.agent.addRemoteCandidate(copy, self.link.now)
            self.agent.endOfCandidates(self.link.now)
        self.link.flush(self)

    def first(self, kind: type[T]) -> tuple[float, T]:
        """
        @return: the time of the first event of that kind, and it.
        """
        return next((t, e) for t, e in self.events if isinstance(e, kind))

    def all(self, kind: type[T]) -> list[T]:
        """
        @return: the events of that kind.
        """
        return [e for _, e in self.events if isinstance(e, kind)]


class Link:
    """
    @ivar delay: seconds from anywhere to anywhere.
    @ivar loss: the part of packets that vanish.
    @ivar duplication: the part of packets that come twice.
    @ivar jitter: the most seconds a packet is late.
    @ivar drop: says of a datagram between public addresses whether it is lost.
    @ivar sent: packets on the way between the NATs so far.
    """

    def __init__(
        self,
        *,
        delay: float = 0.025,
        loss: float = 0.0,
        duplication: float = 0.0,
        jitter: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.now = 1000.0
        self.delay = delay
        self.loss = loss
        self.duplication = duplication
        self.jitter = jitter
        self.random = random.Random(seed)
        self.drop: Callable[[Datagram], bool] = lambda datagram: False
        self.sent = 0
        self.peers: list[Peer] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def peer(
        self,
        name: str,
        *,
        controlling: bool,
        nat: str = "portrestricted",
        lifetime: float = 1e9,
        tieBreaker: int | None = None,
        timing: Timing | None = None,
        limits: Limits | None = None,
    ) -> Peer:
        """
        Add an agent.
        """
        number = len(self.peers) + 1
        entropy = random.Random(f"{name}{number}").randbytes
        if tieBreaker is None:
            tieBreaker = int.from_bytes(entropy(8), "big")
        agent = Agent(
            controlling=controlling,
            credentials=makeCredentials(entropy),
            tieBreaker=tieBreaker,
            entropy=entropy,
            timing=timing or Timing(),
            limits=limits or Limits(),
        )
        public = f"203.0.113.{100 + number}"
        host = public if nat == "open" else f"10.0.{number}.2"
        peer = Peer(self, name, agent, Nat(nat, public, lifetime), host)
        self.peers.append(peer)
        return peer

    def at(self, when: float, call: Callable[[], None]) -> None:
        """
        Do something at that time.
        """
        heapq.heappush(self._queue, (when, next(self._order), call))

    def flush(self, peer: Peer) -> None:
        """
        Drain an agent.
        """
        for datagram in peer.agent.takeDatagrams():
            self._send(peer, datagram)
        peer.events += [(self.now, event) for event in peer.agent.takeEvents()]

    def _send(self, peer: Peer, datagram: Datagram) -> None:
        source = datagram.local
        assert source is not None
        if source != peer.relayed:
            assert source == peer.base
            source = peer.nat.outward(source, datagram.remote, self.now)
        outside = Datagram(datagram.data, source, datagram.remote)
        self.sent += 1
        if self.random.random() < self.loss or self.drop(outside):
            return
        copies = 2 if self.random.random() < self.duplication else 1
        for _ in range(copies):
            late = self.random.random() * self.jitter
            self.at(self.now + self.delay + late, lambda: self.deliver(outside))

    def deliver(self, datagram: Datagram) -> None:
        """
        A packet with a public source has come to the public address C{remote}.
        """
        source, target = datagram.local, datagram.remote
        assert source is not None
        for peer in self.peers:
            if target == peer.relayed:
                inside: Address | None = target
            elif target[0] == peer.nat.host:
                inside = peer.nat.inward(target, source, self.now)
            else:
                continue
            if inside is not None:
                peer.arrived.append(datagram)
                peer.agent.datagramReceived(datagram.data, inside, source, self.now)
                self.flush(peer)

    def run(
        self, seconds: float, until: Callable[[], bool] = lambda: False
    ) -> float | None:
        """
        Let time pass.

        @return: when C{until} became true, or L{None} after C{seconds}.
        """
        end = self.now + seconds
        for peer in self.peers:
            self.flush(peer)
        for _ in range(MOST_STEPS):
            if until():
                return self.now
            due = [
                (when, index)
                for index, peer in enumerate(self.peers)
                if (when := peer.agent.deadline()) is not None
            ]
            times = [when for when, _ in due]
            if self._queue:
                times.append(self._queue[0][0])
            if not times or min(times) > end:
                self.now = end
                return None
            self.now = max(self.now, min(times))
            if self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
                continue
            peer = self.peers[min(due)[1]]
            peer.agent.timeReached(self.now)
            after = peer.agent.deadline()
            assert after is None or after > self.now, "a busy loop"
            self.flush(peer)
        raise AssertionError("too many steps")


def pairOfPeers(
    link: Link, natA: str = "portrestricted", natB: str = "portrestricted"
) -> tuple[Peer, Peer]:
    """
    @return: a controlling dialler and a controlled answerer, ready to talk.
    """
    a = link.peer("a", controlling=True, nat=natA)
    b = link.peer("b", controlling=False, nat=natB)
    a.gather()
    b.gather()
    return a, b


def dial(link: Link, a: Peer, b: Peer, back: float | None = None) -> None:
    """
    The offer has reached C{b} now; its answer reaches C{a} after C{back}
    seconds, by default one way.
    """
    b.hear(a)
    link.at(link.now + (link.delay if back is None else back), lambda: a.hear(b))


def connected(a: Peer, b: Peer) -> Callable[[], bool]:
    """
    @return: tells whether both have a valid pair.
    """
    return lambda: bool(a.agent.validPairs and b.agent.validPairs)


def established() -> tuple[Link, Peer, Peer, CandidatePair]:
    """
    @return: two agents with one valid direct pair, at rest, and the dialler's.
    """
    link = Link()
    a, b = pairOfPeers(link)
    dial(link, a, b)
    assert link.run(5, connected(a, b)) is not None
    link.run(10)
    (pair,) = a.agent.validPairs
    return link, a, b, pair


def cut(link: Link) -> None:
    """
    Nothing gets through any more.
    """
    link.drop = lambda datagram: True


def mend(link: Link) -> None:
    """
    Everything gets through again.
    """
    link.drop = lambda datagram: False
