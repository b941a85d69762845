"""
User name fragments and passwords (RFC 8445, 5.3).
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field

from punchd.core import Entropy

#: ice-char of RFC 8839, 5.1; 64 of them, so 6 bits of entropy each.
ICE_CHARS = string.ascii_letters + string.digits + "+/"

_LENGTHS = {"ufrag": (4, 256), "password": (22, 256)}


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    @ivar ufrag: names the agent, in clear, in every check.
    @ivar password: the key of the integrity of checks; not shown by C{repr}.

    @raise ValueError: one of them is not made of ice-chars, or too short or
        too long.
    """

    ufrag: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, (least, most) in _LENGTHS.items():
            text = getattr(self, name)
            if not isinstance(text, str) or not least <= len(text) <= most:
                raise ValueError(f"an ICE {name} has {least} to {most} characters")
            if not set(text) <= set(ICE_CHARS):
                raise ValueError(f"an ICE {name} has a character that is not allowed")

    @property
    def key(self) -> bytes:
        """
        The key of short-term integrity (RFC 8489, 9.1.1).
        """
        return self.password.encode("ascii")


def makeCredentials(entropy: Entropy) -> Credentials:
    """
    @return: a ufrag of 48 and a password of 144 random bits: the least are 24
        and 128 (RFC 8445, 5.3).
    """

    def text(length: int) -> str:
        return "".join(ICE_CHARS[each & 63] for each in entropy(length))

    return Credentials(text(8), text(24))
