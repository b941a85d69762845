"""
Long-term credentials (RFC 8489, 9.2) and the short-lived user names that a
shared secret makes, as coturn and the "TURN REST API" draft have them.

Such a name is C{EXPIRY:HANDLE}, EXPIRY in seconds of the Unix epoch, and its
password the base64 of the name's HMAC-SHA-1 under the secret: who holds the
secret need not be told about each name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from enum import IntEnum


class PasswordAlgorithm(IntEnum):
    """
    RFC 8489, 18.5.
    """

    MD5 = 1
    SHA256 = 2


def longTermKey(
    username: str,
    realm: str,
    password: str | bytes,
    algorithm: PasswordAlgorithm = PasswordAlgorithm.MD5,
) -> bytes:
    """
    @return: the key of MESSAGE-INTEGRITY (RFC 8489, 9.2.2).
    """
    secret = password.encode("utf-8") if isinstance(password, str) else password
    whole = username.encode("utf-8") + b":" + realm.encode("utf-8") + b":" + secret
    if algorithm is PasswordAlgorithm.SHA256:
        return hashlib.sha256(whole).digest()
    return hashlib.md5(whole, usedforsecurity=False).digest()


def passwordFor(secret: bytes, username: str) -> str:
    """
    @return: the password that belongs to a name made with C{secret}.
    """
    made = hmac.digest(secret, username.encode("utf-8"), "sha1")
    return base64.b64encode(made).decode("ascii")


def makeCredentials(secret: bytes, handle: str, expiry: float) -> tuple[str, str]:
    """
    @param handle: whose credentials these are; limits are counted by it.
    @param expiry: seconds of the Unix epoch after which nothing can be
        allocated with them; what has been allocated stays.

    @return: the user name and the password.
    """
    username = f"{int(expiry)}:{handle}"
    return username, passwordFor(secret, username)


def parseUsername(username: str) -> tuple[int, str] | None:
    """
    @return: the expiry and the handle of a name that has them.
    """
    expiry, colon, handle = username.partition(":")
    if not colon or not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12:
        return None
    return int(expiry), handle


def handleOf(username: str) -> str:
    """
    @return: what stays the same when credentials are renewed.
    """
    parsed = parseUsername(username)
    return username if parsed is None else parsed[1]
