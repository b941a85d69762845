"""
What NAT-PMP (RFC 6886) and PCP (RFC 6887) have in common: one request at a time
to one gateway, sent again until it is answered, and a mapping on lease that is
renewed.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Final

from punchd.core import Address, Datagram
from punchd.stun.transaction import Transaction

from .events import Failed, Lost, Mapped, Released

#: Where gateways listen (RFC 6886, 1.1; RFC 6887, 19.1).
PORT: Final = 5351

#: Seconds that a mapping is asked for (RFC 6886, 3.3).
LIFETIME: Final = 7200

#: 250 ms, doubled with each of nine attempts (RFC 6886, 3.1).  PCP would begin
#: with 3 s (RFC 6887, 8.1.1), for servers far away: ours is in our own network.
SCHEDULE: Final = tuple(0.25 * 2**attempt for attempt in range(9))

#: No lease is believed to last longer than this, in seconds (RFC 6887, 15).
_LONGEST: Final = 86400.0
#: Nor is one renewed earlier than after this (RFC 6887, 11.2.1).
_SOONEST: Final = 4.0
#: How often a gateway is asked whether it is still the same, in seconds: one that
#: was started anew has forgotten us.
VERIFY: Final = 600.0

_NO_ID: Final = bytes(12)


class Request(Enum):
    """
    What the gateway is being asked.
    """

    PROBE = "probe"
    MAP = "map"
    RELEASE = "release"
    #: To let the mapping end soon.
    SHORTEN = "shorten"
    #: To end the mapping, so that it can be asked for anew.
    REPLACE = "replace"


_ENDING: Final = (Request.RELEASE, Request.SHORTEN)
_RENEWING: Final = (Request.MAP, Request.REPLACE)


class Lease:
    """
    I ask one gateway for one mapping of a UDP port (contract of
    L{punchd.core}).  Subclasses know the bytes.

    @ivar gateway: the address that is asked.
    @ivar address: where others reach us, while there is a mapping.
    @ivar garbage: what came in vain, by reason.
    """

    def __init__(self, gateway: str, lifetime: int = LIFETIME) -> None:
        """
        @param gateway: the host of the gateway, without a scope.
        @param lifetime: seconds to ask for.
        """
        self.gateway: Address = (gateway, PORT)
        self.lifetime = lifetime
        self.address: Address | None = None
        self.garbage: Counter[str] = Counter()
        self._request: Request | None = None
        self._transaction: Transaction | None = None
        self._datagrams: list[Datagram] = []
        self._events: list[object] = []
        self._asked = False
        self._renewAt = self._expiresAt = self._verifyAt = 0.0
        self._epoch: tuple[int, float] | None = None

    # --- commands ------------------------------------------------------------

    def probe(self, now: float) -> None:
        """
        Find out whether the gateway speaks the protocol: L{Available
        <punchd.portmap.events.Available>} or L{Failed
        <punchd.portmap.events.Failed>} is told.
        """
        self._ask(Request.PROBE, now)

    def map(self, now: float) -> None:
        """
        Ask for the mapping: L{Mapped} or L{Failed} is told, and L{Lost} if it
        ends against our will.
        """
        self._ask(Request.MAP, now)

    def release(self, now: float) -> None:
        """
        Give the mapping back, also one that was asked for and may exist:
        L{Released} is told.
        """
        asked, self._asked, self.address = self._asked, False, None
        if asked:
            self._ask(Request.RELEASE, now)
        else:
            self._forget()
            self._events.append(Released())

    # --- what subclasses do ---------------------------------------------------

    def _message(self, request: Request) -> bytes:
        """
        @return: the bytes of the request.
        """
        raise NotImplementedError

    def _answered(self, data: bytes, now: float) -> str | None:
        """
        Take what came from the gateway.

        @return: why it was dropped, or L{None}.
        """
        raise NotImplementedError

    def _restarted(self, epoch: int, now: float) -> bool:
        """
        @param epoch: the gateway's seconds since it forgot all mappings.

        @return: whether they cannot go on from what it said last.
        """
        raise NotImplementedError

    # --- core contract ----------------------------------------------------------

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        A datagram came; only the gateway's count (RFC 6886, 3.1; RFC 6887,
        8.3).
        """
        why = "not the gateway"
        if remote == self.gateway:
            why = self._answered(data, now) or ""
        if why:
            self.garbage[why] += 1

    def timeReached(self, now: float) -> None:
        """
        Send again, renew, or give up.
        """
        transaction = self._transaction
        if transaction is not None:
            self._send(transaction, now)
            if transaction.timedOut:
                self._silent(now)
        if self.address is None:
            return
        if now >= self._expiresAt:
            self._lose("the router did not renew the mapping")
        elif now >= self._renewAt and self._request not in _RENEWING:
            self._ask(Request.MAP, now)
        elif now >= self._verifyAt and self._request is None:
            self._verifyAt = now + VERIFY
            self._ask(Request.PROBE, now)

    def takeDatagrams(self) -> list[Datagram]:
        """
        @return: what to send.
        """
        taken, self._datagrams = self._datagrams, []
        return taken

    def takeEvents(self) -> list[object]:
        """
        @return: what happened, of L{punchd.portmap.events}.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when to send again or to renew.
        """
        times = []
        if self._transaction is not None and self._transaction.deadline is not None:
            times.append(self._transaction.deadline)
        if self.address is not None:
            times.append(self._expiresAt)
            if self._request not in _RENEWING:
                times.append(self._renewAt)
            if self._request is None:
                times.append(self._verifyAt)
        return min(times, default=None)

    # --- the course of things -----------------------------------------------------

    def _ask(self, request: Request, now: float) -> None:
        self._request = request
        if request is Request.MAP:
            self._asked = True
        self._transaction = Transaction(
            self._message(request), self.gateway, _NO_ID, now, SCHEDULE
        )
        self._send(self._transaction, now)

    def _send(self, transaction: Transaction, now: float) -> None:
        datagram = transaction.poll(now)
        if datagram is not None:
            self._datagrams.append(datagram)

    def _forget(self) -> None:
        self._request = self._transaction = None

    def _silent(self, now: float) -> None:
        """
        No answer, for two minutes.
        """
        request = self._request
        self._forget()
        if request in _ENDING:
            self._events.append(Released())
        elif self.address is None:
            self._asked = False
            self._events.append(Failed("no answer"))
        elif request in _RENEWING:
            # RFC 6887, 11.2.1: at half of what is left, again and again.
            self._renewAt = now + max(_SOONEST, (self._expiresAt - now) / 2)

    def _refused(self, reason: str, code: int) -> None:
        """
        The gateway has answered: no.
        """
        request = self._request
        self._forget()
        if request in _ENDING:
            self._events.append(Released())
        elif self.address is None:
            self._asked = False
            self._events.append(Failed(reason, code))
        elif request is Request.MAP:
            self._lose(reason)

    def _lose(self, reason: str) -> None:
        self.address = None
        self._asked = False
        self._forget()
        self._events.append(Lost(reason))

    def _granted(self, address: Address, lifetime: int, now: float) -> None:
        """
        There is a mapping for so many seconds.
        """
        if lifetime <= 0 or not address[1]:
            self._refused("the router granted nothing", 0)
            return
        self._forget()
        if self.address is None:
            self._verifyAt = now + VERIFY
        self.address = address
        seconds = min(float(lifetime), _LONGEST)
        self._expiresAt = now + seconds
        self._renewAt = now + max(_SOONEST, seconds / 2)
        self._events.append(Mapped(address, seconds))

    def _heard(self, epoch: int, now: float) -> None:
        """
        Take the gateway's clock into account; if it was started anew, our mapping
        has to be made again at once.
        """
        restarted = self._epoch is not None and self._restarted(epoch, now)
        self._epoch = (epoch, now)
        if restarted and self.address is not None:
            self._renewAt = now
