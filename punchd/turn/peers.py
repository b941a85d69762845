"""
The client's permissions and channels (RFC 8656, 9 to 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from punchd.core import Address
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, Method

from .channeldata import FIRST_CHANNEL, LAST_CHANNEL
from .events import PermissionFailed
from .request import Answered, Attributes, codeOf

#: Seconds after which a permission (of 300) is asked for again.
PERMISSION_REFRESH: Final = 240.0

#: Likewise for a channel (of 600).
CHANNEL_REFRESH: Final = 540.0
CHANNEL_LIFETIME: Final = 600.0

#: Seconds until an unanswered request is made again.
RETRY: Final = 10.0

#: Seconds for which data to a refused host is dropped without asking again:
#: the relay may not have heard yet that the peer has accepted us.
REFUSED: Final = 1.0

#: Seconds until a refused channel is asked for again.
CHANNEL_REFUSED: Final = 60.0

#: The sending to a peer that is followed by binding a channel: checks to a
#: candidate that never answers are not worth one.
BIND_AT: Final = 2

#: Peers that are remembered without a channel, at most.
MAX_PEERS: Final = 512

Ask = Callable[[int, Attributes, Answered, float], None]


class _Permission:
    """
    @ivar granted: whether the relay has granted it, and not refused it since.
    @ivar refusedAt: when the relay refused it last; L{None} when it did not.
    """

    __slots__ = ("dueAt", "granted", "pending", "refusedAt")

    def __init__(self) -> None:
        self.pending = self.granted = False
        self.refusedAt: float | None = None
        self.dueAt: float | None = None


class _Channel:
    """
    @ivar sent: how much went to the peer, at most L{BIND_AT}.
    @ivar boundUntil: until when data may be sent in it.
    @ivar lastSent: monotonic seconds.
    """

    __slots__ = ("boundUntil", "dueAt", "lastSent", "number", "pending", "sent")

    def __init__(self) -> None:
        self.number: int | None = None
        self.sent = 0
        self.lastSent = 0.0
        self.boundUntil = 0.0
        self.pending = False
        self.dueAt: float | None = None


class Peers:
    """
    I keep permissions and channels alive for as long as they are wanted.

    @ivar deadline: when L{timeReached} has something to do.
    """

    def __init__(
        self,
        ask: Ask,
        emit: Callable[[object], None],
        lost: Callable[[str], None],
    ) -> None:
        """
        @param ask: sends a request.
        @param emit: reports an event.
        @param lost: told that the server knows no allocation of ours.
        """
        self._ask = ask
        self._emit = emit
        self._lost = lost
        self._live = False
        self._permissions: dict[str, _Permission] = {}
        self._channels: dict[Address, _Channel] = {}
        self._numbers: dict[int, Address] = {}
        self._next = FIRST_CHANNEL
        self.deadline: float | None = None

    @property
    def permitted(self) -> frozenset[str]:
        """
        The hosts whose permissions have been granted.
        """
        return frozenset(
            host for host, each in self._permissions.items() if each.granted
        )

    def allocated(self, now: float) -> None:
        """
        There is a new allocation: ask for all permissions that are wanted.
        """
        self._live = True
        for host, permission in list(self._permissions.items()):
            self._createPermission(host, permission, now)

    def lost(self) -> None:
        """
        The allocation is gone; the wish for permissions is not.
        """
        self._live = False
        self._channels.clear()
        self._numbers.clear()
        self._next = FIRST_CHANNEL
        for permission in self._permissions.values():
            permission.pending = permission.granted = False
            permission.dueAt = permission.refusedAt = None
        self.deadline = None

    def clear(self) -> None:
        """
        Want nothing any more.
        """
        self.lost()
        self._permissions.clear()

    def permit(self, host: str, now: float) -> None:
        """
        Want a permission for C{host}, and ask for it if that has not been
        done or was refused.
        """
        permission = self._permissions.get(host)
        if permission is None:
            permission = self._permissions[host] = _Permission()
        elif permission.refusedAt is None:
            return
        if self._live:
            self._createPermission(host, permission, now)

    def permitForData(self, host: str, now: float) -> bool:
        """
        Like L{permit}, for every datagram.

        @return: whether to send to C{host} now.
        """
        permission = self._permissions.get(host)
        if permission is None:
            self.permit(host, now)
        elif permission.refusedAt is not None:
            if now < permission.refusedAt + REFUSED or permission.pending:
                return False
            self._createPermission(host, permission, now)
        return True

    def forget(self, host: str) -> None:
        """
        Want no permission for C{host} any more, nor its channels.  The server
        knows those until they expire, and may use them when C{host} is permitted
        again: their numbers are kept as long.
        """
        self._permissions.pop(host, None)
        for peer, channel in list(self._channels.items()):
            if peer[0] != host:
                continue
            if channel.number is None:
                self._drop(peer)
            else:
                channel.lastSent = -CHANNEL_REFRESH
        self._arm()

    def channelTo(self, peer: Address, now: float) -> int | None:
        """
        @return: the number of the channel to send in, if it is bound.
        """
        channel = self._channels.get(peer)
        if channel is None or channel.boundUntil <= now:
            return None
        channel.lastSent = now
        return channel.number

    def peerOf(self, number: int) -> Address | None:
        """
        @return: the peer that the channel was bound to.
        """
        return self._numbers.get(number)

    def bind(self, peer: Address, now: float) -> None:
        """
        Something was sent to C{peer} without a channel: maybe bind one.
        """
        channel = self._channels.get(peer)
        if channel is None:
            self._makeRoom()
            channel = self._channels[peer] = _Channel()
        channel.lastSent = now
        channel.sent = min(channel.sent + 1, BIND_AT)
        if channel.sent == BIND_AT and channel.number is None:
            number = self._freeNumber()
            if number is None:
                return
            channel.number = number
            self._numbers[number] = peer
            self._channelBind(peer, channel, now)

    def timeReached(self, now: float) -> None:
        """
        Refresh what is due.
        """
        if self.deadline is None or now < self.deadline:
            return
        for host, permission in list(self._permissions.items()):
            if permission.dueAt is not None and permission.dueAt <= now:
                self._createPermission(host, permission, now)
        for peer, channel in list(self._channels.items()):
            if channel.dueAt is None or channel.dueAt > now:
                continue
            if now - channel.lastSent < CHANNEL_REFRESH:
                self._channelBind(peer, channel, now)
            elif channel.boundUntil <= now:
                self._drop(peer)
            else:
                # Not sent to for long: let it end, but listen until then.
                channel.dueAt = channel.boundUntil
        self._arm()

    def _createPermission(self, host: str, permission: _Permission, now: float) -> None:
        permission.dueAt = None
        if permission.pending:
            return
        permission.pending = True

        def answered(message: Message | None, now: float) -> None:
            if self._permissions.get(host) is permission:
                self._permissionAnswered(host, permission, message, now)

        # One request a host: one that is refused takes no others with it.
        self._ask(
            Method.CREATE_PERMISSION,
            ((Attribute.XOR_PEER_ADDRESS, (host, 0)),),
            answered,
            now,
        )

    def _permissionAnswered(
        self, host: str, permission: _Permission, message: Message | None, now: float
    ) -> None:
        permission.pending = False
        code = codeOf(message)
        if code == 437:
            self._lost("437 the relay has no allocation for us")
            return
        if message is None:
            permission.dueAt = now + RETRY
            self._emit(PermissionFailed(host, 0))
        elif code:
            permission.refusedAt = now
            permission.granted = False
            self._emit(PermissionFailed(host, code))
        else:
            permission.refusedAt = None
            permission.granted = True
            permission.dueAt = now + PERMISSION_REFRESH
        self._arm()

    def _channelBind(self, peer: Address, channel: _Channel, now: float) -> None:
        channel.dueAt = None
        if channel.pending:
            return
        channel.pending = True

        def answered(message: Message | None, now: float) -> None:
            if self._channels.get(peer) is channel:
                self._channelAnswered(channel, message, now)

        self._ask(
            Method.CHANNEL_BIND,
            (
                (Attribute.CHANNEL_NUMBER, channel.number),
                (Attribute.XOR_PEER_ADDRESS, peer),
            ),
            answered,
            now,
        )

    def _channelAnswered(
        self, channel: _Channel, message: Message | None, now: float
    ) -> None:
        channel.pending = False
        code = codeOf(message)
        if code == 437:
            self._lost("437 the relay has no allocation for us")
            return
        if message is None:
            channel.dueAt = now + RETRY
        elif code:
            # Indications have to do meanwhile.
            channel.boundUntil = 0.0
            channel.dueAt = now + CHANNEL_REFUSED
        else:
            channel.boundUntil = now + CHANNEL_LIFETIME
            channel.dueAt = now + CHANNEL_REFRESH
        self._arm()

    def _makeRoom(self) -> None:
        """
        Forget peers without a channel when there are very many of them.
        """
        if len(self._channels) >= MAX_PEERS:
            self._channels = {
                peer: each
                for peer, each in self._channels.items()
                if each.number is not None
            }

    def _freeNumber(self) -> int | None:
        """
        @return: the number that has not been used for longest: RFC 8656, 12
            wants five minutes between two peers.
        """
        for _ in range(LAST_CHANNEL - FIRST_CHANNEL + 1):
            number = self._next
            self._next = FIRST_CHANNEL if number == LAST_CHANNEL else number + 1
            if number not in self._numbers:
                return number
        return None

    def _drop(self, peer: Address) -> None:
        channel = self._channels.pop(peer)
        if channel.number is not None:
            self._numbers.pop(channel.number, None)

    def _arm(self) -> None:
        times = [each.dueAt for each in self._permissions.values()]
        times += [each.dueAt for each in self._channels.values()]
        self.deadline = min((each for each in times if each is not None), default=None)
