"""
What the relay remembers of one client (RFC 8656, 2.2, 9 and 12).

These are kept small: ten thousand of them are to fit into a few megabytes.
What has expired is not looked for; it is noticed when it is used, and removed
when there is no room for something new.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from punchd.core import Address

from .guards import Guard

if TYPE_CHECKING:
    from .limits import Account
    from .ways import Way

#: Seconds; RFC 8656, 3.2, 9 and 12.
DEFAULT_LIFETIME: Final = 600.0
MAXIMUM_LIFETIME: Final = 3600.0
PERMISSION_LIFETIME: Final = 300.0
CHANNEL_LIFETIME: Final = 600.0


class Permission:
    """
    @ivar expires: after this, nothing goes to or comes from the host.
    @ivar relayed: what datagrams to the host leave from.
    """

    __slots__ = ("expires", "relayed")

    def __init__(self, relayed: Address) -> None:
        self.expires = 0.0
        self.relayed = relayed


class Channel:
    """
    @ivar head: the first two bytes of its ChannelData.
    @ivar permission: that of the peer's host, without which the channel
        carries nothing.
    @ivar own: whether the peer is on a host of ours and is to be looked up
        among the relayed addresses.
    """

    __slots__ = ("expires", "head", "number", "own", "peer", "permission", "relayed")

    def __init__(
        self, number: int, peer: Address, permission: Permission, own: bool
    ) -> None:
        self.number = number
        self.head = number.to_bytes(2, "big")
        self.peer = peer
        self.permission = permission
        self.relayed = permission.relayed
        self.own = own
        self.expires = 0.0

    def carries(self, now: float) -> bool:
        """
        @return: whether it is bound, and its peer permitted.
        """
        return self.expires > now and self.permission.expires > now


class Allocation:
    """
    @ivar guard: whose user it belongs to.
    @ivar client: where the client's packets come from.
    @ivar local: the listening address that they come to, with the mark of
        L{punchd.turn.transport} when over TCP.
    @ivar relayed: the relayed address as it is bound here.
    @ivar outside: the relayed address as peers see it; another one behind a
        1:1 NAT.
    @ivar family: 4 or 6, of the relayed address.
    @ivar key: of MESSAGE-INTEGRITY, for as long as this lives.
    @ivar transactionId: of the Allocate request that made it.
    @ivar expires: monotonic seconds.
    @ivar twin: where one client has two relayed addresses, one of each family, the
        other one.  They share permissions and channels.
    @ivar token: of the next port, which is reserved (RFC 8656, 7.2), or L{None}.
    @ivar reserved: whether nobody has claimed the port yet.
    @ivar accounts: what it counts for.
    @ivar sentDue: when C{sentPackets} has come to this, C{accounts} are charged.
    @ivar receivedDue: likewise.
    @ivar ways: those that rest on it, or L{None}.
    """

    __slots__ = (
        "accounts",
        "channels",
        "chargedBytes",
        "chargedPackets",
        "client",
        "expires",
        "family",
        "guard",
        "key",
        "local",
        "outside",
        "peers",
        "permissions",
        "receivedBytes",
        "receivedDue",
        "receivedPackets",
        "relayed",
        "reserved",
        "sentBytes",
        "sentDue",
        "sentPackets",
        "token",
        "transactionId",
        "twin",
        "username",
        "ways",
    )

    def __init__(
        self,
        guard: Guard,
        username: str,
        key: bytes,
        local: Address,
        client: Address,
        relayed: Address,
        outside: Address,
        family: int,
        transactionId: bytes,
        accounts: tuple[Account, ...],
    ) -> None:
        self.guard = guard
        self.username = username
        self.key = key
        self.local = local
        self.client = client
        self.relayed = relayed
        self.outside = outside
        self.family = family
        self.transactionId = transactionId
        self.accounts = accounts
        self.expires = 0.0
        self.twin: Allocation | None = None
        self.token: bytes | None = None
        self.reserved = False
        self.permissions: dict[str, Permission] = {}
        self.channels: dict[int, Channel] = {}
        self.peers: dict[Address, Channel] = {}
        self.sentPackets = 0  # from the client to peers
        self.sentBytes = 0
        self.receivedPackets = 0  # from peers to the client
        self.receivedBytes = 0
        self.chargedPackets = self.chargedBytes = 0
        self.sentDue = self.receivedDue = sys.maxsize
        self.ways: list[Way] | None = None

    def of(self, family: int) -> Allocation | None:
        """
        @return: this one or its twin, whichever has a relayed address of that
            family.
        """
        if family == self.family:
            return self
        twin = self.twin
        return twin if twin is not None and twin.family == family else None

    def carries(self, way: Way, now: float) -> None:
        """
        C{way} is to end with me.
        """
        self.ways = [each for each in self.ways or () if each.until > now]
        self.ways.append(way)

    def endWays(self) -> None:
        """
        What was decided in advance holds no more.
        """
        ways, self.ways = self.ways, None
        for each in ways or ():
            each.end()

    def join(self, twin: Allocation) -> None:
        """
        Share everything but the relayed address with C{twin}.
        """
        self.twin, twin.twin = twin, self
        twin.permissions = self.permissions
        twin.channels = self.channels
        twin.peers = self.peers

    def part(self) -> Allocation | None:
        """
        Take permissions and channels of this family away from the twin, because
        this relayed address is no more (RFC 8656, 8.2).

        @return: the twin.
        """
        twin = self.twin
        if twin is not None:
            twin.endWays()
            self.twin = twin.twin = None
            gone = self.relayed
            for channel in [e for e in self.channels.values() if e.relayed == gone]:
                self._unbind(channel)
            for host in [h for h, e in self.permissions.items() if e.relayed == gone]:
                del self.permissions[host]
        return twin

    def lacksRoom(self, hosts: set[str], maximum: int, now: float) -> bool:
        """
        @return: whether permissions for these hosts would be more than
            C{maximum} altogether, after removing what has expired.
        """
        new = sum(host not in self.permissions for host in hosts)
        if len(self.permissions) + new > maximum:
            for host in [h for h, e in self.permissions.items() if e.expires <= now]:
                del self.permissions[host]
            new = sum(host not in self.permissions for host in hosts)
        return len(self.permissions) + new > maximum

    def permit(self, host: str, now: float) -> Permission:
        """
        Install or refresh a permission (RFC 8656, 10.2).
        """
        found = self.permissions.get(host)
        if found is None:
            holder = self.of(6 if ":" in host else 4) or self
            found = self.permissions[host] = Permission(holder.relayed)
            # A channel may have outlived the permission that it knew.
            for channel in self.channels.values():
                if channel.peer[0] == host:
                    channel.permission = found
        found.expires = now + PERMISSION_LIFETIME
        return found

    def conflicts(self, number: int, peer: Address, now: float) -> bool:
        """
        @return: whether the number is bound to another peer, or the peer to
            another number (RFC 8656, 12.2).
        """
        for channel in (self.channels.get(number), self.peers.get(peer)):
            if channel is None or (channel.number == number and channel.peer == peer):
                continue
            if channel.expires > now:
                return True
            self._unbind(channel)
        return False

    def channelsLackRoom(self, number: int, maximum: int, now: float) -> bool:
        """
        @return: whether one more channel is too many, after removing what
            has expired.
        """
        if number in self.channels or len(self.channels) < maximum:
            return False
        for channel in list(self.channels.values()):
            if channel.expires <= now:
                self._unbind(channel)
        return len(self.channels) >= maximum

    def bind(self, number: int, peer: Address, own: bool, now: float) -> None:
        """
        Bind or refresh a channel, and its permission (RFC 8656, 12.2).
        """
        permission = self.permit(peer[0], now)
        channel = self.channels.get(number)
        if channel is None:
            channel = Channel(number, peer, permission, own)
            self.channels[number] = self.peers[peer] = channel
        channel.expires = now + CHANNEL_LIFETIME

    def _unbind(self, channel: Channel) -> None:
        self.endWays()
        del self.channels[channel.number]
        del self.peers[channel.peer]
