"""
Relaying datagrams with one look at the tables, and one datagram's worth of
objects, for all that came together and go the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from sys import maxsize
from typing import Final

from punchd.core import Address, Burst

from .allocation import Allocation, Channel
from .limits import Limits
from .server import Server
from .ways import Way, wayFromClient, wayFromPeer

#: Whether datagrams are alike is looked at when there are so many.
LONG: Final = 4

#: (payloads, local, remote): what came from one source to one address.
Run = tuple[list[bytes], Address, Address]
#: What goes to peers by the channel, what goes to clients by allocation.
Bursts = dict[Channel | Allocation, list[bytes]]


class RunServer(Server):
    """
    I am the server, and take runs as well: their effect is that of the datagrams
    one by one, in that order for each way.  C{takeDatagrams} has L{Burst}s then,
    too.
    """

    def use(self, limits: Limits) -> None:
        """
        From now on these limits hold.
        """
        self._meter.use(limits)
        self._methods.use(limits)
        for each in self.allocations():
            if each.sentDue == maxsize:
                # What has gone unmetered was free.
                each.chargedPackets = each.sentPackets + each.receivedPackets
                each.chargedBytes = each.sentBytes + each.receivedBytes
            each.sentDue = each.receivedDue = 0

    def wayFromClient(
        self, local: Address, client: Address, number: int, now: float
    ) -> Way | None:
        """
        @see: L{wayFromClient}.
        """
        return wayFromClient(self._table, local, client, number, now)

    def wayFromPeer(self, relayed: Address, peer: Address, now: float) -> Way | None:
        """
        @see: L{wayFromPeer}.
        """
        return wayFromPeer(self._table, relayed, peer, now)

    def runsReceived(self, runs: Iterable[Run], now: float) -> None:
        """
        Datagrams came to relayed addresses, and ChannelData to listening ones;
        nothing else may be among what came to those.
        """
        table = self._table
        if table.due <= now:
            self.timeReached(now)
        bursts: Bursts = {}
        relays, listening = table.relays, table.clients
        for payloads, local, remote in runs:
            allocation = relays.get(local)
            if allocation is not None:
                self._runFromPeer(allocation, payloads, remote, now, bursts)
                continue
            clients = listening.get(local)
            allocation = None if clients is None else clients.get(remote)
            if allocation is None:
                self.counters["no allocation"] += len(payloads)
            else:
                self._runFromClient(allocation, payloads, now, bursts)

    def _runFromClient(
        self,
        allocation: Allocation,
        payloads: list[bytes],
        now: float,
        bursts: Bursts,
    ) -> None:
        """
        @see: L{Server._fromChannel}.
        """
        if len(payloads) >= LONG:
            payloads = self._alikeFromClient(allocation, payloads, now, bursts)
        packets, size = allocation.sentPackets, 0
        due = allocation.sentDue
        last = -1
        channel: Channel | None = None
        passed: list[bytes] = []
        for data in payloads:
            length = len(data) - 4
            if length < 0:
                self.counters["malformed"] += 1
                continue
            number = data[0] << 8 | data[1]
            if number != last:
                if passed and channel is not None:
                    self._pass(allocation, channel, passed, now, bursts)
                    passed = []
                last = number
                channel = allocation.channels.get(number)
                if channel is not None and not channel.carries(now):
                    channel = None
            if channel is None:
                # What is wrong is found out, and counted, one by one.
                self._fromChannel(allocation, data, now)
                continue
            told = data[2] << 8 | data[3]
            if told > length:
                self.counters["malformed"] += 1
                continue
            if packets >= due:
                allocation.sentPackets = packets
                allocation.sentBytes += size
                size = 0
                allowed = self._meter.passes(allocation, now)
                due = allocation.sentDue
                if not allowed:
                    continue
            packets += 1
            size += told
            passed.append(data[4:] if told == length else data[4 : 4 + told])
        allocation.sentPackets = packets
        allocation.sentBytes += size
        if passed and channel is not None:
            self._pass(allocation, channel, passed, now, bursts)

    def _alikeFromClient(
        self,
        allocation: Allocation,
        payloads: list[bytes],
        now: float,
        bursts: Bursts,
    ) -> list[bytes]:
        """
        Deal with ChannelData of one channel and one size, as batches of the kernel
        are but for the last one.

        @return: what is left.
        """
        first = payloads[0]
        size, head = len(first), first[:4]
        alike = payloads if len(payloads[-1]) == size else payloads[:-1]
        count = len(alike)
        channel = allocation.channels.get(int.from_bytes(head[:2], "big"))
        if (
            channel is None
            or not channel.carries(now)
            or int.from_bytes(head[2:], "big") != size - 4
            or allocation.sentPackets + count > allocation.sentDue
            or list(map(len, alike)).count(size) < count
            or [each[:4] for each in alike].count(head) < count
        ):
            return payloads
        allocation.sentPackets += count
        allocation.sentBytes += count * (size - 4)
        self._pass(allocation, channel, [each[4:] for each in alike], now, bursts)
        return payloads[count:]

    def _pass(
        self,
        allocation: Allocation,
        channel: Channel,
        payloads: list[bytes],
        now: float,
        bursts: Bursts,
    ) -> None:
        """
        Bring what came over a channel to its peer.
        """
        if not channel.own:
            before = bursts.get(channel)
            if before is None:
                bursts[channel] = payloads
                self._datagrams.append(Burst(payloads, channel.relayed, channel.peer))
            else:
                before += payloads
            return
        receiver = self._table.outside.get(channel.peer)
        origin = None if receiver is None else allocation.of(receiver.family)
        if receiver is None or origin is None:
            self.counters["no such relayed address"] += len(payloads)
        else:
            self._runFromPeer(receiver, payloads, origin.outside, now, bursts)

    def _runFromPeer(
        self,
        allocation: Allocation,
        payloads: list[bytes],
        peer: Address,
        now: float,
        bursts: Bursts,
    ) -> None:
        """
        @see: L{Server._fromPeer}.
        """
        channel = allocation.peers.get(peer)
        if channel is None or not channel.carries(now):
            # What comes for the client later is not to overtake these.
            bursts.pop(allocation, None)
            for data in payloads:
                self._fromPeer(allocation, data, peer, now)
            return
        head = channel.head
        packets, total = allocation.receivedPackets, 0
        due = allocation.receivedDue
        last = -1
        prefix = b""
        framed = []
        count = len(payloads)
        if count >= LONG and packets + count <= due:
            size = len(payloads[0])
            if list(map(len, payloads)).count(size) == count:
                prefix = head + size.to_bytes(2, "big")
                framed = [prefix + data for data in payloads]
                packets += count
                total = count * size
                payloads = []
        for data in payloads:
            if packets >= due:
                allocation.receivedPackets = packets
                allocation.receivedBytes += total
                total = 0
                allowed = self._meter.passes(allocation, now)
                due = allocation.receivedDue
                if not allowed:
                    continue
            size = len(data)
            if size != last:
                last = size
                prefix = head + size.to_bytes(2, "big")
            packets += 1
            total += size
            framed.append(prefix + data)
        allocation.receivedPackets = packets
        allocation.receivedBytes += total
        if not framed:
            return
        before = bursts.get(allocation)
        if before is None:
            bursts[allocation] = framed
            self._datagrams.append(Burst(framed, allocation.local, allocation.client))
        else:
            before += framed
