"""
The Allocate request (RFC 8656, 7): one relayed address or two, of which family,
with which port, and for how long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from punchd.core import Address, Entropy
from punchd.stun.address import FAMILY_IPV4, FAMILY_IPV6, prefixOf
from punchd.stun.attributes import UDP, Attribute
from punchd.stun.message import Message, failure, success

from .allocation import DEFAULT_LIFETIME, MAXIMUM_LIFETIME, Allocation
from .authentication import Principal
from .claims import Claims, Reserved, Waiting
from .limits import Account, Meter
from .table import AllocationTable

#: Our names of the families on the wire.
FAMILIES: Final = {FAMILY_IPV4: 4, FAMILY_IPV6: 6}

#: Seconds for which the port after an even one is kept (RFC 8656, 7.2).
RESERVATION: Final = 30.0

_TOKEN = 8  # bytes; RFC 8656, 18.7


class Allocating:
    """
    I make allocations.

    @ivar claims: what other processes have reserved, if there are any.
    """

    def __init__(
        self,
        table: AllocationTable,
        meter: Meter,
        entropy: Entropy,
        opened: Callable[[Allocation], None],
    ) -> None:
        """
        @param entropy: for tokens, which must not be guessed.
        @param opened: told of each new allocation.
        """
        self._table = table
        self._meter = meter
        self._entropy = entropy
        self._opened = opened
        self.claims: Claims | None = None

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
        @param allocation: what the 5-tuple has already.

        @return: the response, not yet signed; L{None} if it has to wait.
        """
        if allocation is not None:
            if allocation.transactionId != request.transactionId:
                return failure(request, 437, "Already allocated")
            if not owns(who, allocation):
                return failure(request, 441, "Wrong credentials")
            return self._success(request, allocation, now)
        objection = self._objection(request)
        if objection is not None:
            return objection
        token = request.get(Attribute.RESERVATION_TOKEN)
        if (
            token is not None
            and self.claims is not None
            and self._table.reservation(token) is None
            and self.claims.holds(Waiting(request, who, local, remote), now)
        ):
            return None
        return self._limited(request, who, remote, now) or (
            self._allocate(request, who, local, remote, now)
        )

    def keep(self, found: Reserved, waiting: Waiting, now: float) -> None:
        """
        Reserve here what another process has given up for a request.
        """
        request, who, local, remote = waiting
        family, port, seconds = found
        relayed = self._table.openPort(family, number=port)
        if relayed is not None:
            token = request.get(Attribute.RESERVATION_TOKEN)
            reserved = self._make(request, who, local, remote, relayed, family, now)
            self._table.reserve(token, reserved, now + seconds)

    def _objection(self, request: Message) -> Message | None:
        """
        @return: what is wrong with the request, in the order of RFC 8656, 7.2.
        """
        get = request.get
        transport = get(Attribute.REQUESTED_TRANSPORT)
        if transport is None:
            return failure(request, 400, "No transport requested")
        if transport != UDP:
            return failure(request, 442, "Only UDP is relayed")
        wanted = get(Attribute.REQUESTED_ADDRESS_FAMILY)
        additional = _additional(request)[0]
        even = get(Attribute.EVEN_PORT)
        token = get(Attribute.RESERVATION_TOKEN)
        if (
            (token is not None and (even is not None or wanted is not None))
            or (additional is not None and (wanted is not None or even))
            or (additional is not None and additional != FAMILY_IPV6)
            or (additional is not None and token is not None)
        ):
            return failure(request, 400, "Attributes exclude each other")
        families = self._table.families
        if additional is not None:
            # RFC 8656, 7.2: one of the two is enough.
            supported = bool(families)
        elif token is not None:
            supported = True
        else:
            kind = FAMILY_IPV4 if wanted is None else wanted
            supported = FAMILIES.get(kind) in families
        if not supported:
            return failure(request, 440, "Unsupported address family")
        return None

    def _limited(
        self, request: Message, who: Principal, remote: Address, now: float
    ) -> Message | None:
        """
        @return: the error response, if who asks may not have one more.
        """
        if not who.guard.mayAllocate(who.username, remote):
            return failure(request, 403, "Not admitted")
        token = request.get(Attribute.RESERVATION_TOKEN)
        if token is not None:
            reserved = self._table.reservation(token)
            if reserved is None or not owns(who, reserved):
                return failure(request, 508, "No such reservation")
            return None  # it has been counted since it was reserved
        # A reserved port counts from the beginning.
        more = 2 if request.get(Attribute.EVEN_PORT) else 1
        code = self._meter.refusal(self._accounts(who, remote, now), now, more)
        if code is not None:
            return failure(request, code, "Too many allocations")
        return None

    def _allocate(
        self,
        request: Message,
        who: Principal,
        local: Address,
        remote: Address,
        now: float,
    ) -> Message:
        get = request.get
        table = self._table
        expires = now + lifetimeOf(request)

        def add(relayed: Address, family: int) -> Allocation:
            made = self._make(request, who, local, remote, relayed, family, now)
            table.add(made)
            table.extend(made, expires)
            return made

        token = get(Attribute.RESERVATION_TOKEN)
        if token is not None:
            reserved = table.reservation(token)
            assert reserved is not None  # as _limited has seen
            table.remove(reserved, now, keep=True)
            made = add(reserved.relayed, reserved.family)
        elif get(Attribute.EVEN_PORT):
            family = FAMILIES[get(Attribute.REQUESTED_ADDRESS_FAMILY, FAMILY_IPV4)]
            pair = table.openPair(family)
            if pair is None:
                return self._noPort(request, who, remote, now)
            made = add(pair[0], family)
            made.token = self._token()
            second = self._make(request, who, local, remote, pair[1], family, now)
            table.reserve(made.token, second, now + RESERVATION)
        else:
            additional = _additional(request)[0] is not None
            first = FAMILIES[get(Attribute.REQUESTED_ADDRESS_FAMILY, FAMILY_IPV4)]
            even = get(Attribute.EVEN_PORT) is not None
            found: list[Allocation] = []
            for family in (first, 6) if additional else (first,):
                # The second one of two counts by itself.
                if found and self._meter.refusal(found[0].accounts, now):
                    break
                relayed = family in table.families and table.openPort(family, even)
                if relayed:
                    found.append(add(relayed, family))
            if not found:
                return self._noPort(request, who, remote, now)
            made = found[0]
            if len(found) == 2:
                made.join(found[1])
        self._opened(made)
        if made.twin is not None:
            self._opened(made.twin)
        return self._success(request, made, now)

    def _make(
        self,
        request: Message,
        who: Principal,
        local: Address,
        remote: Address,
        relayed: Address,
        family: int,
        now: float,
    ) -> Allocation:
        return Allocation(
            who.guard,
            who.username,
            who.key,
            local,
            remote,
            relayed,
            self._table.outsideOf(relayed),
            family,
            request.transactionId,
            self._accounts(who, remote, now),
        )

    def _token(self) -> bytes:
        token = self._entropy(_TOKEN)
        return token if self.claims is None else self.claims.mark(token)

    def _success(self, request: Message, allocation: Allocation, now: float) -> Message:
        """
        @return: what is answered to the request, each time that it comes.
        """
        answer = success(request, (Attribute.XOR_RELAYED_ADDRESS, allocation.outside))
        if allocation.twin is not None:
            answer.add(Attribute.XOR_RELAYED_ADDRESS, allocation.twin.outside)
        answer.add(Attribute.LIFETIME, max(0, round(allocation.expires - now)))
        if allocation.token is not None:
            answer.add(Attribute.RESERVATION_TOKEN, allocation.token)
        answer.add(Attribute.XOR_MAPPED_ADDRESS, allocation.client)
        additional, error = _additional(request)
        if additional is not None:
            for kind, family in FAMILIES.items():
                if allocation.of(family) is None:
                    code = 508 if family in self._table.families else 440
                    answer.add(error, (kind, code, ""))
        return answer

    def _noPort(
        self, request: Message, who: Principal, remote: Address, now: float
    ) -> Message:
        self._meter.release(self._accounts(who, remote, now), now)
        return failure(request, 508, "No port")

    def _accounts(
        self, who: Principal, remote: Address, now: float
    ) -> tuple[Account, ...]:
        owner = who.guard.name, who.guard.identityOf(who.username)
        return self._meter.accountsOf(
            owner, prefixOf(remote[0]), who.guard.quotaOf(who.username), now
        )


def _additional(request: Message) -> tuple[int | None, Attribute]:
    """
    @return: which family is wanted besides, and how to say that there is none.
    """
    value = request.get(Attribute.ADDITIONAL_ADDRESS_FAMILY)
    if value is None:
        old = request.get(Attribute.OLD_ADDITIONAL_ADDRESS_FAMILY)
        if old is not None:
            return old, Attribute.OLD_ADDRESS_ERROR_CODE
    return value, Attribute.ADDRESS_ERROR_CODE


def owns(who: Principal, allocation: Allocation) -> bool:
    """
    @return: whether the allocation is his.
    """
    return allocation.username == who.username and allocation.guard is who.guard


def lifetimeOf(request: Message) -> float:
    """
    @return: the seconds to grant (RFC 8656, 7.2).
    """
    wanted = float(request.get(Attribute.LIFETIME, DEFAULT_LIFETIME))
    return max(DEFAULT_LIFETIME, min(wanted, MAXIMUM_LIFETIME))
