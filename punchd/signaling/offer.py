"""
What peers tell each other through the rendezvous, signed.

An offer, an answer and an update are JSON under a signature by the sender's
identity key.  The rendezvous can drop, delay or repeat them, nothing more:

  - each kind is signed under a purpose string of its own, so that none can be
    taken for another;
  - each names sender, recipient, role and dial;
  - an offer is fresh: signed within two minutes, and never seen before
    (L{ReplayGuard});
  - an answer covers the hash of the offer, and an update its place in the
    order of updates, so that neither needs a clock.

On the wire: the length of the public key in two bytes, the public key (DER
SubjectPublicKeyInfo), the length of the signature in two bytes, the signature,
and the JSON to the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Final, Literal, TypeGuard, TypeVar

from punchd.errors import ForgedOffer, MalformedOffer, MisdirectedOffer, StaleOffer
from punchd.identity import Identity, isPeerId, peerIdOf, verify

from .admission import admissibleCandidates
from .commands import MAX_SEALED
from .replay import ReplayGuard

__all__ = [
    "Answer",
    "Offer",
    "ReplayGuard",
    "Role",
    "Update",
    "admissibleCandidates",
    "hashOf",
]

VERSION: Final = 1

#: How far from now the time in an offer may be, in seconds.
FRESHNESS: Final = 120.0
#: Candidates in one object.
MAX_CANDIDATES: Final = 64
#: Letters in a dial id, an incarnation, and ICE's user fragment and password.
MAX_TEXT: Final = 256

_MAX_KEY = 256
_MAX_DEPTH = 3
_MAX_MEMBERS = 24

Role = Literal["dialler", "listener"]
Candidate = Mapping[str, Any]
_S = TypeVar("_S", bound="Signed")


def _isText(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _isTextOrEmpty(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _isNumber(value: object) -> TypeGuard[int | float]:
    # Neither infinity nor what is not a number is less than anything.
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 1e15
    )


def _isSeconds(value: object) -> bool:
    return _isNumber(value) and 0 <= value <= 60


def _isCount(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 32


def _isHex(value: object) -> bool:
    return _isText(value) and set(str(value)) <= set("0123456789abcdef")


def _areCandidates(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_CANDIDATES
        and all(isinstance(each, dict) and _isPlain(each) for each in value)
    )


def _isPlain(value: object, depth: int = 0) -> bool:
    """
    @return: whether a JSON value is small enough to be part of a candidate.
    """
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return (
            depth < _MAX_DEPTH
            and len(value) <= _MAX_MEMBERS
            and all(_isPlain(each, depth + 1) for each in inner)
        )
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None or isinstance(value, bool) or _isNumber(value)


_CHECKS: Final[dict[str, Callable[[object], bool]]] = {
    "sender": lambda value: isinstance(value, str) and isPeerId(value),
    "recipient": lambda value: isinstance(value, str) and isPeerId(value),
    "role": lambda value: value in ("dialler", "listener"),
    "dialId": _isText,
    "time": _isNumber,
    "incarnation": _isText,
    "ufrag": _isText,
    "password": _isText,
    "candidates": _areCandidates,
    "rtt": _isSeconds,
    "nonce": _isHex,
    "offerHash": _isHex,
    "resume": _isTextOrEmpty,
    "refusal": _isTextOrEmpty,
    "sequence": _isCount,
    "done": lambda value: isinstance(value, bool),
}


@dataclass(frozen=True, kw_only=True)
class Signed:
    """
    What the three kinds have in common.

    @ivar sender: the peer id of who signs.
    @ivar recipient: the peer id of who is meant.
    @ivar dialId: random text that tells this dial from every other.
    @ivar time: when it was signed, in seconds since the epoch.
    @ivar candidates: the sender's addresses, as JSON objects.
    @ivar done: whether no further candidates will follow.
    """

    PURPOSE: ClassVar[bytes]

    sender: str
    recipient: str
    dialId: str
    time: float
    role: Role
    candidates: Sequence[Candidate] = ()
    done: bool = False

    def seal(self, identity: Identity) -> bytes:
        """
        @return: the object under the sender's signature.
        """
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        content["candidates"] = [dict(each) for each in self.candidates]
        content["version"] = VERSION
        body = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        signature = identity.sign(self.PURPOSE, body)
        return (
            len(identity.spki).to_bytes(2, "big")
            + identity.spki
            + len(signature).to_bytes(2, "big")
            + signature
            + body
        )

    @classmethod
    def _open(cls: type[_S], data: bytes, sender: str, recipient: str) -> _S:
        spki, signature, body = _split(data)
        if peerIdOf(spki) != sender or not verify(spki, cls.PURPOSE, body, signature):
            raise ForgedOffer()
        content = _parse(body)
        found: dict[str, Any] = {}
        for each in fields(cls):
            # What another version does not say has its default.
            if each.name in content or each.default is MISSING:
                found[each.name] = content.get(each.name)
                if not _CHECKS[each.name](found[each.name]):
                    raise MalformedOffer(f"Its {each.name} is not what it should be.")
        opened = cls(**found)
        if opened.sender != sender:
            raise ForgedOffer()
        if opened.recipient != recipient:
            raise MisdirectedOffer()
        return opened


@dataclass(frozen=True, kw_only=True)
class Offer(Signed):
    """
    The dialler's: I want a session with you.

    @ivar incarnation: random text that the sender's process chose as it
        started, so that a restart can be told from a broken path.
    @ivar ufrag: ICE's user fragment (RFC 8445, 5.3).
    @ivar password: ICE's password.
    @ivar rtt: seconds from the sender to the rendezvous and back, 0 if unknown.
    @ivar resume: the dial id of the session for which new paths are wanted;
        empty for a new session.
    """

    PURPOSE = b"punchd-offer-v1"

    incarnation: str
    ufrag: str
    password: str
    rtt: float = 0.0
    resume: str = ""
    role: Role = "dialler"

    @classmethod
    def open(
        cls,
        data: bytes,
        *,
        expectedSender: str,
        expectedRecipient: str,
        wallTime: float,
    ) -> Offer:
        """
        @param wallTime: now, in seconds since the epoch.

        @raise OfferError: one of its subclasses says what is wrong.
        """
        offer = cls._open(data, expectedSender, expectedRecipient)
        if offer.role != "dialler":
            raise MalformedOffer("An offer comes from the dialler.")
        age = round(wallTime - offer.time)
        if abs(wallTime - offer.time) > FRESHNESS:
            when = f"{age} s ago" if age > 0 else f"{-age} s in the future"
            raise StaleOffer(f"It was signed {when}; are both clocks right?")
        return offer


@dataclass(frozen=True, kw_only=True)
class Answer(Signed):
    """
    The listener's: I am willing.

    @ivar nonce: 16 random bytes in hexadecimal, for the dialler to sign.
    @ivar offerHash: L{hashOf} the offer.
    @ivar refusal: why the session cannot be resumed; empty if it can.
    """

    PURPOSE = b"punchd-answer-v1"

    incarnation: str
    ufrag: str
    password: str
    nonce: str
    offerHash: str
    rtt: float = 0.0
    refusal: str = ""
    role: Role = "listener"

    @classmethod
    def open(
        cls,
        data: bytes,
        *,
        expectedSender: str,
        expectedRecipient: str,
        offer: bytes,
        dialId: str,
    ) -> Answer:
        """
        @param offer: the sealed offer that this has to be the answer to.

        @raise OfferError: one of its subclasses says what is wrong.
        """
        answer = cls._open(data, expectedSender, expectedRecipient)
        if answer.role != "listener":
            raise MalformedOffer("An answer comes from the listener.")
        if answer.dialId != dialId or answer.offerHash != hashOf(offer):
            raise MisdirectedOffer()
        return answer


@dataclass(frozen=True, kw_only=True)
class Update(Signed):
    """
    Either side's: here is more.

    @ivar sequence: 0 for a side's first update of the dial, and so on.
    """

    PURPOSE = b"punchd-update-v1"

    sequence: int

    @classmethod
    def open(
        cls,
        data: bytes,
        *,
        expectedSender: str,
        expectedRecipient: str,
        dialId: str,
        role: Role,
    ) -> Update:
        """
        @param role: the sender's.

        @raise OfferError: one of its subclasses says what is wrong.
        """
        update = cls._open(data, expectedSender, expectedRecipient)
        if update.dialId != dialId or update.role != role:
            raise MisdirectedOffer()
        return update


def hashOf(sealed: bytes) -> str:
    """
    @return: the SHA-256, in hexadecimal, of what was signed.  The signature is
        left out: others could change its form without making it invalid.

    @raise MalformedOffer: this is not a sealed object.
    """
    return hashlib.sha256(_split(sealed)[2]).hexdigest()


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """
    @return: the public key, the signature and the body.
    """
    if len(data) > MAX_SEALED:
        raise MalformedOffer("It is too long.")
    at = 0
    parts = []
    for _ in range(2):
        size = int.from_bytes(data[at : at + 2], "big")
        if not 0 < size <= _MAX_KEY or len(data) < at + 2 + size:
            raise MalformedOffer()
        parts.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return parts[0], parts[1], data[at:]


def _parse(body: bytes) -> dict[str, Any]:
    """
    @return: the JSON object; names that are unknown here are left alone.
    """

    def wrong(text: str) -> None:
        raise ValueError(text)

    try:
        content = json.loads(body.decode("utf-8"), parse_constant=wrong)
    except (ValueError, RecursionError):
        raise MalformedOffer("It is not JSON.") from None
    if not isinstance(content, dict):
        raise MalformedOffer("It is not a JSON object.")
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise MalformedOffer("It has no version.")
    return content
