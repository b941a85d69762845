"""
TCP: both sides connect at the same moment, where UDP does not get through.

Each side opens a TCP port a family, asks servers over TCP where they see it, and
tells the other: L{candidates<punchd.ice.candidate.Candidate>} of the type C{so}
(RFC 6544).  The side that tells last waits for half a round trip, the other begins
as it hears that; so the SYNs of both leave at one time, and each finds the NAT at
its end opened by the other.  A SYN that comes too early is dropped there, and the
later one of the two makes the connection; one that is refused is sent again.

A NAT that gives TCP connections one port after another is met at the next ones:
the peer is told several, and both aim at these in the same order.  Where TCP ports
are random on one side, only a peer that lets everybody in can be reached; where
they cannot be told on both, there is no way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from punchd.core import Address
from punchd.ice.candidate import Candidate
from punchd.interfaces import ITraversalStrategy
from punchd.nat.model import PortModel
from punchd.stun.address import isForbiddenPeer

from .events import StreamFailed, StreamLocated, StreamMade
from .field import Attempt, Field
from .tcpport import OwnPort, TCPMapping, admitted
from .verdict import Reason

#: Rounds, each with fresh ports.
ROUNDS: Final = 3
#: Seconds for the servers' answers, and for the peer's half of a round.
_PATIENCE: Final = 1.5
#: Seconds from the first SYN to the end of a round: the kernel repeats it after
#: one.
_ROUND: Final = 2.5
#: Seconds that a connection has to carry checks and data.
_PROOF: Final = 2.0
#: The least seconds before a refused SYN is sent again.
_PAUSE: Final = 0.05
#: Seconds until one that the budget held back is tried again.
_HELD: Final = 0.2
#: How probable it is where UDP is filtered; and elsewhere, where it comes last.
_FILTERED, _LAST = 0.5, 0.015
#: Others than the server are met at another port.
_UNTOLD: Final = {TCPMapping.SEQUENTIAL.value, TCPMapping.RANDOM.value}


class TCPAttempt:
    """
    One attempt of L{TCP}.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        self._counts: Counter[str] = Counter()
        self._round = 0
        self._ports: dict[Address, OwnPort] = {}
        self._aim: list[Candidate] | None = None
        self._theirs: dict[str, str] = {}
        self._ours: dict[str, str] = {}
        self._toldBy: float | None = None
        self._told = self._public = False
        self._fireAt: float | None = None
        self._fired = False
        self._again: dict[tuple[Address, Address], float] = {}
        self._until = float("inf")

    # --- a round

    def start(self, now: float) -> None:
        """
        Both sides begin with the first round.
        """
        self._begin(1, now)

    def _begin(self, number: int, now: float) -> None:
        field = self._field
        for base in self._ports:
            field.close(base)
        self._round = number
        self._ports = {}
        self._aim = self._fireAt = None
        self._told = self._fired = self._public = False
        self._again = {}
        self._until = now + 2 * _PATIENCE + 4 * field.rtt
        for family in (4, 6):
            opened = field.openStream(family)
            if opened is not None:
                self._ports[opened] = OwnPort(opened, field.locate(opened, now))
        if not self._ports:
            field.tell({"unable": True})
            self._end(Reason.NOT_POSSIBLE, now)
            return
        self._toldBy = now + _PATIENCE
        self._tellIfComplete(now)

    def streamHappened(self, event: object, now: float) -> None:
        """
        Something became of a port.
        """
        if isinstance(event, StreamLocated):
            port = self._ports.get(event.base)
            if port is not None and not port.complete:
                port.answers.append(event.mapped)
                self._tellIfComplete(now)
        elif isinstance(event, StreamMade):
            self._counts["connected"] += 1
            # Checks and data have to come through, too.
            self._until = max(self._until, now + _PROOF)
        elif isinstance(event, StreamFailed) and event.base in self._ports:
            self._counts[event.reason] += 1
            if event.reason != "timeout":
                pause = max(_PAUSE, self._field.rtt / 2)
                self._again[event.base, event.remote] = now + pause

    def _tellIfComplete(self, now: float) -> None:
        if not self._told and all(each.complete for each in self._ports.values()):
            self._tell(now)

    def _tell(self, now: float) -> None:
        field = self._field
        self._told, self._toldBy = True, None
        ports = list(self._ports.values())
        self._ours = {_familyOf(p.base): p.mapping().value for p in ports}
        candidates = [each for port in ports for each in port.candidates()]
        self._public = any(not isForbiddenPeer(c.address[0]) for c in candidates)
        field.tell(
            {
                "round": self._round,
                "mapping": self._ours,
                "candidates": [each.toDict() for each in candidates],
            }
        )
        if self._aim is not None:
            # It takes the peer as long to hear that.
            self._ready(now + field.rtt / 2, now)

    def told(self, body: dict[str, Any], now: float) -> None:
        """
        The peer says where it is, or that this is the end.
        """
        if "end" in body and not self._field.leader:
            name = str(body["end"])
            self._stop(Reason.__members__.get(name, Reason.NOT_CONNECTED), now)
            return
        if body.get("unable"):
            self._end(Reason.NOT_POSSIBLE, now, side="peer")
            return
        number = body.get("round")
        if type(number) is not int or not self._round <= number <= ROUNDS:
            return
        if number > self._round and not self._field.leader:
            self._begin(number, now)
        candidates = body.get("candidates")
        if number != self._round or self._aim is not None:
            return
        if isinstance(candidates, list):
            self._aim = admitted(candidates)
            mapping = body.get("mapping")
            if isinstance(mapping, Mapping):
                known = [f for f in ("4", "6") if f in mapping]
                self._theirs = {each: str(mapping[each])[:32] for each in known}
            if self._told:
                self._ready(now, now)

    def _ready(self, when: float, now: float) -> None:
        if self._hopeless():
            if self._field.leader:
                self._end(Reason.OUT_OF_REACH, now)
            return
        if self._field.leader and not (self._public or self._targets()):
            self._end(Reason.NO_CANDIDATES, now)
            return
        self._fireAt = when
        self._until = when + _ROUND + 3 * self._field.rtt
        self.timeReached(now)

    def _hopeless(self) -> bool:
        """
        @return: whether neither side can tell where it will be.
        """
        both = self._ours.keys() & self._theirs.keys()
        pairs = [{self._ours[each], self._theirs[each]} for each in both]
        return bool(pairs) and all(
            TCPMapping.RANDOM in pair and pair <= _UNTOLD for pair in pairs
        )

    def _targets(self) -> list[tuple[Address, Address]]:
        """
        @return: from where to where; private addresses only behind one and the
            same NAT.
        """
        assert self._aim is not None
        publics = {host for port in self._ports.values() for host, _ in port.seen}
        near = any(each.address[0] in publics for each in self._aim)
        return [
            (base, each.address)
            for base in self._ports
            for each in self._aim
            if _familyOf(base) == _familyOf(each.address)
            and each.address != base
            and (near or not isForbiddenPeer(each.address[0]))
        ]

    # --- time

    def timeReached(self, now: float) -> None:
        """
        Connect, connect again, or begin again.
        """
        if self._toldBy is not None and now >= self._toldBy:
            # Who has not answered by now does not.
            for port in self._ports.values():
                port.asked = len(port.answers)
            self._tellIfComplete(now)
        if self._fireAt is not None and not self._fired and now >= self._fireAt:
            self._fired = True
            for base, remote in self._targets():
                self._connect(base, remote, now)
        if now >= self._until:
            self._again.clear()
        for (base, remote), due in list(self._again.items()):
            if now >= due:
                del self._again[base, remote]
                self._connect(base, remote, now)
        if now < self._until or not self._field.leader:
            return
        if self._round >= ROUNDS:
            connected = self._counts["connected"]
            self._end(Reason.NO_ANSWER if connected else Reason.NOT_CONNECTED, now)
        else:
            self._begin(self._round + 1, now)
            self._field.tell({"round": self._round})

    def _connect(self, base: Address, remote: Address, now: float) -> None:
        if self._field.connect(base, remote, now):
            self._counts["syns"] += 1
        else:
            self._counts["held back"] += 1
            self._again[base, remote] = now + _HELD

    def _end(self, reason: Reason, now: float, **evidence: object) -> None:
        if self._field.leader:
            self._field.tell({"end": reason.name})
        self._stop(reason, now, **evidence)

    def _stop(self, reason: Reason, now: float, **evidence: object) -> None:
        self._until = float("inf")
        self._again = {}
        self._toldBy = None
        self._fired = True
        self._field.end(reason, now, **evidence)

    def evidence(self) -> dict[str, object]:
        """
        @return: what was seen so far.
        """
        return {
            "rounds": self._round,
            "attempts": dict(sorted(self._counts.items())),
            "ourTcpMapping": dict(self._ours),
            "theirTcpMapping": dict(self._theirs),
        }

    def sampled(self, base: Address, mapped: Address | None, now: float) -> None:
        """
        Nothing was asked over UDP.
        """

    def deadline(self) -> float | None:
        """
        @return: when the next thing is due.
        """
        due = [*self._again.values()]
        if self._toldBy is not None:
            due.append(self._toldBy)
        if self._fireAt is not None and not self._fired:
            due.append(self._fireAt)
        if self._field.leader and self._until != float("inf"):
            due.append(self._until)
        return min(due, default=None)


def _familyOf(address: Address) -> str:
    return "6" if ":" in address[0] else "4"


@implementer(ITraversalStrategy)
class TCP:
    """
    Both sides connect at once, over TCP.
    """

    name = "tcp"

    def odds(self, ours: PortModel, theirs: PortModel) -> float:
        """
        @return: how probable it is: without an answer over UDP the models say
            nothing, and nothing else is left.
        """
        filtered = not ours.samples or not theirs.samples
        return _FILTERED if filtered else _LAST

    def attempt(self, field: Field) -> Attempt:
        """
        @return: our half of an attempt.
        """
        return TCPAttempt(field)
