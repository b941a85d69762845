"""
Nonces that cost no memory: the time and a keyed hash over it.

There are two kinds.  One goes out with a 401 or 438 and is bound to the
source address that it is sent to: it works from nowhere else, and who holds
it can receive at that address.  The other is handed out over signaling, to
save the round trip that fetches the first, before anybody knows which port
the client's NAT will show; it is bound to the user name that it comes with
instead.  It proves no address, but neither could it be had without the
password next to it.

A nonce is text, since some clients take it for that: the cookie of RFC 8489,
9.2 with three bytes of security features in base64, and then, in base64 without
padding, 4 bytes of seconds, whose highest bit tells the kind, and 10 bytes of
HMAC-SHA-256.  The HMAC covers the features too: who changes them on the way, to
make a client use what is weaker, makes the nonce worthless.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from punchd.core import Address

#: How long a nonce is good for, in seconds.
LIFETIME: Final = 3600.0

#: Security features (RFC 8489, 18.1).  Their bits are counted from the right, as
#: in the examples of RFC 8489, B.1 and in its erratum 6290.
PASSWORD_ALGORITHMS: Final = 1
USERNAME_ANONYMITY: Final = 2

_COOKIE = b"obMatJos2"
_BY_NAME = 0x80000000
_HASHED = 10
_SIZE = 32


class Nonces:
    """
    I make nonces and recognise mine.
    """

    def __init__(
        self, key: bytes, lifetime: float = LIFETIME, features: int = 0
    ) -> None:
        """
        @param key: 32 secret bytes; processes that share a port share them.
        @param features: the security features that the nonces tell of.
        """
        self._key = key
        self._head = _COOKIE + base64.b64encode(features.to_bytes(3, "big"))
        self._lifetime = lifetime

    def forSource(self, remote: Address, now: float) -> bytes:
        """
        @return: a nonce that works from C{remote} only.
        """
        return self._make(int(now) % _BY_NAME, f"{remote[0]} {remote[1]}")

    def forUsername(self, username: str, now: float) -> bytes:
        """
        @return: a nonce that works with C{username} only, from everywhere.
        """
        return self._make(int(now) % _BY_NAME | _BY_NAME, username)

    def check(self, nonce: bytes, username: str, remote: Address, now: float) -> bool:
        """
        @return: whether it is one of mine, not too old, and came back from
            where, or with the name, that it was made for.
        """
        if len(nonce) != _SIZE or not nonce.startswith(self._head):
            return False
        try:
            raw = base64.b64decode(nonce[len(self._head) :] + b"=", validate=True)
        except (binascii.Error, ValueError):
            return False
        stamp = int.from_bytes(raw[:4], "big")
        age = (int(now) - stamp) % _BY_NAME
        if age > self._lifetime:
            return False
        bound = username if stamp & _BY_NAME else f"{remote[0]} {remote[1]}"
        return hmac.compare_digest(self._make(stamp, bound), nonce)

    def _make(self, stamp: int, bound: str) -> bytes:
        time = stamp.to_bytes(4, "big")
        covered = self._head + time + bound.encode("utf-8")
        made = hmac.digest(self._key, covered, "sha256")[:_HASHED]
        return self._head + base64.b64encode(time + made).rstrip(b"=")


def promisesAlgorithms(nonce: bytes) -> bool:
    """
    @return: whether a nonce says that its server knows password algorithms (RFC
        8489, 9.2.1).
    """
    if not nonce.startswith(_COOKIE):
        return False
    try:
        told = base64.b64decode(nonce[len(_COOKIE) : len(_COOKIE) + 4], validate=True)
    except ValueError:
        return False
    return len(told) == 3 and bool(told[2] & PASSWORD_ALGORITHMS)
