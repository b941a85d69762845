"""
How the rendezvous comes to know where a client's packets really come from.

A registered client sends Binding requests (RFC 8489, 6.1.1) from the socket
that it is going to punch with, under the handle and key of its registration.
The answer tells the address that the request came from, and carries a nonce
that is good for this address only.  A request that brings the nonce back
proves that the client receives there, and the address counts as observed.  So
nobody can have others send to an address that is not his own.

No memory is kept of nonces: each is a keyed hash over handle, address and
time.  An answer is at most 80 bytes long.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from punchd.core import Address, Datagram, Entropy
from punchd.errors import MalformedMessage
from punchd.stun.attributes import Attribute
from punchd.stun.message import (
    TRANSACTION_ID,
    Message,
    MessageClass,
    Method,
    parse,
    request,
    success,
)
from punchd.stun.transaction import Transaction, fastSchedule

from .directory import Presence

#: Seconds in which nonces are the same; the one before is good as well.
PERIOD: Final = 120.0
_NONCE = 8

#: The round trip in seconds that is assumed before one was measured.
INITIAL_RTT: Final = 0.2
#: How often in a row an answer without proof is followed by a request at once.
MAX_HURRY: Final = 3
#: Seconds after which a server that did not answer is asked again.
RETRY: Final = 5.0


class Observer:
    """
    The server's half.

    @ivar counters: what was done or ignored, by name.
    """

    def __init__(
        self,
        presenceOf: Callable[[str], Presence | None],
        secret: bytes,
        sighted: Callable[[Presence, Address], None] = lambda presence, address: None,
    ) -> None:
        """
        @param presenceOf: from a handle to who has it.
        @param secret: 32 random bytes.
        @param sighted: called with each newly observed address.
        """
        self._presenceOf = presenceOf
        self._secret = secret
        self._sighted = sighted
        self.counters: Counter[str] = Counter()

    def handle(
        self, message: Message, local: Address, remote: Address, now: float
    ) -> list[Datagram]:
        """
        A Binding request with a USERNAME has come.

        @return: the answer; nothing to who does not prove to know the key.
        """
        handle = message.get(Attribute.USERNAME)
        presence = self._presenceOf(handle) if isinstance(handle, str) else None
        if (
            presence is None
            or message.messageClass is not MessageClass.REQUEST
            or not message.checkIntegrity(presence.key)
            or message.unknownRequired
        ):
            self.counters["unauthenticated"] += 1
            return []
        nonce = message.get(Attribute.NONCE)
        period = int(now // PERIOD)
        current = self._nonce(presence.handle, remote, period)
        if nonce is None:
            self.counters["asked"] += 1
        elif hmac.compare_digest(nonce, current) or hmac.compare_digest(
            nonce, self._nonce(presence.handle, remote, period - 1)
        ):
            self.counters["proven"] += 1
            if presence.sightings.add(remote, now):
                self._sighted(presence, remote)
            # The client takes the same nonce for the word that it was good.
            current = nonce
        else:
            self.counters["nonce of another address or time"] += 1
        answer = success(
            message,
            (Attribute.XOR_MAPPED_ADDRESS, remote),
            (Attribute.NONCE, current),
        )
        data = answer.serialize(key=presence.key, fingerprint=False)
        return [Datagram(data, local, remote)]

    def _nonce(self, handle: str, remote: Address, period: int) -> bytes:
        bound = f"{handle} {remote[0]} {remote[1]} {period}"
        return hmac.digest(self._secret, bound.encode("utf-8"), "sha256")[:_NONCE]


@dataclass(frozen=True, slots=True)
class MappedAddress:
    """
    A server sees our socket at C{mapped}.

    @ivar local: our own address, which the answer came to.
    @ivar server: who says so.
    @ivar rtt: the round trip to the server in seconds, if it was measured.
    """

    local: Address
    mapped: Address
    server: Address
    rtt: float | None


@dataclass(frozen=True, slots=True)
class MappingChanged:
    """
    A server sees our socket at another address than before: the NAT has lost
    the mapping, or we are behind another one.  A L{MappedAddress} follows.

    @ivar silence: the seconds since it answered last, L{None} if something else
        is known to have changed.
    """

    server: Address
    before: Address
    mapped: Address
    silence: float | None = None


@dataclass(frozen=True, slots=True)
class ServerSilent:
    """
    A server does not answer: UDP is filtered, or the server is down.
    """

    server: Address


class _Watch:
    """
    What is known by way of one server.
    """

    __slots__ = (
        "fresh",
        "heardAt",
        "hurry",
        "mapped",
        "nextAt",
        "nonce",
        "rtt",
        "server",
        "transaction",
    )

    def __init__(self, server: Address) -> None:
        self.server = server
        self.transaction: Transaction | None = None
        self.nonce: bytes | None = None
        self.mapped: Address | None = None
        self.nextAt: float | None = 0.0
        self.rtt: float | None = None
        self.hurry = 0
        self.fresh = True
        self.heardAt: float | None = None


class Observed:
    """
    The client's half, for the sockets of one family.

    The first server is asked again and again, which keeps the NAT's mapping
    alive; the others, which tell how the NAT behaves, only at the beginning
    and when the mapping has changed.

    @ivar proven: whether the first server has taken our address as proven.
    """

    def __init__(
        self,
        servers: Sequence[Address],
        handle: str,
        key: bytes,
        entropy: Entropy,
        *,
        keepalive: float = 15.0,
    ) -> None:
        """
        @param servers: addresses of the rendezvous, all of one family.
        @param handle: the user name that the registration gave.
        @param key: its key.
        @param keepalive: seconds between requests.
        """
        self._watches = [_Watch(server) for server in servers]
        self._byServer = {watch.server: watch for watch in self._watches}
        self._handle = handle
        self._key = key
        self._entropy = entropy
        self._keepalive = keepalive
        self._datagrams: list[Datagram] = []
        self._events: list[object] = []
        self.proven = False

    @property
    def rtt(self) -> float | None:
        """
        Seconds to the first server and back, or L{None}.
        """
        return self._watches[0].rtt if self._watches else None

    @property
    def heardAt(self) -> float | None:
        """
        When the first server has answered last, or L{None}.
        """
        return self._watches[0].heardAt if self._watches else None

    @property
    def mapped(self) -> Address | None:
        """
        Where the first server sees us, or L{None}.
        """
        return self._watches[0].mapped if self._watches else None

    # --- commands

    def setKeepalive(self, seconds: float, now: float) -> None:
        """
        Ask every so many seconds from now on.
        """
        self._keepalive = seconds
        for watch in self._watches[:1]:
            if watch.transaction is None and watch.nextAt is not None:
                watch.nextAt = min(watch.nextAt, now + seconds)

    def refresh(self, now: float) -> None:
        """
        Our addresses have changed, or the machine has slept: ask at once.
        """
        self.proven = False
        for watch in self._watches:
            watch.transaction = watch.heardAt = None
            watch.nextAt = now
        self.timeReached(now)

    # --- handlers

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        The answer of a server, or something else, which is ignored.
        """
        watch = self._byServer.get(remote)
        if watch is None or watch.transaction is None:
            return
        try:
            message = parse(data)
        except MalformedMessage:
            return
        if (
            message.transactionId != watch.transaction.transactionId
            or message.messageClass is not MessageClass.SUCCESS
            or message.method != Method.BINDING
            or not message.checkIntegrity(self._key)
        ):
            return
        mapped = message.get(Attribute.XOR_MAPPED_ADDRESS)
        nonce = message.get(Attribute.NONCE)
        if mapped is not None and nonce is not None:
            self._answered(watch, mapped, nonce, local, now)

    def _answered(
        self, watch: _Watch, mapped: Address, nonce: bytes, local: Address, now: float
    ) -> None:
        assert watch.transaction is not None
        measured = watch.transaction.finish(now)
        watch.transaction = None
        news = mapped != watch.mapped
        if measured is not None:
            news = news or watch.rtt is None
            watch.rtt = measured if watch.rtt is None else min(watch.rtt, measured)
        first = watch is self._watches[0]
        if watch.mapped is not None and watch.mapped != mapped:
            silence = None if watch.heardAt is None else now - watch.heardAt
            self._events.append(
                MappingChanged(watch.server, watch.mapped, mapped, silence)
            )
            if first:
                for other in self._watches[1:]:
                    other.nextAt = now
        watch.mapped = mapped
        watch.heardAt = now
        if news:
            self._events.append(MappedAddress(local, mapped, watch.server, watch.rtt))
        if nonce == watch.nonce:
            self.proven = self.proven or first
            watch.hurry = 0
        else:
            watch.nonce = nonce
            watch.hurry += 1
            if watch.hurry <= MAX_HURRY:
                self._ask(watch, now)
                return
            watch.hurry = 0
        part = 1.0
        if watch.fresh:
            # Many clients may have registered at the same time: out of step.
            watch.fresh = False
            part = 0.5 + 0.5 * self._entropy(1)[0] / 255
        watch.nextAt = now + part * self._keepalive if first else None

    def timeReached(self, now: float) -> None:
        """
        Ask, ask again, or give up for now.
        """
        for watch in self._watches:
            if watch.transaction is not None:
                self._poll(watch, now)
            elif watch.nextAt is not None and watch.nextAt <= now:
                self._ask(watch, now)

    def _ask(self, watch: _Watch, now: float) -> None:
        transactionId = self._entropy(TRANSACTION_ID)
        message = request(
            Method.BINDING, transactionId, (Attribute.USERNAME, self._handle)
        )
        if watch.nonce is not None:
            message.add(Attribute.NONCE, watch.nonce)
        watch.transaction = Transaction(
            message.serialize(key=self._key),
            watch.server,
            transactionId,
            now,
            # What only keeps the mapping may wait for its answer.
            fastSchedule((watch.rtt or INITIAL_RTT) * (3 if self.proven else 1)),
        )
        watch.nextAt = None
        self._poll(watch, now)

    def _poll(self, watch: _Watch, now: float) -> None:
        assert watch.transaction is not None
        datagram = watch.transaction.poll(now)
        if datagram is not None:
            self._datagrams.append(datagram)
        elif watch.transaction.timedOut:
            watch.transaction = None
            watch.nextAt = now + RETRY
            if watch is self._watches[0]:
                self.proven = False
            self._events.append(ServerSilent(watch.server))

    # --- drains

    def takeDatagrams(self) -> list[Datagram]:
        """
        @return: the requests to send now.
        """
        taken, self._datagrams = self._datagrams, []
        return taken

    def takeEvents(self) -> list[object]:
        """
        @return: L{MappedAddress}, L{MappingChanged} and L{ServerSilent}.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when the next request is due.
        """
        due = [
            watch.nextAt if watch.transaction is None else watch.transaction.deadline
            for watch in self._watches
        ]
        return min((each for each in due if each is not None), default=None)
