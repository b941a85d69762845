"""
Pairing: two who know the same short code learn each other's peer ids, with nobody in
between who does not know it.

The code is a number, under which the two meet at the rendezvous, and two words, which
the rendezvous does not learn: they are the password of SPAKE2 (RFC 9382).  A guess
takes an exchange of its own and a code is good for one exchange only.  What the two
then tell each other is sealed under the key that SPAKE2 gives; who has another key has
guessed wrongly, which the one who invites sees before it has told anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic
from spake2 import SPAKE2_A, SPAKE2_B, SPAKEError

from punchd.core import Entropy
from punchd.errors import PairingFailed
from punchd.identity import isPeerId

#: Words of a code, of 2048 each: one guess in four million is right.
WORDS = 2

_PURPOSE = b"punchd-pairing-v1"
_CODE = re.compile(r"([0-9]{1,9})((?:[-\s]+[a-z]+)+)\Z")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}\Z")
_MOST_SERVICES = 64
# One key for each direction, each used once.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class Card:
    """
    What one side tells the other.

    @ivar peerId: who it is.
    @ivar name: what it calls itself.
    @ivar services: what the other may use; L{None} for everything.
    """

    peerId: str
    name: str
    services: Sequence[str] | None = ()


def makeCode(nameplate: int, entropy: Entropy) -> str:
    """
    @return: such as C{7-abandon-ability}.
    """
    words = Mnemonic("english").wordlist
    numbers = [int.from_bytes(entropy(4), "big") for _ in range(WORDS)]
    return "-".join([str(nameplate), *(words[n % len(words)] for n in numbers)])


def parseCode(text: str) -> tuple[int, str]:
    """
    @param text: a code as somebody types it.

    @return: the nameplate, and the code in its one form.

    @raise PairingFailed: it is none.
    """
    found = _CODE.match(text.strip().lower())
    words = found.group(2).replace("-", " ").split() if found else []
    if found is None or len(words) != WORDS:
        raise PairingFailed(
            f"{text!r} is no code; expected a number and {WORDS} words, such as"
            " 7-abandon-ability."
        )
    known = set(Mnemonic("english").wordlist)
    for word in words:
        if word not in known:
            raise PairingFailed(f"No code has the word {word!r} in it; look again.")
    return int(found.group(1)), "-".join([str(int(found.group(1))), *words])


class Pairing:
    """
    One side of an exchange: first L{start} and L{finish}, then L{seal} and L{open}.
    """

    def __init__(self, code: str, inviter: bool, entropy: Entropy) -> None:
        """
        @param code: in its one form.
        @param inviter: whether this is the side that invites.
        """
        kind = SPAKE2_A if inviter else SPAKE2_B
        self._spake = kind(code.encode(), idA=_PURPOSE, idB=_PURPOSE, entropy_f=entropy)
        self._inviter = inviter
        self._keys: dict[bool, bytes] = {}

    def start(self) -> bytes:
        """
        @return: the first message.
        """
        message: bytes = self._spake.start()
        return message

    def finish(self, message: bytes) -> None:
        """
        Take the first message of the other side.

        @raise PairingFailed: it is none.
        """
        try:
            secret = self._spake.finish(message)
        except (SPAKEError, AssertionError, ValueError) as e:
            raise PairingFailed("The other side does not speak this language.") from e
        for inviter in (True, False):
            info = _PURPOSE + (b" inviter" if inviter else b" guest")
            self._keys[inviter] = HKDF(SHA256(), 32, None, info).derive(secret)

    def seal(self, card: Card) -> bytes:
        """
        @return: C{card}, for the other side only.
        """
        plain = json.dumps(asdict(card)).encode()
        return ChaCha20Poly1305(self._keys[self._inviter]).encrypt(_NONCE, plain, None)

    def open(self, sealed: bytes) -> Card:
        """
        @raise PairingFailed: the other side has another code, or tells nonsense.
        """
        key = self._keys[not self._inviter]
        try:
            plain = ChaCha20Poly1305(key).decrypt(_NONCE, sealed, None)
        except InvalidTag as e:
            raise PairingFailed(
                "The words were not the right ones. A code is good for one try:"
                " make a new one with `punchd invite`."
            ) from e
        try:
            card = _card(json.loads(plain))
        except (ValueError, TypeError, KeyError, RecursionError) as e:
            raise PairingFailed("The other side tells nonsense.") from e
        return card


def _card(told: dict[str, object]) -> Card:
    peerId, name, services = told["peerId"], told["name"], told["services"]
    if not isinstance(peerId, str) or not isPeerId(peerId):
        raise ValueError("no peer id")
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError("no name")
    if services is None:
        return Card(peerId, name, None)
    if not isinstance(services, list) or len(services) > _MOST_SERVICES:
        raise ValueError("no list of services")
    for service in services:
        if not isinstance(service, str) or not _NAME.match(service):
            raise ValueError("no service")
    return Card(peerId, name, tuple(services))
