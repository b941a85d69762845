"""
Relaying many datagrams that came the same way together, with one look at the
tables for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from punchd.core import Address, Burst

from .allocation import Allocation, Channel
from .server import Server

#: Shorter runs are dealt with faster one by one.
LONG: Final = 4

#: (payloads, local, remote): what came from one source to one address.
Run = tuple[list[bytes], Address, Address]


class RunServer(Server):
    """
    I am the server, and take runs as well: their effect is that of the datagrams
    one by one, in that order.  C{takeDatagrams} has L{Burst}s then, too.
    """

    def runsReceived(self, runs: Iterable[Run], now: float) -> None:
        """
        Datagrams came to relayed addresses, and ChannelData to listening ones;
        nothing else may be among what came to those.
        """
        table = self._table
        if table.due <= now:
            self.timeReached(now)
        for payloads, local, remote in runs:
            allocation = table.relays.get(local)
            if allocation is not None:
                self._runFromPeer(allocation, payloads, remote, now)
                continue
            clients = table.clients.get(local)
            allocation = None if clients is None else clients.get(remote)
            if allocation is None:
                self.counters["no allocation"] += len(payloads)
            else:
                self._runFromClient(allocation, payloads, now)

    def _runFromClient(
        self, allocation: Allocation, payloads: list[bytes], now: float
    ) -> None:
        """
        @see: L{Server._fromChannel}.
        """
        head = b""
        channel: Channel | None = None
        passed: list[bytes] = []
        for data in payloads:
            if data[:2] != head:
                if passed and channel is not None:
                    self._pass(allocation, channel, passed, now)
                    passed = []
                head = data[:2]
                channel = allocation.channels.get(int.from_bytes(head, "big"))
                if channel is not None and (
                    channel.expires <= now or channel.permission.expires <= now
                ):
                    channel = None
            length = len(data) - 4
            if channel is None or length < 0:
                # What is wrong is found out, and counted, one by one.
                self._fromChannel(allocation, data, now)
                continue
            told = data[2] << 8 | data[3]
            if told != length:
                if told > length:
                    self.counters["malformed"] += 1
                    continue
                length = told
            packets = allocation.sentPackets
            if packets >= allocation.sentDue and not (
                self._meter.passes(allocation, now)
            ):
                continue
            allocation.sentPackets = packets + 1
            allocation.sentBytes += length
            passed.append(data[4 : 4 + length])
        if passed and channel is not None:
            self._pass(allocation, channel, passed, now)

    def _pass(
        self,
        allocation: Allocation,
        channel: Channel,
        payloads: list[bytes],
        now: float,
    ) -> None:
        """
        Bring what came over a channel to its peer.
        """
        if not channel.own:
            self._datagrams.append(Burst(payloads, channel.relayed, channel.peer))
            return
        receiver = self._table.outside.get(channel.peer)
        origin = None if receiver is None else allocation.of(receiver.family)
        if receiver is None or origin is None:
            self.counters["no such relayed address"] += len(payloads)
        else:
            self._runFromPeer(receiver, payloads, origin.outside, now)

    def _runFromPeer(
        self, allocation: Allocation, payloads: list[bytes], peer: Address, now: float
    ) -> None:
        """
        @see: L{Server._fromPeer}.
        """
        channel = allocation.peers.get(peer)
        if (
            channel is None
            or channel.expires <= now
            or channel.permission.expires <= now
        ):
            for data in payloads:
                self._fromPeer(allocation, data, peer, now)
            return
        head = channel.head
        framed = []
        for data in payloads:
            packets = allocation.receivedPackets
            if packets >= allocation.receivedDue and not (
                self._meter.passes(allocation, now)
            ):
                continue
            size = len(data)
            allocation.receivedPackets = packets + 1
            allocation.receivedBytes += size
            framed.append(head + size.to_bytes(2, "big") + data)
        if framed:
            self._datagrams.append(Burst(framed, allocation.local, allocation.client))
