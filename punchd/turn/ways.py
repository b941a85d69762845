"""
What has been decided about datagrams that are still to come.

The server decides about each datagram with all of its tables.  Of a channel it can
say in advance what it would decide, until when, and for how many datagrams; with
that the shell passes them on by itself, and asks again when it is through.  Whatever
ends before its time, an allocation or a permission, ends the ways that rest on it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from punchd.core import Address

from .allocation import Allocation, Channel
from .table import AllocationTable
from .transport import isStream


class Way:
    """
    Where the data of one channel goes in one direction.

    @ivar until: after this (monotonic seconds) I am not to be used.
    @ivar head: the number of the channel that the data goes on in, two bytes; empty
        when it goes on as it is.
    @ivar local: the address that it leaves from.
    @ivar remote: where it goes.
    @ivar ended: called when I am not to be used any more before C{until}.
    """

    __slots__ = ("_receiver", "_sender", "ended", "head", "local", "remote", "until")

    def __init__(
        self,
        until: float,
        sender: Allocation | None,
        receiver: Allocation | None,
        head: bytes,
        local: Address,
        remote: Address,
    ) -> None:
        """
        @param sender: whose client has sent it, if a client has.
        @param receiver: whose client will get it, if a client will; one of the two
            there is.
        """
        self.until = until
        self._sender = sender
        self._receiver = receiver
        self.head = head
        self.local = local
        self.remote = remote
        self.ended: Callable[[], object] | None = None

    def room(self, now: float) -> int:
        """
        @return: for how many datagrams nobody has to be asked now, 0 or less for
            none.
        """
        if self.until <= now:
            return 0
        sender, receiver = self._sender, self._receiver
        if receiver is None:
            assert sender is not None
            return sender.sentDue - sender.sentPackets
        room = receiver.receivedDue - receiver.receivedPackets
        if sender is None:
            return room
        return min(room, sender.sentDue - sender.sentPackets)

    def passed(self, count: int, size: int) -> None:
        """
        So much has gone this way; not more than there was L{room} for.

        @param size: of the data, in bytes.
        """
        sender, receiver = self._sender, self._receiver
        if sender is not None:
            sender.sentPackets += count
            sender.sentBytes += size
        if receiver is not None:
            receiver.receivedPackets += count
            receiver.receivedBytes += size

    def end(self) -> None:
        """
        What I rest on is no more.
        """
        self.until = -inf
        ended, self.ended = self.ended, None
        if ended is not None:
            ended()


def wayFromClient(
    table: AllocationTable, local: Address, client: Address, number: int, now: float
) -> Way | None:
    """
    @param local: the listening address that ChannelData comes to.
    @param number: of the channel.

    @return: where it goes, when that can be told in advance.
    """
    sender = table.find(local, client)
    channel = None if sender is None else sender.channels.get(number)
    if sender is None or channel is None:
        return None
    until = _end(sender, channel)
    if not channel.own:
        return _made(until, now, sender, None, b"", channel.relayed, channel.peer)
    receiver = table.outside.get(channel.peer)
    origin = None if receiver is None else sender.of(receiver.family)
    if receiver is None or origin is None or isStream(receiver.local):
        return None
    back = receiver.peers.get(origin.outside)
    if back is None:
        return None
    until = min(until, _end(receiver, back))
    local, remote = receiver.local, receiver.client
    return _made(until, now, sender, receiver, back.head, local, remote)


def wayFromPeer(
    table: AllocationTable, relayed: Address, peer: Address, now: float
) -> Way | None:
    """
    @param relayed: the relayed address that data comes to.

    @return: where it goes, when that can be told in advance.
    """
    receiver = table.relays.get(relayed)
    channel = None if receiver is None else receiver.peers.get(peer)
    if receiver is None or channel is None or isStream(receiver.local):
        return None
    until = _end(receiver, channel)
    local, remote = receiver.local, receiver.client
    return _made(until, now, None, receiver, channel.head, local, remote)


def _end(allocation: Allocation, channel: Channel) -> float:
    return min(allocation.expires, channel.expires, channel.permission.expires)


def _made(
    until: float,
    now: float,
    sender: Allocation | None,
    receiver: Allocation | None,
    head: bytes,
    local: Address,
    remote: Address,
) -> Way | None:
    if until <= now:
        return None
    way = Way(until, sender, receiver, head, local, remote)
    for each in (sender, receiver):
        if each is not None:
            each.carries(way, now)
    return way
