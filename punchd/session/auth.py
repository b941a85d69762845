"""
Who is at the other end.

The dialler compares the key in the listener's certificate with the peer id
that it dialled, before it sends a byte on any stream.  No public interface of
the QUIC library asks a client for a certificate, so the dialler proves itself
by a signature, inside the channel that only the dialled listener can read.
The signature covers both ids, the dial and the nonce of the listener's signed
answer: it is good for this one session.
"""

from __future__ import annotations

from dataclasses import dataclass

from punchd.errors import AuthenticationFailed
from punchd.identity import Identity, peerIdOf, verify

from .control import Auth

#: What tells this signature from all others that the key makes.
PURPOSE = b"punchd-session-v1"


@dataclass(frozen=True, slots=True)
class Dial:
    """
    The dial that a session belongs to.

    @ivar dialler: the peer id of the side that dialled; QUIC's client.
    @ivar listener: the peer id of the side that answered; QUIC's server.
    @ivar dialId: the id that the dialler gave the dial.
    @ivar nonce: the nonce of the listener's signed answer.
    """

    dialler: str
    listener: str
    dialId: str
    nonce: bytes

    def body(self) -> bytes:
        """
        @return: what the dialler signs; every part has its length before it.
        """
        parts = (
            self.listener.encode("ascii"),
            self.dialler.encode("ascii"),
            self.dialId.encode("utf-8"),
            self.nonce,
        )
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def checkPeer(spki: bytes | None, expected: str) -> None:
    """
    Compare the key that the other side showed with the one that was meant.

    @param spki: DER SubjectPublicKeyInfo, or L{None} when none was shown.

    @raise AuthenticationFailed: it is another one.
    """
    if spki is None or peerIdOf(spki) != expected:
        raise AuthenticationFailed(
            "The other side showed a key that is not the dialled peer's."
        )


def prove(identity: Identity, dial: Dial) -> Auth:
    """
    @return: the dialler's proof.
    """
    signature = identity.sign(PURPOSE, dial.body())
    return Auth(dial.dialId, identity.spki, signature)


def checkProof(proof: Auth, dial: Dial) -> None:
    """
    @raise AuthenticationFailed: the proof was not made for C{dial} by the key
        of its dialler.
    """
    if proof.dialId != dial.dialId:
        raise AuthenticationFailed("The dialler's proof belongs to another dial.")
    checkPeer(proof.spki, dial.dialler)
    if not verify(proof.spki, PURPOSE, dial.body(), proof.signature):
        raise AuthenticationFailed("The dialler's signature is not valid.")
