"""
How far away the public network begins: where a packet has to die that is to open
our own NATs and to reach nobody else's.

Hop limits are tried one after another, from 1 on, with Binding requests to a
server; whoever drops one says so, and where it is.  That takes two or three
packets as a rule, of one flow, and no longer than these hops are away.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from punchd.core import Address, Datagram, Entropy
from punchd.errors import MalformedMessage
from punchd.stun.address import isPublic, packHost
from punchd.stun.message import Method, isMessage, parse, request

#: The hop limit to use as long as nothing is known.
UNKNOWN: Final = 3
#: There is none who has more NATs than this in a row.
MOST: Final = 6
#: When a request is sent again, and when no answer is expected any more, in
#: seconds from the first; both waits are for hops of slow lines.
AGAIN: Final = 0.25
SILENT: Final = 0.7

# A header of STUN; the last octet of its transaction id is the hop limit.
_HEADER: Final = 20
_ID: Final = 12


@dataclass(frozen=True, slots=True)
class Traced:
    """
    The end of a trace.

    @ivar hops: who is where, nearest first; L{None} for those who said nothing.
    @ivar reached: with which hop limit the server was reached, if it was.
    """

    hops: tuple[str | None, ...] = ()
    reached: int | None = None

    def openerTtl(self, ours: Collection[str]) -> int | None:
        """
        @param ours: the addresses under which others see us: a NAT may report
            itself with its outer one.

        @return: the hop limit of packets that open our NATs only, L{None} where
            none would do because the server is next to us.
        """
        for number, host in enumerate(self.hops, 1):
            if host is not None and isBeyond(host, ours):
                return number
        if self.reached is not None:
            # As far as the last one before the server, who is public.
            return min(UNKNOWN, self.reached - 1) or None
        return UNKNOWN


def isBeyond(host: str, ours: Collection[str]) -> bool:
    """
    @param ours: see L{Traced.openerTtl}.

    @return: whether the one who calls itself so is part of the public network,
        and no router of ours.  Over IPv6 all have public addresses; those that
        share a site's prefix with us (RFC 6177, section 2) are ours.
    """
    if not isPublic(host) or host in ours:
        return False
    return ":" not in host or not any(
        ":" in each and packHost(each)[:6] == packHost(host)[:6] for each in ours
    )


class Trace:
    """
    I am a core object (L{punchd.core}); my one event is a L{Traced}.
    """

    def __init__(
        self,
        server: Address,
        ours: Collection[str],
        entropy: Entropy,
    ) -> None:
        """
        @param server: a STUN server in the public network.
        @param ours: see L{Traced.openerTtl}.
        """
        self._server = server
        self._ours = ours
        self._id = entropy(_ID - 1)
        self._hops: list[str | None] = []
        self._sentAgain = False
        self._began = 0.0
        self._due: float | None = None
        self._datagrams: list[Datagram] = []
        self._events: list[object] = []

    def start(self, now: float) -> None:
        """
        Begin with the nearest.
        """
        self._next(now)

    def _next(self, now: float) -> None:
        self._sentAgain = False
        self._began = now
        self._due = now + AGAIN
        self._send()

    def _send(self) -> None:
        ttl = len(self._hops) + 1
        message = request(Method.BINDING, self._id + bytes((ttl,)))
        self._datagrams.append(Datagram(message.serialize(), None, self._server, ttl))

    def _end(self, reached: int | None) -> None:
        if self._due is not None:
            self._due = None
            self._events.append(Traced(tuple(self._hops), reached))

    # --- handlers

    def hopReported(self, data: bytes, host: str, now: float) -> None:
        """
        A packet died.

        @param data: as much of our datagram as came back; routers need to tell no
            more than its ports (RFC 792).
        @param host: who dropped it.
        """
        number = len(self._hops) + 1
        if len(data) >= _HEADER:
            if data[8 : _HEADER - 1] != self._id:
                return
            number = data[_HEADER - 1]
        if self._due is None or not 0 < number <= len(self._hops) + 1:
            return
        if number <= len(self._hops):
            # Late; the first to speak is right.
            self._hops[number - 1] = self._hops[number - 1] or host
            return
        self._found(host, now)

    def _found(self, host: str | None, now: float) -> None:
        self._hops.append(host)
        far = host is not None and isBeyond(host, self._ours)
        if far or len(self._hops) >= MOST:
            self._end(None)
        else:
            self._next(now)

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        Perhaps the server answers: it was near.
        """
        if remote != self._server or not isMessage(data):
            return
        try:
            answer = parse(data).transactionId
        except MalformedMessage:
            return
        if answer[:-1] == self._id and answer[-1] <= len(self._hops) + 1:
            self._end(answer[-1])

    def timeReached(self, now: float) -> None:
        """
        Ask again, or go on without an answer.
        """
        if self._due is None or now < self._due:
            return
        if self._sentAgain:
            self._found(None, now)
        else:
            self._sentAgain = True
            self._due = self._began + SILENT
            self._send()

    # --- drains

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: the requests to send now.
        """
        taken, self._datagrams = self._datagrams, []
        return taken

    def takeEvents(self) -> Sequence[object]:
        """
        @return: one L{Traced} at the end.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when the next request is due.
        """
        return self._due
