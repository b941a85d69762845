"""
One allocation of ours on one relay (RFC 8656, 6 to 12), from a socket that
others use too.

Nothing waits for what it need not wait for: with realm and nonce known
beforehand an allocation takes one round trip; data for a host goes out right
behind the request for its permission; and data goes in indications until its
channel is bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

from punchd.core import Address, Datagram, Entropy
from punchd.errors import MalformedMessage
from punchd.stun.address import FAMILY_IPV6, canonicalHost, family
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import HEADER, Message, Method, isMessage, parse

from .channeldata import SEND_INDICATION, channelData, indication, readIndication
from .events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    PermissionFailed,
    RelayedDatagram,
    Released,
)
from .peers import Peers
from .request import Attributes, Requests, codeOf, reasonOf

__all__ = [
    "Allocated",
    "AllocationFailed",
    "AllocationLost",
    "Client",
    "PermissionFailed",
    "RelayedDatagram",
    "Released",
    "State",
]

#: After an unanswered Refresh, seconds until the next one.
RETRY = 5.0

_DATA = b"\x00\x17"


class State(Enum):
    """
    What there is of the allocation.
    """

    IDLE = "idle"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    RELEASING = "releasing"


class Client:
    """
    @ivar counters: what was dropped, by reason.
    @ivar relayed: the relayed address while there is one.
    @ivar mapped: where the server saw us when it allocated.
    """

    def __init__(
        self,
        server: Address,
        *,
        entropy: Entropy,
        family: int = 4,
        reliable: bool = False,
    ) -> None:
        """
        @param family: 4 or 6, of the relayed address.
        @param reliable: the server is reached by a stream: nothing is sent twice.
        """
        self._reliable = reliable
        self.server = server
        self.counters: Counter[str] = Counter()
        self.relayed: Address | None = None
        self.mapped: Address | None = None
        self._family = family
        self._state = State.IDLE
        self._entropy = entropy
        self._datagrams: list[Datagram] = []
        self._events: list[object] = []
        self._requests = Requests(
            server, entropy, self._out, self.counters, reliable=reliable
        )
        self._peers = Peers(self._requests.ask, self._emit, self._lost)
        self._refreshAt: float | None = None
        self._refreshing = self._unanswered = False
        self._expires = 0.0
        self._cleared = False

    @property
    def state(self) -> State:
        """
        What there is of the allocation.
        """
        return self._state

    @property
    def refreshing(self) -> bool:
        """
        Whether the server has been asked if the allocation lives, in vain so far.
        """
        return self._refreshing or self._unanswered

    @property
    def rtt(self) -> float:
        """
        The round trip to the server in seconds, estimated or measured.
        """
        return self._requests.rtt

    @rtt.setter
    def rtt(self, seconds: float) -> None:
        self._requests.rtt = seconds

    @property
    def permitted(self) -> frozenset[str]:
        """
        The hosts that the server has let us exchange datagrams with.
        """
        return self._peers.permitted

    # --- commands -----------------------------------------------------------

    def allocate(
        self,
        username: str,
        password: str,
        realm: str | None,
        nonce: bytes | None,
        now: float,
    ) -> None:
        """
        Ask for a relayed address: L{Allocated} or L{AllocationFailed} follows.
        While there is one, or one is asked for, this does nothing.

        @param realm: as signaled, or L{None} to let the server tell.
        @param nonce: likewise.
        """
        if self._state in (State.ALLOCATING, State.ALLOCATED):
            return
        self._requests.clear()
        self._requests.setCredentials(username, password, realm or "", nonce or b"")
        self._cleared = False
        self._allocate(now)

    def permit(self, hosts: Iterable[str], now: float) -> None:
        """
        Let these hosts reach us, now or as soon as there is an allocation,
        and keep it so.  Hosts of another family than the relayed address are
        passed over.
        """
        for host in hosts:
            try:
                host = canonicalHost(host)
            except ValueError:
                self.counters["not a host"] += 1
                continue
            if family((host, 0)) == self._family:
                self._peers.permit(host, now)
            else:
                self.counters["other family"] += 1

    def forget(self, hosts: Iterable[str]) -> None:
        """
        Do not refresh the permissions of these hosts any more.
        """
        for host in hosts:
            self._peers.forget(host)

    def send(self, data: bytes, peer: Address, now: float) -> None:
        """
        Send through the relay; without an allocation it is dropped.

        @param peer: with the host in canonical form.
        """
        if self._state is not State.ALLOCATED:
            self.counters["not allocated"] += 1
            return
        number = self._peers.channelTo(peer, now)
        if number is not None:
            framed = channelData(number, data)
        elif family(peer) != self._family:
            self.counters["other family"] += 1
            return
        elif not self._peers.permitForData(peer[0], now):
            self.counters["refused"] += 1
            return
        else:
            framed = indication(SEND_INDICATION, self._entropy(12), peer, data)
        self._datagrams.append(Datagram(framed, None, self.server))
        if number is None:
            self._peers.bind(peer, now)

    def refresh(self, now: float) -> None:
        """
        Find out now whether the allocation still lives, since the network
        has changed: L{AllocationLost} follows if not.
        """
        if self._state is State.ALLOCATED:
            self._refresh(now)

    def release(self, now: float) -> None:
        """
        Give the relayed address back, even one that the server may have given
        and whose answer is on its way: L{Released} follows.
        """
        asked = self._state is State.ALLOCATING and self._requests.signing
        given = asked or self._state is State.ALLOCATED
        self._reset()
        self._peers.clear()
        if not given:
            return
        self._state = State.RELEASING
        self._requests.ask(
            Method.REFRESH, ((Attribute.LIFETIME, 0),), self._releaseAnswered, now
        )

    # --- handlers -----------------------------------------------------------

    def expects(self, data: bytes) -> bool:
        """
        @return: whether a datagram from the server is for this allocation,
            rather than for somebody else on the same socket who talks STUN
            with it.
        """
        if data and 0x40 <= data[0] < 0x80:
            return True
        return data[:2] == _DATA or self._requests.expects(data[8:HEADER])

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        @param data: STUN or ChannelData; all else is counted and dropped.
        """
        if remote != self.server:
            self.counters["not the server"] += 1
            return
        if data and 0x40 <= data[0] < 0x80:
            self._channelData(data, now)
        elif data[:2] == _DATA and isMessage(data):
            read = readIndication(data)
            if read is None or self._state is not State.ALLOCATED:
                self.counters["stray data"] += 1
            else:
                self._events.append(RelayedDatagram(read[1], read[0]))
        else:
            try:
                message = parse(data)
            except MalformedMessage:
                self.counters["malformed"] += 1
            else:
                self._requests.responseReceived(message, now)

    def timeReached(self, now: float) -> None:
        """
        Retransmit, refresh, give up.
        """
        self._requests.timeReached(now)
        if self._state is not State.ALLOCATED:
            return
        if now >= self._expires:
            self._lost("expired")
            return
        if self._refreshAt is not None and now >= self._refreshAt:
            self._refresh(now)
        self._peers.timeReached(now)

    # --- drains -------------------------------------------------------------

    def takeDatagrams(self) -> Sequence[Datagram]:
        """
        @return: what is to be sent to the server.
        """
        taken, self._datagrams = self._datagrams, []
        return taken

    def takeEvents(self) -> list[object]:
        """
        @return: what of L{punchd.turn.events} has happened.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: the next retransmission, refresh or expiry.
        """
        times = [self._requests.deadline]
        if self._state is State.ALLOCATED:
            times += [self._refreshAt, self._peers.deadline, self._expires]
        return min((each for each in times if each is not None), default=None)

    # --- the allocation -----------------------------------------------------

    def _out(self, datagram: Datagram) -> None:
        self._datagrams.append(datagram)

    def _emit(self, event: object) -> None:
        self._events.append(event)

    def _allocate(self, now: float) -> None:
        self._state = State.ALLOCATING
        attributes: Attributes = ((Attribute.REQUESTED_TRANSPORT, UDP),)
        if self._family == 6:
            attributes += ((Attribute.REQUESTED_ADDRESS_FAMILY, FAMILY_IPV6),)
        self._requests.ask(Method.ALLOCATE, attributes, self._allocateAnswered, now)

    def _allocateAnswered(self, message: Message | None, now: float) -> None:
        """
        RFC 8656, 7.3 and 7.4.
        """
        code = codeOf(message)
        if message is not None and not code:
            relayed = message.get(Attribute.XOR_RELAYED_ADDRESS)
            lifetime = float(message.get(Attribute.LIFETIME, 0))
            if relayed is not None and lifetime > 0:
                self.relayed = relayed
                self.mapped = message.get(Attribute.XOR_MAPPED_ADDRESS)
                self._state = State.ALLOCATED
                self._expires = now + lifetime
                self._refreshAt = now + lifetime / 2
                self._emit(Allocated(relayed, self.mapped, lifetime))
                self._peers.allocated(now)
                return
        if code == 437 and not self._cleared:
            # Left over from who had this port before: give that back first.
            self._cleared = True
            self._requests.ask(
                Method.REFRESH, ((Attribute.LIFETIME, 0),), self._oldReleased, now
            )
            return
        self._reset()
        self._emit(AllocationFailed(code, reasonOf(message)))

    def _oldReleased(self, message: Message | None, now: float) -> None:
        if codeOf(message) == 0 and message is not None:
            self._allocate(now)
        else:
            self._reset()
            self._emit(AllocationFailed(437, "the port has another allocation"))

    def _refresh(self, now: float) -> None:
        self._refreshAt = None
        if not self._refreshing:
            self._refreshing = True
            self._requests.ask(Method.REFRESH, (), self._refreshAnswered, now)

    def _refreshAnswered(self, message: Message | None, now: float) -> None:
        """
        RFC 8656, 8.3.
        """
        self._refreshing = False
        self._unanswered = message is None
        code = codeOf(message)
        if message is None and not self._reliable:
            self._refreshAt = now + RETRY
        elif message is None or code:
            self._lost(reasonOf(message))
        else:
            lifetime = float(message.get(Attribute.LIFETIME, 0))
            self._expires = now + lifetime
            self._refreshAt = now + lifetime / 2

    def _releaseAnswered(self, message: Message | None, now: float) -> None:
        self._state = State.IDLE
        self._emit(Released())

    def _lost(self, reason: str) -> None:
        self._reset()
        self._emit(AllocationLost(reason))

    def _reset(self) -> None:
        self._state = State.IDLE
        self.relayed = self.mapped = None
        self._refreshAt = None
        self._refreshing = self._unanswered = False
        self._requests.clear()
        self._peers.lost()

    def _channelData(self, data: bytes, now: float) -> None:
        peer = None
        if len(data) >= 4:
            peer = self._peers.peerOf(data[0] << 8 | data[1])
        length = data[2] << 8 | data[3] if len(data) >= 4 else 0
        if peer is None or length > len(data) - 4:
            self.counters["stray data"] += 1
            return
        self._events.append(RelayedDatagram(data[4 : 4 + length], peer))
