"""
The relay: a TURN server (RFC 8656).

Data passes with dictionary lookups and without messages: by the client's
address to its allocation and from there by channel number to the peer, or by
the relayed address to the allocation and from there by the peer's address to
the channel.  What one client sends to another's relayed address never leaves
the process.

The shell feeds all that comes to a listening address, Binding requests
excepted, and all that comes to a relayed address.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from punchd.core import Address, Datagram, Entropy
from punchd.errors import MalformedMessage
from punchd.stun.address import isForbiddenPeer
from punchd.stun.attributes import Attribute
from punchd.stun.limit import NoLimit, PrefixLimit
from punchd.stun.message import Message, MessageClass, isMessage, parse

from .allocating import Allocating
from .allocation import Allocation
from .authentication import Authenticator, Principal, features
from .channeldata import DATA_INDICATION, indication, readIndication, readWhole
from .complaint import complaint
from .events import AllocationClosed, AllocationOpened, SendWhole
from .guards import Guard
from .limits import Limits, Meter
from .methods import REQUESTS, Methods
from .nonce import Nonces
from .permission import PeerPolicy
from .table import AllocationTable, RelayPorts

_SEND = b"\x00\x16"

#: More would not fit into a datagram with the largest of headers before it.
_LARGEST = 65000


class Server:
    """
    I relay for those whom a guard lets in.

    @ivar counters: what was dropped or refused, by reason; error responses by
        their code.
    """

    def __init__(
        self,
        *,
        realm: str,
        guards: Sequence[Guard],
        ports: RelayPorts,
        entropy: Entropy,
        software: str | None = None,
        external: Mapping[str, str] | None = None,
        ownHosts: Iterable[str] = (),
        limits: Limits | None = None,
        limit: PrefixLimit | NoLimit | None = None,
        forbidden: Callable[[str], bool] = isForbiddenPeer,
        nonceKey: bytes | None = None,
        whole: bool = False,
    ) -> None:
        """
        @param realm: of the long-term credentials, at most 24 bytes.
        @param guards: who know the users, asked in this order.
        @param software: told to those who have authenticated.
        @param external: the public host of each local one that relayed
            addresses are bound to, behind a 1:1 NAT.
        @param ownHosts: hosts of this machine, which are no peers.
        @param limit: how much is answered to the unauthenticated.
        @param forbidden: the deny list; another one only for laboratories.
        @param nonceKey: shared by processes that share a port.
        @param whole: whether the shell can carry out L{SendWhole}.

        @raise ValueError: the realm is too long.
        """
        self.counters: Counter[str] = Counter()
        self._software = software
        self._datagrams: list[Any] = []
        self._events: list[object] = []
        # The ids of indications need not be secret, only different.
        self._idPrefix = entropy(8)
        self._idCounter = 0
        self._nonces = Nonces(nonceKey or entropy(32), features=features(guards))
        limits = limits or Limits()
        self._meter = meter = Meter(limits, self.counters)
        self._table = table = AllocationTable(ports, meter, external or {}, ownHosts)
        self._policy = PeerPolicy(table.outsideHosts, table.ownHosts, forbidden)
        self._authenticator = Authenticator(
            realm,
            guards,
            self._nonces,
            PrefixLimit() if limit is None else limit,
            self.counters,
        )
        self._whole = whole
        self._allocating = Allocating(table, meter, entropy, self._opened)
        self._methods = Methods(
            table, limits, self._policy, self._allocating, self._closed, whole
        )

    def nonceFor(self, username: str, now: float) -> bytes:
        """
        @return: a nonce to hand out over signaling beside the credentials: it
            is good for an hour with that user name, from every source.
        """
        return self._nonces.forUsername(username, now)

    def allocations(self) -> list[Allocation]:
        """
        @return: what lives now.
        """
        return [each for each in self._table.relays.values() if not each.reserved]

    def relayHosts(self) -> frozenset[str]:
        """
        @return: the public hosts on which relayed addresses live now.
        """
        return frozenset(self._table.outsideHosts)

    def revoke(self, username: str, now: float) -> None:
        """
        End the allocations of a user.
        """
        for each in self.allocations():
            if each.username == username:
                self._closed(each, "revoked", now)

    def holds(self, local: Address, client: Address) -> bool:
        """
        @return: whether there is an allocation with that 5-tuple.
        """
        return self._table.find(local, client) is not None

    def disconnected(self, local: Address, client: Address, now: float) -> None:
        """
        A client's connection is gone, and its allocation with it (RFC 8656, 3.1).
        """
        allocation = self._table.find(local, client)
        if allocation is not None:
            twin = allocation.twin
            self._closed(allocation, "disconnected", now)
            if twin is not None:
                self._closed(twin, "disconnected", now)

    # --- handlers -----------------------------------------------------------

    def datagramReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        @param local: the listening or relayed address it came to; a TCP one
            bears its mark, see L{punchd.turn.transport}.
        """
        table = self._table
        if table.due <= now:
            self.timeReached(now)
        allocation = table.relays.get(local)
        if allocation is not None:
            self._fromPeer(allocation, data, remote, now)
            return
        if not data:
            self.counters["empty"] += 1
            return
        first = data[0]
        if 0x40 <= first < 0x80:
            clients = table.clients.get(local)
            allocation = None if clients is None else clients.get(remote)
            if allocation is None:
                self.counters["no allocation"] += 1
            else:
                self._fromChannel(allocation, data, now)
        elif data[:2] == _SEND and isMessage(data):
            self._sendReceived(data, local, remote, now)
        elif first < 0x40:
            try:
                message = parse(data, lenient=True)
            except MalformedMessage:
                self.counters["malformed"] += 1
            else:
                self.messageReceived(message, local, remote, now)
        else:
            self.counters["malformed"] += 1

    def messageReceived(
        self, message: Message, local: Address, remote: Address, now: float
    ) -> None:
        """
        A message came to a listening address that somebody has parsed.
        """
        if self._table.due <= now:
            self.timeReached(now)
        if message.messageClass is not MessageClass.REQUEST:
            self.counters["not a request"] += 1
            return
        if message.method not in REQUESTS:
            self.counters["unknown method"] += 1
            return
        allocation = self._table.find(local, remote)
        who = self._authenticator.check(message, remote, allocation, now)
        if isinstance(who, Principal):
            answer = self._methods.answer(message, who, allocation, local, remote, now)
            if answer is None:
                return
            if answer.messageClass is MessageClass.ERROR:
                self.counters[str(answer.get(Attribute.ERROR_CODE)[0])] += 1
            if self._software is not None:
                answer.add(Attribute.SOFTWARE, self._software)
            data = answer.serialize(
                key=who.key,
                integrity="sha256" if message.hasSha256 else "sha1",
                fingerprint=message.hasFingerprint,
            )
        elif who is None:
            return
        else:
            data = who.serialize(fingerprint=message.hasFingerprint)
        self._datagrams.append(Datagram(data, local, remote))

    def errorReported(
        self, local: Address, remote: Address, error: tuple[int, int, int], now: float
    ) -> None:
        """
        What was sent from a relayed address has not arrived: tell the client (RFC
        8656, 11.5).

        @param error: the ICMP type and code, and the MTU.
        """
        allocation = self._table.relays.get(local)
        told = allocation and complaint(allocation, self._nextId(), remote, error, now)
        if told:
            self.counters["ICMP"] += 1
            self._datagrams.append(told)

    def timeReached(self, now: float) -> None:
        """
        Remove what has expired.
        """
        for allocation in self._table.takeExpired(now):
            self._closed(allocation, "expired", now)

    # --- drains -------------------------------------------------------------

    def takeDatagrams(self) -> list[Datagram]:
        """
        @return: what is to be sent, with the listening or relayed address to
            send it from in C{local}.
        """
        taken, self._datagrams = self._datagrams, []
        return taken

    def takeEvents(self) -> list[object]:
        """
        @return: L{AllocationOpened}, L{AllocationClosed} and L{SendWhole}.
        """
        taken, self._events = self._events, []
        return taken

    def deadline(self) -> float | None:
        """
        @return: when the next allocation may expire.
        """
        due = self._table.due
        return None if due == math.inf else due

    # --- data ---------------------------------------------------------------

    def _fromChannel(self, allocation: Allocation, data: bytes, now: float) -> None:
        """
        ChannelData came from a client (RFC 8656, 12.6).
        """
        size = len(data)
        if size < 4:
            self.counters["malformed"] += 1
            return
        channel = allocation.channels.get(data[0] << 8 | data[1])
        if channel is None or channel.expires <= now:
            self.counters["no channel"] += 1
            return
        if channel.permission.expires <= now:
            self.counters["no permission"] += 1
            return
        length = data[2] << 8 | data[3]
        if length > size - 4:
            self.counters["malformed"] += 1
            return
        packets = allocation.sentPackets
        if packets >= allocation.sentDue and not self._meter.passes(allocation, now):
            return
        payload = data[4 : 4 + length]
        allocation.sentPackets = packets + 1
        allocation.sentBytes += length
        if channel.own:
            self._deliver(allocation, payload, channel.peer, now)
        else:
            self._datagrams.append(Datagram(payload, channel.relayed, channel.peer))

    def _sendReceived(
        self, data: bytes, local: Address, remote: Address, now: float
    ) -> None:
        """
        A Send indication came from a client (RFC 8656, 11.2).
        """
        allocation = self._table.find(local, remote)
        if allocation is None:
            self.counters["no allocation"] += 1
            return
        read = readIndication(data)
        whole = False
        if read is None:
            read = readWhole(data) if self._whole else None
            if read is None:
                self.counters["malformed"] += 1
                return
            whole = True
        peer, payload = read
        permission = allocation.permissions.get(peer[0])
        if permission is None or permission.expires <= now or not peer[1]:
            self.counters["no permission"] += 1
            return
        packets = allocation.sentPackets
        if packets >= allocation.sentDue and not self._meter.passes(allocation, now):
            return
        allocation.sentPackets = packets + 1
        allocation.sentBytes += len(payload)
        if self._policy.isOwn(peer[0]):
            self._deliver(allocation, payload, peer, now)
            return
        datagram = Datagram(payload, permission.relayed, peer)
        if whole:
            self._events.append(SendWhole(datagram))
        else:
            self._datagrams.append(datagram)

    def _deliver(
        self, sender: Allocation, data: bytes, peer: Address, now: float
    ) -> None:
        """
        Bring data to another relayed address of ours, and to nothing else.
        """
        receiver = self._table.outside.get(peer)
        origin = None if receiver is None else sender.of(receiver.family)
        if receiver is None or origin is None:
            self.counters["no such relayed address"] += 1
        else:
            self._fromPeer(receiver, data, origin.outside, now)

    def _fromPeer(
        self, allocation: Allocation, data: bytes, peer: Address, now: float
    ) -> None:
        """
        A datagram came to a relayed address (RFC 8656, 11.3 and 12.7).
        """
        channel = allocation.peers.get(peer)
        if channel is not None and channel.expires > now:
            if channel.permission.expires <= now:
                self.counters["no permission"] += 1
                return
            size = len(data)
            framed = channel.head + size.to_bytes(2, "big") + data
        else:
            permission = allocation.permissions.get(peer[0])
            if permission is None or permission.expires <= now:
                self.counters["no permission"] += 1
                return
            size = len(data)
            if size > _LARGEST:
                self.counters["too large"] += 1
                return
            framed = indication(DATA_INDICATION, self._nextId(), peer, data)
        packets = allocation.receivedPackets
        if packets >= allocation.receivedDue and not (
            self._meter.passes(allocation, now)
        ):
            return
        allocation.receivedPackets = packets + 1
        allocation.receivedBytes += size
        self._datagrams.append(Datagram(framed, allocation.local, allocation.client))

    def _nextId(self) -> bytes:
        self._idCounter = self._idCounter + 1 & 0xFFFFFFFF
        return self._idPrefix + self._idCounter.to_bytes(4, "big")

    # --- allocations --------------------------------------------------------

    def _opened(self, allocation: Allocation) -> None:
        self._events.append(AllocationOpened.of(allocation))

    def _closed(self, allocation: Allocation, reason: str, now: float) -> None:
        self._table.remove(allocation, now)
        if not allocation.reserved:
            self._events.append(AllocationClosed.of(allocation, reason))
