"""
The four requests of TURN, once it is known who sends them (RFC 8656, 7 to 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from punchd.core import Address
from punchd.stun.address import FAMILY_IPV4, FAMILY_IPV6, family
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Message, Method, failure, success

from .allocation import DEFAULT_LIFETIME, MAXIMUM_LIFETIME, Allocation
from .authentication import Principal
from .channeldata import FIRST_CHANNEL, LAST_OLD_CHANNEL
from .permission import PeerPolicy
from .table import AllocationTable, Limits

_FAMILIES = {FAMILY_IPV4: 4, FAMILY_IPV6: 6}

#: Attributes of other uses of STUN; a TURN server does not know them, nor can
#: this one set the DF bit (RFC 8656, 7.2).
_FOREIGN = frozenset(
    {
        Attribute.DONT_FRAGMENT,
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
        opened: Callable[[Allocation], None],
        closed: Callable[[Allocation, str], None],
    ) -> None:
        """
        @param opened: told of each new allocation.
        @param closed: removes an allocation, for the reason given.
        """
        self._table = table
        self._limits = limits
        self._policy = policy
        self._opened = opened
        self._closed = closed

    def answer(
        self,
        request: Message,
        who: Principal,
        allocation: Allocation | None,
        local: Address,
        remote: Address,
        now: float,
    ) -> Message:
        """
        @return: the response, not yet signed.
        """
        unknown = [
            each for each, _ in request.attributes if each in _FOREIGN
        ] + request.unknownRequired
        if unknown:
            return failure(request, 420, "", (Attribute.UNKNOWN_ATTRIBUTES, unknown))
        if request.method == Method.ALLOCATE:
            return self._allocate(request, who, allocation, local, remote, now)
        if allocation is None:
            return failure(request, 437, "No allocation")
        if not _same(allocation, who):
            return failure(request, 441, "Wrong credentials")
        if request.method == Method.REFRESH:
            return self._refresh(request, allocation, now)
        if request.method == Method.CREATE_PERMISSION:
            return self._createPermission(request, allocation, now)
        if request.method == Method.CHANNEL_BIND:
            return self._channelBind(request, allocation, now)
        return failure(request, 400, "Unknown method")

    def _allocate(
        self,
        request: Message,
        who: Principal,
        allocation: Allocation | None,
        local: Address,
        remote: Address,
        now: float,
    ) -> Message:
        """
        RFC 8656, 7.2.
        """
        get = request.get
        if allocation is not None:
            if allocation.transactionId != request.transactionId:
                return failure(request, 437, "Already allocated")
            if not _same(allocation, who):
                return failure(request, 441, "Wrong credentials")
            return self._allocated(request, allocation, now)
        transport = get(Attribute.REQUESTED_TRANSPORT)
        if transport is None:
            return failure(request, 400, "No transport requested")
        if transport != UDP:
            return failure(request, 442, "Only UDP is relayed")
        wanted = get(Attribute.REQUESTED_ADDRESS_FAMILY)
        additional = get(Attribute.ADDITIONAL_ADDRESS_FAMILY)
        even = get(Attribute.EVEN_PORT)
        token = get(Attribute.RESERVATION_TOKEN)
        if (
            (token is not None and (even is not None or wanted is not None))
            or (additional is not None and (wanted is not None or even))
            or (additional is not None and additional != FAMILY_IPV6)
            or (additional is not None and token is not None)
        ):
            return failure(request, 400, "Attributes exclude each other")
        if wanted is not None and wanted not in _FAMILIES:
            return failure(request, 440, "Unknown address family")
        if token is not None or even:
            # Ports are not reserved for later: no token is ever valid.
            return failure(request, 508, "No reservations")
        if not who.guard.mayAllocate(who.username, remote):
            return failure(request, 403, "Not admitted")
        code = self._table.refusal(who.guard, who.username, remote)
        if code is not None:
            return failure(request, code, "Too many allocations")
        made = self._table.open(
            who.guard,
            who.username,
            who.key,
            local,
            remote,
            _FAMILIES[wanted or FAMILY_IPV4],
            even is not None,
            request.transactionId,
        )
        if made is None:
            return failure(request, 508, "No port")
        self._table.extend(made, now + _lifetime(request))
        self._opened(made)
        answer = self._allocated(request, made, now)
        if additional is not None:
            # RFC 8656, 7.2: the first family is allocated, the second is not.
            answer.add(Attribute.ADDRESS_ERROR_CODE, (FAMILY_IPV6, 440, ""))
        return answer

    def _allocated(
        self, request: Message, allocation: Allocation, now: float
    ) -> Message:
        return success(
            request,
            (Attribute.XOR_RELAYED_ADDRESS, allocation.outside),
            (Attribute.LIFETIME, max(0, round(allocation.expires - now))),
            (Attribute.XOR_MAPPED_ADDRESS, allocation.client),
        )

    def _refresh(self, request: Message, allocation: Allocation, now: float) -> Message:
        """
        RFC 8656, 8.2.
        """
        wanted = request.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        if wanted is not None and _FAMILIES.get(wanted) != allocation.family:
            return failure(request, 443, "Another address family")
        if request.get(Attribute.LIFETIME) == 0:
            self._closed(allocation, "released")
            return success(request, (Attribute.LIFETIME, 0))
        guard = allocation.guard
        if not guard.mayAllocate(allocation.username, allocation.client):
            self._closed(allocation, "revoked")
            return failure(request, 403, "Not admitted any more")
        lifetime = _lifetime(request)
        self._table.extend(allocation, now + lifetime)
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
        self, request: Message, allocation: Allocation, now: float
    ) -> Message:
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
        if own and peer not in self._table.outside:
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
        if any(family(peer) != allocation.family for peer in peers):
            return failure(request, 443, "Another address family")
        for host in {peer[0] for peer in peers}:
            if not self._policy.mayPermit(allocation.guard, allocation.username, host):
                return failure(request, 403, "Forbidden peer")
        return None


def _same(allocation: Allocation, who: Principal) -> bool:
    """
    @return: whether the allocation is his.
    """
    return allocation.username == who.username and allocation.guard is who.guard


def _lifetime(request: Message) -> float:
    """
    @return: the seconds to grant (RFC 8656, 7.2).
    """
    wanted = float(request.get(Attribute.LIFETIME, DEFAULT_LIFETIME))
    return max(DEFAULT_LIFETIME, min(wanted, MAXIMUM_LIFETIME))
