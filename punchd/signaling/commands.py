"""
What clients and the rendezvous say to each other: AMP commands.

Offers, answers and updates are signed by the clients (L{.offer}) and pass through the
rendezvous as bytes.  QUIC datagrams, a C{flight}, ride along to save a round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Any, Final

from twisted.protocols import amp

from punchd.core import Address
from punchd.errors import PairingFailed, PeerUnavailable, RendezvousRefused

#: The version of this vocabulary.
VERSION: Final = 1

#: Bytes of QUIC that the rendezvous carries each way for one dial.
FLIGHT_BUDGET: Final = 16 * 1024
#: Datagrams in one list; more are not a flight.
MAX_DATAGRAMS: Final = 64
#: Signed bytes in one command.
MAX_SEALED: Final = 32 * 1024
MAX_REASON: Final = 200
#: A message between two who pair.
MAX_PAIRING: Final = 4096
MAX_ADDRESSES: Final = 64


class Text(amp.Argument):
    """
    Bounded UTF-8 text.
    """

    def __init__(self, limit: int, optional: bool = False) -> None:
        super().__init__(optional)
        self.limit = limit

    def toString(self, inObject: str) -> bytes:
        """
        @return: the text as UTF-8.
        """
        return inObject.encode("utf-8")

    def fromString(self, inString: bytes) -> str:
        """
        @raise ValueError: the text is too long or not UTF-8.
        """
        if len(inString) > self.limit:
            raise ValueError("a text is too long")
        return inString.decode("utf-8")


class Blob(amp.Argument):
    """
    Bounded bytes.
    """

    def __init__(self, limit: int = MAX_SEALED, optional: bool = False) -> None:
        super().__init__(optional)
        self.limit = limit

    def toString(self, inObject: bytes) -> bytes:
        """
        @raise ValueError: there are too many bytes.
        """
        if len(inObject) > self.limit:
            raise ValueError("a message is too long")
        return inObject

    def fromString(self, inString: bytes) -> bytes:
        """
        @raise ValueError: there are too many bytes.
        """
        return self.toString(inString)


class Number(amp.Argument):
    """
    A decimal number of at most 24 characters, whole or with a point.
    """

    def toString(self, inObject: float) -> bytes:
        """
        @return: the shortest text that is the same number.
        """
        return repr(inObject).encode("ascii")

    def fromString(self, inString: bytes) -> float:
        """
        @raise ValueError: this is not a finite number.
        """
        if len(inString) > 24 or not set(inString) <= set(b"0123456789.-+e"):
            raise ValueError("not a number")
        text = inString.decode("ascii")
        return int(text) if text.lstrip("-").isdigit() else float(text)


class Datagrams(amp.Argument):
    """
    A list of datagrams, each behind its length in two bytes.
    """

    def toString(self, inObject: Sequence[bytes]) -> bytes:
        """
        @return: the datagrams in order.
        """
        return b"".join(pack(">H", len(each)) + each for each in inObject)

    def fromString(self, inString: bytes) -> list[bytes]:
        """
        @raise ValueError: the lengths do not fit, or there are too many.
        """
        found, at, end = [], 0, len(inString)
        while at < end:
            start = at + 2
            at = start + int.from_bytes(inString[start - 2 : start], "big")
            found.append(inString[start:at])
        if at != end or len(found) > MAX_DATAGRAMS:
            raise ValueError("not a list of datagrams")
        return found


class Addresses(amp.Argument):
    """
    A list of transport addresses: C{host port}, one a line.
    """

    def toString(self, inObject: Sequence[Address]) -> bytes:
        """
        @return: the addresses in order.
        """
        return "\n".join(f"{host} {port}" for host, port in inObject).encode("ascii")

    def fromString(self, inString: bytes) -> list[Address]:
        """
        @raise ValueError: these are not addresses, or there are too many.
        """
        lines = inString.decode("ascii").split("\n") if inString else []
        if len(lines) > MAX_ADDRESSES:
            raise ValueError("too many addresses")
        found = []
        for line in lines:
            host, _, port = line.partition(" ")
            if not host or len(host) > 45 or not 0 < int(port) < 65536:
                raise ValueError("not an address")
            found.append((host, int(port)))
        return found


def _relay(optional: bool) -> list[tuple[bytes, Any]]:
    """
    @return: what a client needs to allocate in one round trip: TURN REST
        credentials, which L{punchd.turn.server.Server} checks, and a nonce.
    """
    return [
        (b"realm", Text(128, optional)),
        (b"relayUsername", Text(256, optional)),
        (b"relayPassword", Text(256, optional)),
        (b"relayNonce", Blob(256, optional)),
        # Seconds from now until the credentials end.
        (b"relayExpires", Number(optional)),
    ]


_peer = Text(64)
_dialId = Text(64)
_addresses = Addresses()
_datagrams = Datagrams()
_number = Number()


# --- from a client to the rendezvous -------------------------------------------


class Register(amp.Command):
    """
    Be present under the peer id of the TLS certificate.  C{resume} is the
    handle of a registration that this very process had before its connection
    broke; the rendezvous goes on with it if it still can.  C{time} is its clock.
    """

    arguments = [
        (b"version", _number),
        (b"agent", Text(128)),
        (b"resume", Text(64, True)),
    ]
    response = [
        (b"version", _number),
        (b"handle", Text(64)),
        (b"key", Blob(64)),
        (b"stun", _addresses),
        (b"alternate", _addresses),
        (b"observedHost", Text(64)),
        (b"resumed", amp.Boolean()),
        (b"time", Number(True)),
        *_relay(optional=True),
    ]
    errors = {RendezvousRefused: b"REFUSED"}


class Dial(amp.Command):
    """
    Ask a peer for a session, and wait for its answer.  Whether the peer is
    unknown, absent or unwilling cannot be told from the error.
    """

    arguments = [
        (b"peer", _peer),
        (b"dialId", _dialId),
        (b"offer", Blob()),
        (b"flight", _datagrams),
    ]
    response = [
        (b"answer", Blob()),
        (b"flight", _datagrams),
        (b"observed", _addresses),
    ]
    errors = {PeerUnavailable: b"PEER_UNAVAILABLE"}


class Trickle(amp.Command):
    """
    Send the other side of a dial a signed update, datagrams, or both.
    """

    arguments = [
        (b"dialId", _dialId),
        (b"update", Blob()),
        (b"datagrams", _datagrams),
    ]
    requiresAnswer = False


class Bye(amp.Command):
    """
    A dial is over.
    """

    arguments = [(b"dialId", _dialId), (b"reason", Text(MAX_REASON))]
    requiresAnswer = False


class Renew(amp.Command):
    """
    Get fresh credentials for the relay, and a fresh nonce.
    """

    response = _relay(optional=True)


class Lease(amp.Command):
    """
    May we spray now?  Only one at a time may, of those behind one public
    address.  C{name} is the same for both peers of one spray.  The answer is the
    time in seconds until it is worth asking again, 0 for yes.
    """

    arguments = [(b"name", Text(64))]
    response = [(b"wait", _number)]


class Release(amp.Command):
    """
    The spray is over.
    """

    arguments = [(b"name", Text(64))]
    requiresAnswer = False


class Outcome(amp.Command):
    """
    What made the path possible that the session of a dial of ours has settled on;
    C{"none"} if there is none.  For statistics.
    """

    arguments = [(b"dialId", _dialId), (b"strategy", Text(32))]


class Invite(amp.Command):
    """
    Get a number under which somebody who knows it can exchange messages with us.
    """

    response = [(b"nameplate", _number), (b"seconds", _number)]
    errors = {PairingFailed: b"PAIRING_FAILED"}


class Exchange(amp.Command):
    """
    Bring a message to the other side of a nameplate, unless it is empty, and wait
    for its next one.  The first who does so, other than the one who has the
    nameplate, is the other side; there will be no other.
    """

    arguments = [(b"nameplate", _number), (b"message", Blob(MAX_PAIRING))]
    response = [(b"message", Blob(MAX_PAIRING))]
    errors = {PairingFailed: b"PAIRING_FAILED"}


class Withdraw(amp.Command):
    """
    The nameplate is not needed any more.
    """

    arguments = [(b"nameplate", _number)]
    requiresAnswer = False


class Ping(amp.Command):
    """
    Is the connection alive?  Either side may ask.
    """


# --- from the rendezvous to a client --------------------------------------------


class Incoming(amp.Command):
    """
    A peer dials.  C{observed} are the addresses that its packets were seen to
    come from.
    """

    arguments = [
        (b"dialler", _peer),
        (b"dialId", _dialId),
        (b"offer", Blob()),
        (b"flight", _datagrams),
        (b"observed", _addresses),
    ]
    response = [(b"answer", Blob()), (b"flight", _datagrams)]
    errors = {PeerUnavailable: b"PEER_UNAVAILABLE"}


class Trickled(amp.Command):
    """
    What the other side of a dial sent by L{Trickle}.
    """

    arguments = [
        (b"peer", _peer),
        (b"dialId", _dialId),
        (b"update", Blob()),
        (b"datagrams", _datagrams),
    ]
    requiresAnswer = False


class Ended(amp.Command):
    """
    The other side of a dial ended it.
    """

    arguments = [
        (b"peer", _peer),
        (b"dialId", _dialId),
        (b"reason", Text(MAX_REASON)),
    ]
    requiresAnswer = False


class PeerGone(amp.Command):
    """
    The connection of a peer, to which there is a dial, was closed.
    """

    arguments = [(b"peer", _peer)]
    requiresAnswer = False


class PeerReturned(amp.Command):
    """
    The peer is here again, as the same process.
    """

    arguments = [(b"peer", _peer)]
    requiresAnswer = False


class Replaced(amp.Command):
    """
    The same identity registered from elsewhere; this connection ends now.
    """

    requiresAnswer = False


class Goodbye(amp.Command):
    """
    The rendezvous stops in C{seconds}, and takes nothing new until then.
    """

    arguments = [(b"seconds", _number)]
    requiresAnswer = False
