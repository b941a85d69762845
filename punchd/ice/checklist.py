"""
The check list: which pairs there are, and which of them is checked next
(RFC 8445, 6.1.2).

There is one component and one list, and no pair is ever frozen.
"""

from __future__ import annotations

from collections.abc import Iterator

from punchd.core import Address

from .candidate import Candidate, CandidateType, foundation, isPairable
from .nomination import Roles
from .pair import CandidatePair, CheckState, Key
from .timing import Limits


class Checklist:
    """
    @ivar refused: what did not fit the limits or cannot be paired, counted by
        reason.
    """

    def __init__(self, roles: Roles, limits: Limits) -> None:
        self._roles = roles
        self._limits = limits
        self._pairs: dict[Key, CandidatePair] = {}
        self._bases: dict[Address, Candidate] = {}
        self._locals: dict[Address, Candidate] = {}
        self._learnedLocals = 0
        self._remotes: dict[Address, Candidate] = {}
        # In the order in which they were learned, with the time of it.
        self._learned: dict[Address, float] = {}
        self._triggered: dict[Key, CandidatePair] = {}
        # Bases of shots only, and the shots with the strategy of each.
        self._spares: dict[Address, Candidate] = {}
        self._shots: dict[Key, str] = {}

    def __iter__(self) -> Iterator[CandidatePair]:
        return iter(self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, pair: object) -> bool:
        return (
            isinstance(pair, CandidatePair) and self._pairs.get(pair.key, None) is pair
        )

    @property
    def ordered(self) -> list[CandidatePair]:
        """
        All pairs, the one of highest priority first.
        """
        controlling = self._roles.controlling
        return sorted(
            self._pairs.values(),
            key=lambda pair: pair.priority(controlling),
            reverse=True,
        )

    @property
    def localCandidates(self) -> list[Candidate]:
        """
        Ours, those learned from responses included.
        """
        return list(self._locals.values())

    @property
    def remoteCandidates(self) -> list[Candidate]:
        """
        The peer's, those learned from its checks included.
        """
        return list(self._remotes.values())

    def find(self, local: Address, remote: Address) -> CandidatePair | None:
        """
        @return: the pair of this 5-tuple.
        """
        return self._pairs.get((local, remote))

    def isBase(self, local: Address) -> bool:
        """
        @return: whether C{local} is one of the addresses we check from.
        """
        return local in self._bases or local in self._spares

    def knowsLocal(self, address: Address) -> bool:
        """
        @return: whether C{address} is a candidate of ours.
        """
        return address in self._locals

    def addLocal(self, candidate: Candidate) -> str | None:
        """
        Take a candidate of ours: its base is paired with all that the peer
        has.  A server-reflexive one adds nothing to its base but knowledge
        (RFC 8445, 6.1.2.4).

        @return: why it was refused, or L{None}.
        """
        base = candidate.base
        if candidate.component != 1 or candidate.transport != "udp":
            return "local candidate of another kind"
        if not isPairable(candidate.address) or not isPairable(base):
            return "local candidate that cannot be paired"
        self._locals.setdefault(candidate.address, candidate)
        known = self._bases.get(base)
        if known is None:
            self._bases[base] = candidate
            for remote in self._remotes.values():
                self._pair(candidate, remote)
        elif known.priority < candidate.priority:
            self._bases[base] = candidate
            for pair in self._pairs.values():
                if pair.key[0] == base:
                    pair.local = candidate
        return None

    def learnLocal(self, candidate: Candidate) -> bool:
        """
        A response told an address of ours (RFC 8445, 7.2.5.3.1); nothing is
        checked because of it.

        @return: whether it was new and there was room.
        """
        if candidate.address in self._locals:
            return False
        if self._learnedLocals >= self._limits.learnedLocal:
            return False
        self._learnedLocals += 1
        self._locals[candidate.address] = candidate
        return True

    def removeLocal(self, candidate: Candidate) -> list[CandidatePair]:
        """
        Forget a base of ours and all that was found from it.

        @return: the pairs that are gone.
        """
        base = candidate.base
        self._bases.pop(base, None)
        self._spares.pop(base, None)
        self._shots = {key: name for key, name in self._shots.items() if key[0] != base}
        for address, each in list(self._locals.items()):
            if each.base == base:
                del self._locals[address]
        gone = [pair for key, pair in self._pairs.items() if key[0] == base]
        for pair in gone:
            self._drop(pair)
        return gone

    def removeRemote(self, address: Address) -> list[CandidatePair]:
        """
        Forget a candidate of the peer.

        @return: the pairs that are gone.
        """
        self._remotes.pop(address, None)
        self._learned.pop(address, None)
        gone = [pair for key, pair in self._pairs.items() if key[1] == address]
        for pair in gone:
            self._drop(pair)
        return gone

    def addRemote(self, candidate: Candidate) -> str | None:
        """
        Take a candidate that the peer has signalled, and pair it with all our
        bases.  One that a check has told before is described better now
        (RFC 8838, 11.3).

        @return: why it was refused, or L{None}.
        """
        address = candidate.address
        if candidate.component != 1 or candidate.transport != "udp":
            return "remote candidate of another kind"
        if not isPairable(address):
            return "remote candidate that cannot be paired"
        known = self._remotes.get(address)
        if known is not None and address not in self._learned:
            if known.priority >= candidate.priority:
                return None
        elif len(self._remotes) - len(self._learned) >= self._limits.signalled:
            return "too many remote candidates"
        self._learned.pop(address, None)
        self._remotes[address] = candidate
        # A learned one was paired with the base that learned it only.
        for base in list(self._bases.values()):
            pair = self._pair(base, candidate)
            if pair is not None:
                pair.remote = candidate
        return None

    def learnRemote(
        self, local: Address, address: Address, priority: int, now: float, age: float
    ) -> tuple[CandidatePair | None, Candidate | None]:
        """
        A check came from C{address} to our base C{local}: make the pair of it
        (RFC 8445, 7.3.1.3, 7.3.1.4).

        @param priority: what the check says a candidate there is worth; of
            type preference 0 are only relayed ones.
        @param age: how old a learned candidate must be to give way, in
            seconds.

        @return: the pair, unless there is no room, and the candidate if it is
            new.
        """
        base = self._bases.get(local) or self._spares[local]
        known = self._remotes.get(address)
        if known is not None:
            return self._pair(base, known), None
        if not self._roomToLearn(now, age):
            return None, None
        relayed = priority >> 24 == CandidateType.RELAY.preference
        kind = CandidateType.RELAY if relayed else CandidateType.PRFLX
        candidate = Candidate(
            address,
            kind,
            priority,
            foundation(kind, address[0], transport=base.transport),
            address,
            base.transport,
            source=self._shots.get((local, address), kind.value),
            tcpType=base.tcpType,
        )
        self._remotes[address] = candidate
        self._learned[address] = now
        return self._pair(base, candidate), candidate

    def _roomToLearn(self, now: float, age: float) -> bool:
        """
        Make room for one more learned candidate by forgetting the oldest that
        has no working pair.
        """
        if len(self._learned) < self._limits.learned:
            return True
        keep = (CheckState.SUCCEEDED, CheckState.LOST)
        busy = {key[1] for key, pair in self._pairs.items() if pair.state in keep}
        for address, when in self._learned.items():
            if now - when < age:
                return False
            if address not in busy:
                del self._learned[address], self._remotes[address]
                for key, pair in list(self._pairs.items()):
                    if key[1] == address:
                        self._drop(pair)
                return True
        return False

    def _pair(self, local: Candidate, remote: Candidate) -> CandidatePair | None:
        """
        @return: the pair of both, unless they do not fit or there is no room.
        """
        key = (local.base, remote.address)
        pair = self._pairs.get(key)
        if pair is not None:
            return pair
        if (":" in local.base[0]) is not (":" in remote.address[0]):
            return None
        pair = CandidatePair(local, remote)
        if self._limits.relayedOnly and pair.kind != "relayed":
            return None
        if len(self._pairs) >= self._limits.pairs and not self._makeRoom(pair):
            return None
        self._pairs[key] = pair
        return pair

    def _makeRoom(self, pair: CandidatePair) -> bool:
        """
        Drop the pair of lowest priority that has never worked, if C{pair} is
        worth more (RFC 8445, 6.1.2.5).
        """
        controlling = self._roles.controlling
        keep = (CheckState.SUCCEEDED, CheckState.LOST)
        others = [each for each in self._pairs.values() if each.state not in keep]
        if not others:
            return False
        least = min(others, key=lambda each: each.priority(controlling))
        if least.priority(controlling) >= pair.priority(controlling):
            return False
        self._drop(least)
        return True

    # --- shots: checks off the list

    def shot(self, local: Candidate, remote: Address, source: str) -> CandidatePair:
        """
        A check is sent to an address that the peer may have; no other base of
        ours is paired with it, and nothing is checked again because of it.

        @param source: the strategy that wants it.

        @return: a pair that is not on the list unless it works.
        """
        base = local.base
        if base not in self._bases:
            self._spares.setdefault(base, local)
        self._shots[base, remote] = source
        known = self._pairs.get((base, remote))
        if known is not None:
            return known
        kind = CandidateType.PRFLX
        return CandidatePair(
            local,
            Candidate(
                remote,
                kind,
                local.priority,
                foundation(kind, remote[0], transport=local.transport),
                remote,
                local.transport,
                source=source,
                tcpType=local.tcpType,
            ),
        )

    def adopt(self, pair: CandidatePair) -> CandidatePair | None:
        """
        A shot was answered.

        @return: the pair on the list of its 5-tuple, unless there is no room.
        """
        known = self._pairs.get(pair.key)
        if known is not None or pair.key not in self._shots:
            return known
        made = self._pair(pair.local, pair.remote)
        if made is not None:
            made.lastSent = pair.lastSent
        return made

    def forgetShots(self) -> None:
        """
        What the shots opened is of no use any more, but for pairs that work.
        """
        self._shots.clear()

    def _drop(self, pair: CandidatePair) -> None:
        self._pairs.pop(pair.key, None)
        self._triggered.pop(pair.key, None)

    def trigger(self, pair: CandidatePair) -> None:
        """
        Check C{pair} before all others that wait (RFC 8445, 6.1.4.1).
        """
        pair.state = CheckState.WAITING
        self._triggered.setdefault(pair.key, pair)

    def nextWaiting(self) -> CandidatePair | None:
        """
        @return: the pair to check next; it stays until it is started.
        """
        for pair in self._triggered.values():
            return pair
        controlling = self._roles.controlling
        return max(
            (pair for pair in self._pairs.values() if pair.state is CheckState.WAITING),
            key=lambda pair: pair.priority(controlling),
            default=None,
        )

    def started(self, pair: CandidatePair) -> None:
        """
        C{pair} waits no longer.
        """
        self._triggered.pop(pair.key, None)
