"""
Nonces that cost no memory: the time and a keyed hash over it.

There are two kinds.  One goes out with a 401 or 438 and is bound to the
source address that it is sent to: it works from nowhere else, and who holds
it can receive at that address.  The other is handed out over signaling, to
save the round trip that fetches the first, before anybody knows which port
the client's NAT will show; it is bound to the user name that it comes with
instead.  It proves no address, but neither could it be had without the
password next to it.

A nonce is base64, since some clients take it for text: 4 bytes of seconds,
whose highest bit tells the kind, and 11 bytes of HMAC-SHA-256.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from punchd.core import Address

#: How long a nonce is good for, in seconds.
LIFETIME: Final = 3600.0

_BY_NAME = 0x80000000
_SIZE = 20


class Nonces:
    """
    I make nonces and recognise mine.
    """

    def __init__(self, key: bytes, lifetime: float = LIFETIME) -> None:
        """
        @param key: 32 secret bytes; processes that share a port share them.
        """
        self._key = key
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
        try:
            raw = base64.b64decode(nonce, validate=True)
        except (binascii.Error, ValueError):
            return False
        if len(nonce) != _SIZE or len(raw) != 15:
            return False
        stamp = int.from_bytes(raw[:4], "big")
        age = (int(now) - stamp) % _BY_NAME
        if age > self._lifetime:
            return False
        bound = username if stamp & _BY_NAME else f"{remote[0]} {remote[1]}"
        return hmac.compare_digest(self._make(stamp, bound), nonce)

    def _make(self, stamp: int, bound: str) -> bytes:
        head = stamp.to_bytes(4, "big")
        made = hmac.digest(self._key, head + bound.encode("utf-8"), "sha256")
        return base64.b64encode(head + made[:11])
