"""
Who sends a request (RFC 8489, 9.2.4).

An answer to a source that has proven nothing carries no more than it must and
is rationed by network; no memory is kept of such a source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from punchd.core import Address
from punchd.stun.attributes import Attribute
from punchd.stun.limit import NoLimit, PrefixLimit
from punchd.stun.message import Message, failure

from .allocation import Allocation
from .credentials import longTermKey
from .guards import Guard
from .nonce import Nonces

#: Longer ones would not let a 401 stay within 112 bytes once it names
#: password algorithms as well.
MAX_REALM = 32


class Principal(NamedTuple):
    """
    Who has proven to know a password, and whose user he is.
    """

    username: str
    key: bytes
    guard: Guard


class Authenticator:
    """
    I tell the requests of users from others.
    """

    def __init__(
        self,
        realm: str,
        guards: Sequence[Guard],
        nonces: Nonces,
        limit: PrefixLimit | NoLimit,
        counters: Counter[str],
    ) -> None:
        """
        @raise ValueError: the realm is too long.
        """
        if len(realm.encode("utf-8")) > MAX_REALM:
            raise ValueError(f"a realm has at most {MAX_REALM} bytes")
        self._realm = realm
        self._guards = tuple(guards)
        self._nonces = nonces
        self._limit = limit
        self._counters = counters

    def check(
        self,
        request: Message,
        remote: Address,
        allocation: Allocation | None,
        now: float,
    ) -> Principal | Message | None:
        """
        @param allocation: that of the 5-tuple; its key is good for its user
            even when the name has expired since.

        @return: who it is, or what to answer, which is nothing when too much
            has been answered already.
        """
        if not request.hasIntegrity:
            return self._challenge(request, 401, remote, now)
        username = request.get(Attribute.USERNAME)
        nonce = request.get(Attribute.NONCE)
        if username is None or nonce is None or request.get(Attribute.REALM) is None:
            self._counters["400"] += 1
            return failure(request, 400) if self._allows(remote, now) else None
        if not self._nonces.check(nonce, username, remote, now):
            return self._challenge(request, 438, remote, now)
        for who in self._candidates(username, allocation):
            if request.checkIntegrity(who.key):
                return who
        return self._challenge(request, 401, remote, now)

    def _candidates(
        self, username: str, allocation: Allocation | None
    ) -> Iterator[Principal]:
        """
        @return: who could be meant by that name: several guards may know it, with
            a password each.
        """
        if allocation is not None and allocation.username == username:
            yield Principal(username, allocation.key, allocation.guard)
            return
        for guard in self._guards:
            password = guard.passwordOf(username)
            if password is not None:
                key = longTermKey(username, self._realm, password)
                yield Principal(username, key, guard)

    def _allows(self, remote: Address, now: float) -> bool:
        allowed = self._limit.allows(remote[0], now)
        if not allowed:
            self._counters["limited"] += 1
        return allowed

    def _challenge(
        self, request: Message, code: int, remote: Address, now: float
    ) -> Message | None:
        """
        @return: a 401 or 438 of at most 112 bytes.
        """
        self._counters[str(code)] += 1
        if not self._allows(remote, now):
            return None
        return failure(
            request,
            code,
            "",
            (Attribute.REALM, self._realm),
            (Attribute.NONCE, self._nonces.forSource(remote, now)),
        )
