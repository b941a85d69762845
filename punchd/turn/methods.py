"""
The requests of TURN, once it is known who sends them (RFC 8656, 7 to 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from punchd.core import Address
from punchd.stun.address import family
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, Method, failure, success

from .allocating import FAMILIES, Allocating, lifetimeOf, owns
from .allocation import Allocation
from .authentication import Principal
from .channeldata import FIRST_CHANNEL, LAST_OLD_CHANNEL
from .limits import Limits
from .permission import PeerPolicy
from .table import AllocationTable
from .unheard import Unheard

#: What a client may ask for.
REQUESTS: Final = frozenset(
    {Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND}
)

#: Attributes of other uses of STUN; a TURN server does not know them.
_FOREIGN = frozenset(
    {
        Attribute.CHANGE_REQUEST,
        Attribute.RESPONSE_PORT,
        Attribute.PADDING,
        Attribute.PRIORITY,
        Attribute.USE_CANDIDATE,
    }
)


class Methods:
    """
    I carry out requests.
    """

    def __init__(
        self,
        table: AllocationTable,
        limits: Limits,
        policy: PeerPolicy,
        allocating: Allocating,
        closed: Callable[[Allocation, str, float], None],
        whole: bool,
    ) -> None:
        """
        @param allocating: carries out Allocate.
        @param closed: removes an allocation, for the reason given.
        @param whole: whether datagrams can be sent that no router may cut.
        """
        self._table = table
        self._limits = limits
        self._policy = policy
        self._allocating = allocating
        self._closed = closed
        self.unheard: Unheard | None = None
        # RFC 8656, 7.2: who cannot set the DF bit does not know the attribute.
        self._unknown = _FOREIGN if whole else _FOREIGN | {Attribute.DONT_FRAGMENT}

    def use(self, limits: Limits) -> None:
        """
        From now on these limits hold.
        """
        self._limits = limits

    def answer(
        self,
        request: Message,
        who: Principal,
        allocation: Allocation | None,
        local: Address,
        remote: Address,
        now: float,
    ) -> Message | None:
        """
        @return: the response, not yet signed; L{None} if there is none yet.
        """
        if request.spoiled:
            return failure(request, 400, "Malformed attribute")
        unknown = [
            each for each, _ in request.attributes if each in self._unknown
        ] + request.unknownRequired
        if unknown:
            return failure(request, 420, "", (Attribute.UNKNOWN_ATTRIBUTES, unknown))
        if request.method == Method.ALLOCATE:
            return self._allocating.answer(request, who, allocation, local, remote, now)
        if allocation is None:
            return failure(request, 437, "No allocation")
        if not owns(who, allocation):
            return failure(request, 441, "Wrong credentials")
        if request.method == Method.REFRESH:
            return self._refresh(request, allocation, now)
        if request.method == Method.CREATE_PERMISSION:
            return self._createPermission(request, allocation, now)
        if request.method == Method.CHANNEL_BIND:
            return self._channelBind(request, allocation, local, remote, now)
        return failure(request, 400, "Unknown method")

    def _refresh(self, request: Message, allocation: Allocation, now: float) -> Message:
        """
        RFC 8656, 8.2.
        """
        both = (
            [allocation] if allocation.twin is None else [allocation, allocation.twin]
        )
        wanted = request.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        if wanted is not None:
            both = [each for each in both if each.family == FAMILIES.get(wanted)]
        if not both:
            return failure(request, 443, "Another address family")
        if request.get(Attribute.LIFETIME) == 0:
            for each in both:
                self._closed(each, "released", now)
            return success(request, (Attribute.LIFETIME, 0))
        guard = allocation.guard
        if not guard.mayAllocate(allocation.username, allocation.client):
            for each in both:
                self._closed(each, "revoked", now)
            return failure(request, 403, "Not admitted any more")
        lifetime = lifetimeOf(request)
        for each in both:
            self._table.extend(each, now + lifetime)
        return success(request, (Attribute.LIFETIME, round(lifetime)))

    def _createPermission(
        self, request: Message, allocation: Allocation, now: float
    ) -> Message:
        """
        RFC 8656, 10.2: all of them or none.
        """
        peers = request.getAll(Attribute.XOR_PEER_ADDRESS)
        if not peers:
            return failure(request, 400, "No peer")
        hosts = {peer[0] for peer in peers}
        refused = self._refuse(request, allocation, peers)
        if refused is not None:
            return refused
        if allocation.lacksRoom(hosts, self._limits.permissions, now):
            return failure(request, 508, "Too many permissions")
        for host in hosts:
            allocation.permit(host, now)
        return success(request)

    def _channelBind(
        self,
        request: Message,
        allocation: Allocation,
        local: Address,
        remote: Address,
        now: float,
    ) -> Message | None:
        """
        RFC 8656, 12.2.  Numbers from 0x5000 on are accepted from clients of
        RFC 5766: nothing else on this port begins like that.
        """
        number = request.get(Attribute.CHANNEL_NUMBER, 0)
        peer: Address | None = request.get(Attribute.XOR_PEER_ADDRESS)
        if peer is None or not peer[1]:
            return failure(request, 400, "No peer")
        if not FIRST_CHANNEL <= number <= LAST_OLD_CHANNEL:
            return failure(request, 400, "Not a channel number")
        refused = self._refuse(request, allocation, [peer])
        if refused is not None:
            return refused
        own = self._policy.isOwn(peer[0])
        if own and not self._table.isLive(peer):
            unheard = self.unheard
            if unheard is not None and unheard.holds(peer, request, local, remote, now):
                return None
            return failure(request, 403, "Not a relayed address")
        if allocation.conflicts(number, peer, now):
            return failure(request, 400, "Bound otherwise")
        if allocation.channelsLackRoom(number, self._limits.channels, now) or (
            allocation.lacksRoom({peer[0]}, self._limits.permissions, now)
        ):
            return failure(request, 508, "Too many channels")
        allocation.bind(number, peer, own, now)
        return success(request)

    def _refuse(
        self, request: Message, allocation: Allocation, peers: list[Any]
    ) -> Message | None:
        """
        @return: the error response, when a peer may not be reached.
        """
        if any(allocation.of(family(peer)) is None for peer in peers):
            return failure(request, 443, "Another address family")
        for host in {peer[0] for peer in peers}:
            if not self._policy.mayPermit(allocation.guard, allocation.username, host):
                return failure(request, 403, "Forbidden peer")
        return None
