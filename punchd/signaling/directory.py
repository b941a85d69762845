"""
Who is here, and who has asked for whom.

Rules.

  1. A peer is present while its connection lasts; a newer connection replaces
     an older one.
  2. A presence outlives its connection for two minutes, unseen by others, so
     that its relay and its dials are still there when the same process comes
     back and names its handle.
  3. A dial begins when it is sent on and is accepted with the answer.  From
     its acceptance on both sides may speak, and each may let the relay send to
     where the other one was observed; before, only the listener may, who
     accepts by doing so.
  4. Everything is counted and bounded, by presence and by network, since keys
     cost nothing.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from zope.interface import implementer

from punchd.core import Address, Entropy
from punchd.errors import PeerUnavailable, RendezvousRefused
from punchd.interfaces import IPresences
from punchd.stun.address import canonicalHost, family, prefixOf
from punchd.stun.limit import PrefixLimit

from .commands import FLIGHT_BUDGET

#: Seconds for which an address counts as observed after it was last proven.
SIGHTING_LIFETIME: Final = 120.0
#: Addresses of one family that a presence may be observed at.
MAX_SIGHTINGS: Final = 4
#: Seconds for which a presence without a connection is kept.
LINGER: Final = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """
    @ivar total: presences, those that linger included.
    @ivar perNetwork: presences of one /24 or /56.
    @ivar dials: dials of one presence, as either side.
    @ivar pending: dials of one presence that have no answer yet, a side.
    @ivar dialRate: dials a second of one network in the long run; and
    @ivar dialBurst: at once.
    """

    total: int = 50_000
    perNetwork: int = 1024
    dials: int = 256
    pending: int = 32
    dialRate: float = 10.0
    dialBurst: float = 100.0


class Sightings:
    """
    Where a client's packets were seen to come from: the newest few addresses
    of each family.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        # Address to the time it was last proven, oldest first.
        self._seen: dict[Address, float] = {}

    def add(self, address: Address, now: float) -> bool:
        """
        The client has proven to receive at C{address}.

        @return: whether that is new.
        """
        known = self._seen.pop(address, None)
        fresh = known is None or now - known > SIGHTING_LIFETIME
        self._seen[address] = now
        same = [each for each in self._seen if family(each) == family(address)]
        if len(same) > MAX_SIGHTINGS:
            del self._seen[same[0]]
        return fresh

    def addresses(self, now: float) -> list[Address]:
        """
        @return: the addresses that still count, newest first.
        """
        return [
            address
            for address, at in reversed(self._seen.items())
            if now - at <= SIGHTING_LIFETIME
        ]

    def holds(self, host: str, now: float) -> bool:
        """
        @return: whether one of the addresses is of this canonical host.
        """
        return any(canonicalHost(each[0]) == host for each in self.addresses(now))


@dataclass(eq=False, slots=True)
class Dial:
    """
    One peer's wish for a session with another.

    @ivar accepted: whether the listener has answered.
    @ivar settled: whether the dialler has told what became of it.
    @ivar spent: bytes of flight carried for the dialler and the listener.
    """

    dialId: str
    dialler: Presence
    listener: Presence
    accepted: bool = False
    settled: bool = False
    spent: list[int] = field(default_factory=lambda: [0, 0])

    def other(self, side: Presence) -> Presence:
        """
        @return: the other side.
        """
        return self.listener if side is self.dialler else self.dialler

    def carry(self, side: Presence, datagrams: Sequence[bytes]) -> list[bytes]:
        """
        @return: those of the datagrams that the budget of C{side} has room for.
        """
        index = 0 if side is self.dialler else 1
        carried = []
        for each in datagrams:
            if self.spent[index] + len(each) <= FLIGHT_BUDGET:
                self.spent[index] += len(each)
                carried.append(each)
        return carried


@dataclass(eq=False, slots=True)
class Presence:
    """
    A registered client.

    @ivar handle: opaque and random; STUN and TURN know the client by it.
    @ivar key: the key of short-term STUN credentials (RFC 8489, 9.1).
    @ivar host: where its connection comes from.
    @ivar connection: the connection, as the shell has it, or L{None}.
    @ivar leftAt: when the connection was lost.
    @ivar dials: by dial id.
    """

    peer: str
    handle: str
    key: bytes
    host: str
    connection: Any
    sightings: Sightings = field(default_factory=Sightings)
    dials: dict[str, Dial] = field(default_factory=dict)
    leftAt: float = 0.0

    def counterparts(self) -> list[Presence]:
        """
        @return: who has an accepted dial with this presence, each once.
        """
        accepted = (dial for dial in self.dials.values() if dial.accepted)
        return list(dict.fromkeys(dial.other(self) for dial in accepted))


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    @ivar presence: of who has registered.
    @ivar resumed: whether the presence was there before.
    @ivar replaced: the connection that has to end now, or L{None}.
    @ivar former: the presence of another process of the same peer, whose place
        this one takes.
    @ivar ended: the dials of C{former}, which are over.
    """

    presence: Presence
    resumed: bool = False
    replaced: Any = None
    former: Presence | None = None
    ended: Sequence[Dial] = ()


@implementer(IPresences)
class Directory:
    """
    I know who is here.

    @ivar counters: what was refused, by reason.
    """

    def __init__(self, entropy: Entropy, limits: Limits | None = None) -> None:
        self._entropy = entropy
        self._limits = limits or Limits()
        self._byPeer: dict[str, Presence] = {}
        self._byHandle: dict[str, Presence] = {}
        self._networks: Counter[str] = Counter()
        # Who has left, oldest first.
        self._left: dict[Presence, None] = {}
        self._dialLimit = PrefixLimit(self._limits.dialRate, self._limits.dialBurst)
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._byPeer) - len(self._left)

    # --- presence

    def register(
        self, peer: str, host: str, connection: object, resume: str | None, now: float
    ) -> Arrival:
        """
        A peer has come.

        @param resume: the handle that it had before, if it had one.

        @raise RendezvousRefused: there are too many.
        """
        self.expire(now)
        old = self._byPeer.get(peer)
        if old is not None and resume == old.handle:
            replaced, old.connection = old.connection, connection
            self._left.pop(old, None)
            self._moved(old, host)
            return Arrival(old, True, replaced)
        network = prefixOf(host)
        if old is None and len(self._byPeer) >= self._limits.total:
            self.counters["full"] += 1
            raise RendezvousRefused("The rendezvous has no room for more clients.")
        if self._networks[network] >= self._limits.perNetwork:
            self.counters["network full"] += 1
            raise RendezvousRefused(
                "The rendezvous has no room for more clients of that network."
            )
        replaced, ended = None, list[Dial]()
        if old is not None:
            replaced, ended = old.connection, self._remove(old)
        presence = Presence(
            peer,
            base64.b32encode(self._entropy(10)).decode("ascii").lower(),
            base64.b64encode(self._entropy(18)),
            host,
            connection,
        )
        self._byPeer[peer] = self._byHandle[presence.handle] = presence
        self._networks[network] += 1
        return Arrival(presence, False, replaced, old, ended)

    def depart(self, presence: Presence, connection: object, now: float) -> list[Dial]:
        """
        A connection was lost.  Dials without an answer end; the others stay.

        @return: the dials that ended, none if the peer has come back already.
        """
        if presence.connection is not connection:
            return []
        presence.connection = None
        presence.leftAt = now
        self._left[presence] = None
        ended = [each for each in presence.dials.values() if not each.accepted]
        for dial in ended:
            self.close(dial)
        return ended

    def expire(self, now: float) -> None:
        """
        Forget who left too long ago.
        """
        while self._left:
            presence = next(iter(self._left))
            if now < presence.leftAt + LINGER:
                break
            self._remove(presence)

    def deadline(self) -> float | None:
        """
        @return: when L{expire} will have something to do.
        """
        first = next(iter(self._left), None)
        return None if first is None else first.leftAt + LINGER

    def presenceOf(self, handle: str) -> Presence | None:
        """
        @return: the client with that handle, here or not long gone.
        """
        return self._byHandle.get(handle)

    def _remove(self, presence: Presence) -> list[Dial]:
        ended = list(presence.dials.values())
        for dial in ended:
            self.close(dial)
        presence.connection = None
        self._left.pop(presence, None)
        del self._byPeer[presence.peer], self._byHandle[presence.handle]
        self._uncount(presence.host)
        return ended

    def _moved(self, presence: Presence, host: str) -> None:
        self._uncount(presence.host)
        presence.host = host
        self._networks[prefixOf(host)] += 1

    def _uncount(self, host: str) -> None:
        network = prefixOf(host)
        self._networks[network] -= 1
        if not self._networks[network]:
            del self._networks[network]

    # --- dials

    def dial(self, dialler: Presence, peer: str, dialId: str, now: float) -> Dial:
        """
        @raise PeerUnavailable: the peer is not here, or there are too many
            dials; the dialler is not to know which.
        """
        listener = self._byPeer.get(peer)
        if not self._dialLimit.allows(dialler.host, now):
            reason = "dial rate"
        elif listener is None or listener.connection is None:
            reason = "offline"
        elif listener is dialler:
            reason = "self"
        elif not dialId or dialId in dialler.dials or dialId in listener.dials:
            reason = "dial id"
        elif self._isFull(dialler) or self._isFull(listener):
            reason = "dials"
        else:
            dial = Dial(dialId, dialler, listener)
            dialler.dials[dialId] = listener.dials[dialId] = dial
            return dial
        self.counters[f"refused: {reason}"] += 1
        raise PeerUnavailable()

    def _isFull(self, presence: Presence) -> bool:
        if len(presence.dials) >= self._limits.dials:
            return True
        waiting = sum(not each.accepted for each in presence.dials.values())
        return waiting >= self._limits.pending

    def accept(self, dial: Dial) -> bool:
        """
        The listener has answered.

        @return: whether the dial was still there.
        """
        dial.accepted = dial.dialler.dials.get(dial.dialId) is dial
        return dial.accepted

    def close(self, dial: Dial) -> None:
        """
        A dial is over.
        """
        for side in (dial.dialler, dial.listener):
            if side.dials.get(dial.dialId) is dial:
                del side.dials[dial.dialId]

    def maySpeak(self, side: Presence, dialId: str) -> Dial | None:
        """
        @return: the dial, if C{side} is one of its sides and may send to the
            other one yet.
        """
        dial = side.dials.get(dialId)
        if dial is None or not (dial.accepted or side is dial.dialler):
            return None
        return dial

    # --- the relay

    def mayAllocate(self, handle: str) -> bool:
        """
        @return: whether that client may use the relay.
        """
        return handle in self._byHandle

    def mayRelay(self, handle: str, host: str, now: float) -> bool:
        """
        @return: whether the relay may send to C{host} for that client: the
            other side of one of its dials was observed there.
        """
        presence = self._byHandle.get(handle)
        if presence is None:
            return False
        host = canonicalHost(host)
        return any(
            (dial.accepted or presence is dial.listener)
            and dial.other(presence).sightings.holds(host, now)
            for dial in presence.dials.values()
        )
