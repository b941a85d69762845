"""
Who sends a request (RFC 8489, 9.2.4).

An answer to a source that has proven nothing carries no more than it must and
is rationed by network; no memory is kept of such a source.

Clients choose how their key is made of their password: by SHA-256 if they know
RFC 8489, by MD5 otherwise.  A nonce tells that there is a choice, so that nobody
can take it away unnoticed on the way (RFC 8489, 9.2.1).
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
from .credentials import PasswordAlgorithm, longTermKey
from .guards import Guard
from .nonce import PASSWORD_ALGORITHMS, USERNAME_ANONYMITY, Nonces

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256

#: Longer ones would not let a 401 stay within 112 bytes: 20 of header, 8 of code,
#: 4 and these of realm, 36 of nonce, 12 of algorithms, and 8 of fingerprint.
MAX_REALM = 24

#: What clients may choose from, the best first.
ALGORITHMS = [(int(each), b"") for each in (SHA256, MD5)]


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
        named = request.get(Attribute.USERNAME) is not None
        nonce = request.get(Attribute.NONCE)
        algorithm = _algorithm(request)
        if (
            not (named or request.get(Attribute.USERHASH))
            or nonce is None
            or request.get(Attribute.REALM) is None
            or algorithm is None
        ):
            self._counters["400"] += 1
            return failure(request, 400) if self._allows(remote, now) else None
        username = self._nameIn(request)
        if not self._nonces.check(nonce, username, remote, now):
            return self._challenge(request, 438, remote, now)
        for who in self._candidates(username, algorithm, allocation):
            if request.checkIntegrity(who.key):
                return who
        return self._challenge(request, 401, remote, now)

    def _nameIn(self, request: Message) -> str:
        """
        @return: who sends it; empty when the hash of a name is nobody's.
        """
        name: str | None = request.get(Attribute.USERNAME)
        if name is not None:
            return name
        userhash = request.get(Attribute.USERHASH)
        names = (each.nameOf(userhash, self._realm) for each in self._guards)
        return next((each for each in names if each is not None), "")

    def _candidates(
        self,
        username: str,
        algorithm: PasswordAlgorithm,
        allocation: Allocation | None,
    ) -> Iterator[Principal]:
        """
        @return: who could be meant by that name: several guards may know it, with
            a password each.
        """
        if (
            allocation is not None
            and allocation.username == username
            and len(allocation.key) == _KEY_SIZES[algorithm]
        ):
            yield Principal(username, allocation.key, allocation.guard)
            return
        for guard in self._guards:
            password = guard.passwordOf(username)
            if password is not None:
                key = longTermKey(username, self._realm, password, algorithm)
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
            (Attribute.PASSWORD_ALGORITHMS, ALGORITHMS),
        )


def features(guards: Sequence[Guard]) -> int:
    """
    @return: the security features to tell of: that there are password algorithms,
        and whether names may be hidden, which takes a list of all there are.
    """
    hashes = {each.hashes for each in guards}
    hidden = True in hashes and False not in hashes
    return PASSWORD_ALGORITHMS | (USERNAME_ANONYMITY if hidden else 0)


_KEY_SIZES = {MD5: 16, SHA256: 32}


def _algorithm(request: Message) -> PasswordAlgorithm | None:
    """
    @return: how the key is made (RFC 8489, 9.2.4); L{None} when the list is not
        what we have sent, as somebody on the way would have it, or when what was
        chosen is not in it.
    """
    offered = request.get(Attribute.PASSWORD_ALGORITHMS)
    chosen = request.get(Attribute.PASSWORD_ALGORITHM)
    if offered is None and chosen is None:
        return MD5
    if offered != ALGORITHMS or chosen not in ALGORITHMS:
        return None
    return PasswordAlgorithm(chosen[0])
